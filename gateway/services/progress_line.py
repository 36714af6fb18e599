"""One line that says how far a pool is, written over itself on a terminal.

::

    pool.run(Drive, speeds, progress=ProgressLine())

    37 of 100 done, 1 failed, 4 at work [=======.............] 0:12 left

Where it is no terminal one line is written at the end. Refused: nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

from gateway.clock import RealClock
from gateway.services.pool_events import PoolEvent

_WIDTH = 20
_PACE = 0.1
"""Seconds between two writings."""


class ProgressLine:
    """Writes the line; call it with each event."""

    def __init__(
        self, stream: TextIO | None = None, *, now: Callable[[], float] = RealClock.monotonic
    ) -> None:
        """Write to ``stream``, standard error unless said; ``now`` gives seconds."""
        self._stream = sys.stderr if stream is None else stream
        self._now = now
        self._began: float | None = None
        self._written = float("-inf")
        self._at_work: dict[int, float] = {}
        self._longest = 0

    def __call__(self, event: PoolEvent) -> None:
        """Take an event; write what has changed."""
        now = self._now()
        if self._began is None:
            self._began = now
        if event.outcome is None:
            self._at_work[event.number] = event.progress or 0.0
        else:
            self._at_work.pop(event.number, None)
        is_last = event.done == event.total
        if self._stream.isatty():
            if is_last or now - self._written >= _PACE:
                self._written = now
                self._write(self._line(event, now - self._began), is_last)
        elif is_last:
            self._stream.write(f"{self._line(event, now - self._began)}\n")
            self._stream.flush()

    def _write(self, line: str, is_last: bool) -> None:
        self._longest = max(self._longest, len(line))
        self._stream.write(f"\r{line.ljust(self._longest)}{chr(10) if is_last else ''}")
        self._stream.flush()

    def _line(self, event: PoolEvent, seconds: float) -> str:
        failed = f", {event.failed} failed" if event.failed else ""
        if event.done == event.total:
            return f"{event.done} of {event.total} done{failed} in {_clock(seconds)}"
        part = (event.done + sum(self._at_work.values())) / event.total
        bar = "=" * round(part * _WIDTH)
        left = f" {_clock(seconds / part - seconds)} left" if part > 0.01 else ""
        return (
            f"{event.done} of {event.total} done{failed}, {len(self._at_work)} at work"
            f" [{bar.ljust(_WIDTH, '.')}]{left}"
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
