"""The signals that stop an application in order, and the one that does so by force.

Ctrl-C, SIGTERM, and SIGHUP, which a terminal sends that hangs up; a further Ctrl-C for
whoever will not wait any longer. What was there before is put back. Refused: to take
signals on any thread but the main one, where Python has them.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from gateway.clock import Clock
from gateway.process.signals import reaches

ECHO = 0.25
"""Seconds in which a further Ctrl-C is the first one: whoever called us, such as timeout(1),
passes on what the terminal has sent to all of us."""


class StopSignals:
    """Ctrl-C, SIGTERM and a terminal that hangs up stop the application.

    Elsewhere than on the main thread signals are somebody else's business.
    """

    def __init__(
        self, stop: Callable[[], None], force: Callable[[], bool], *, clock: Clock
    ) -> None:
        """Call ``stop()`` for each, and ``force()`` for Ctrl-C after one.

        Where that returns true, who is interrupted is to be: `KeyboardInterrupt` is raised.
        """
        self._stop = stop
        self._force = force
        self._clock = clock
        self._before: dict[int, Any] = {}
        self._asked: float | None = None
        self._spared = False
        self._interrupts: tuple[int, Callable[[], bool]] | None = None
        """What was sent to interrupt, and whether that is still wanted."""

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def interrupt(self, is_wanted: Callable[[], bool]) -> bool:
        """Have `KeyboardInterrupt` raised in the main thread, if ``is_wanted()`` there.

        For any thread. False, and nothing, where signals are somebody else's business.
        """
        main = threading.main_thread().ident
        assert main is not None
        # A process that binds SIGTERM passes it on. SIGINT comes last: a Ctrl-C just then would
        # be taken for it, or it for the one that forces.
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            if self._interrupts is not None and self._interrupts[0] == number:
                # It was sent before, and has not come: main may block it.
                continue
            # One that somebody else handles by now would do what they want.
            if reaches(number, self._handle):
                self._interrupts = (number, is_wanted)
                signal.pthread_kill(main, number)
                return True
        return False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._interrupts is not None and self._interrupts[0] == number:
            (_, is_wanted), self._interrupts = self._interrupts, None
            if is_wanted():
                raise KeyboardInterrupt
            return
        now = self._clock.monotonic()
        if self._asked is None:
            self._asked = now
        elif number == signal.SIGINT:
            if now - self._asked < ECHO:
                return
            if self._force():
                # Once: what waits in there for ever is torn out by the next Ctrl-C.
                if not self._spared and _is_swallowed(frame):
                    self._spared = True
                    return
                raise KeyboardInterrupt
            return
        self._stop()


def _is_swallowed(frame: FrameType | None) -> bool:
    """Tell whether Python would print what is raised in ``frame``, and go on."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
