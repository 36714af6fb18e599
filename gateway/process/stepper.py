"""A process that lives in its caller's loop, as a GUI's, a step at a time.

The caller watches `Stepper.fileno` and calls `Stepper.step` whenever it is
readable, and when the time that the last step returned is over. What `step`
does is what a process's own loop does: one frame of ``life`` where one is due,
then the mail, but never more than `AT_ONCE` letters, so that the caller's loop
goes on in between, then what `Process.call_soon` and `call_later` left.

Refused: a process whose mailbox does not ring (`gateway.bus.doorbell`).
"""

from __future__ import annotations

from gateway.bus.doorbell import Doorbell
from gateway.process.process import Process
from gateway.timeout import MOST

AT_ONCE = 64
"""Letters that one step handles at the most."""


class Stepper:
    """What `Application.running` gives its caller; all of it belongs to one thread."""

    def __init__(self, process: Process) -> None:
        box = process._box
        if not isinstance(box, Doorbell):
            raise ValueError(f"{process.name!r} lives in a loop of its own")
        self.process = process
        """The main process: `send` and the rest of it may be used between steps."""
        self._box = box
        self._has_life = type(process).life is not Process.life

    @property
    def is_active(self) -> bool:
        """Whether the process is to go on; where not, leave the loop and the ``with``."""
        return self.process.is_active

    def fileno(self) -> int:
        """The descriptor that is readable when there is something to do."""
        return self._box.fileno()

    def step(self) -> float | None:
        """Do what is due, and return in how many seconds something is due again.

        That is the next frame, or what `Process.call_later` left; None where only
        mail can bring something. What a callback raises as a
        bug is raised here, and ends the process.
        """
        process, box, frames = self.process, self._box, self.process._frames
        monotonic = process._clock.monotonic
        box.answer_bell()
        if not process.is_active:
            return None
        try:
            if self._has_life and frames.due is not None and frames.due <= monotonic():
                frames.advance(monotonic())
                process.life()
            for _ in range(AT_ONCE):
                if not process.is_active or (message := box.get(0.0)) is None:
                    break
                process._handle(message)
            else:
                box.ring()
            if process._agenda.is_busy:
                process._do_what_is_due()
            if process._child_error is not None:
                raise process._child_error
        except BaseException:
            process.die()
            raise
        left = process._agenda.left(monotonic()) if process._agenda.is_busy else None
        if not self._has_life or frames.due is None:
            return left
        until_frame = max(0.0, frames.due - monotonic())
        return min(MOST if left is None else left, until_frame)
