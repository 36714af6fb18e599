"""Whether one loop progresses, as seen from another thread.

A loop progresses when it waits for mail, or has handled some, or has begun a
frame since somebody looked last. Nothing is stamped for it: the counts are
there anyway, so that it costs nothing per letter. In a forked child a thread
looks, and writes to the boss as long as it sees progress, so that a child whose
interpreter is held up falls silent too.

What follows from it is judged elsewhere (`gateway.supervision.heartbeats`).
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable

from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.errors import GatewayError
from gateway.process.process import Process
from gateway.supervision.company import Company

log = logging.getLogger(__name__)

STACKS = int(signal.SIGRTMIN) + 5
"""The signal on which a forked child writes down the stacks of its threads."""

LOOKS = 4
"""Looks within ``stuck_after``."""


class Pulse:
    """The loop of one process, or of all that share its member, watched from another thread."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, ...]] = {}
        self._went_on: set[str] = set()

    def beats(self, box: Mailbox, process: Process | None) -> bool:
        """Tell whether the loop has progressed since the last look, or waits for mail.

        Of several each has to, since this was last so.
        """
        loops = [(box, process)]
        if isinstance(process, Company):
            loops += process.loops()
        self._went_on.update(each.name for each, reader in loops if self._went(each, reader))
        beats = self._went_on.issuperset(each.name for each, _ in loops)
        if beats:
            self._went_on.clear()
        return beats

    def _went(self, box: Mailbox, process: Process | None) -> bool:
        waits, handled = box.progress()
        frames, level = (process.current_frame, process.run_level) if process else (0, "")
        seen = (handled, frames, hash(level))
        went_on = waits or seen != self._seen.get(box.name)
        self._seen[box.name] = seen
        return went_on


class LoopPulse:
    """An event loop, watched from another thread: it goes round when it calls what it is given."""

    def __init__(self, call_soon: Callable[[Callable[[], object]], None]) -> None:
        self._call_soon = call_soon
        self._called = True

    def beats(self) -> bool:
        """Tell whether the loop has gone round since the last look."""
        went_on = self._called
        if went_on:
            self._called = False
            self._call_soon(self._note)
        return went_on

    def _note(self) -> None:
        self._called = True


class Reporter:
    """The thread of a forked child that tells the boss of its loop's progress."""

    def __init__(self, office: Office, box: Mailbox, stuck_after: float) -> None:
        self.process: Process | None = None
        """Whose loop it is, as soon as that was made."""
        self._office = office
        self._box = box
        self._every = stuck_after / LOOKS
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _run(self) -> None:
        pulse = Pulse()
        while not self._ended.wait(self._every):
            if pulse.beats(self._box, self.process):
                try:
                    self._office.tell_boss(self._box, "progress", None)
                except GatewayError as error:
                    # The next beat says the same; without a boss this child ends soon.
                    log.debug("no heartbeat of %s: %s", self._box.name, error)
