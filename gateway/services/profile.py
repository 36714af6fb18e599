"""Where a simulation's time goes: seconds and processor seconds of each phase.

Cheap enough to be always on: two readings of two clocks a phase. What is measured
is the machine's work, so that the time is real also where a simulation's is not.

Refused: nothing; what was never entered is not in the report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import NamedTuple

from gateway.clock import RealClock


class Share(NamedTuple):
    """What one phase has cost: how often, how long in all and at most, in seconds."""

    times: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    longest: float = 0.0


class Profile:
    """Adds up what each phase costs; one thread measures, any may ask.

    >>> readings = iter([0.0, 0.5, 1.0, 3.0])
    >>> profile = Profile(now=lambda: next(readings), processor=lambda: 0.0)
    >>> for _ in range(2):
    ...     with profile.timed("step"):
    ...         pass
    >>> profile.report()["step"]["seconds"], profile.report()["step"]["longest"]
    (2.5, 2.0)
    """

    def __init__(
        self,
        *,
        now: Callable[[], float] = RealClock.monotonic,
        processor: Callable[[], float] = time.thread_time,
    ) -> None:
        """``now`` and ``processor`` give seconds: of a clock on the wall, and of this thread."""
        self._now = now
        self._processor = processor
        self._lock = Lock()
        self._shares: dict[str, Share] = {}

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Count what happens within as one ``phase``."""
        began, worked = self._now(), self._processor()
        try:
            yield
        finally:
            seconds = self._now() - began
            processor = self._processor() - worked
            with self._lock:
                known = self._shares.get(phase, Share())
                self._shares[phase] = Share(
                    known.times + 1,
                    known.seconds + seconds,
                    known.processor_seconds + processor,
                    max(known.longest, seconds),
                )

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._shares.clear()

    def report(self) -> dict[str, dict[str, float]]:
        """Return of each phase what it cost, as data that a letter can carry."""
        with self._lock:
            return {phase: share._asdict() for phase, share in self._shares.items()}
