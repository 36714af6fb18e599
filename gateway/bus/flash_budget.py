"""How much may be written to flash in a day, since a card wears out by being written to.

What was written is taken from the kernel's account of this thread
(``/proc/thread-self/io``, ``write_bytes``: proc(5)), which has the file system's own
bookkeeping in it. A day is 24 hours of the clock; a clock that was set to another
day begins a new one.

Refused by `check`: to write once the day's budget is spent (`SpoolError`).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from gateway.errors import SpoolError

DAY = 86400
"""Seconds."""


class FlashBudget:
    """``daily`` bytes a day, of which ``written`` are spent on ``day``, counted since 1970."""

    def __init__(self, daily: int, *, day: int = 0, written: int = 0) -> None:
        self.daily = daily
        self.day = day
        self.written = written

    def check(self, now: float) -> None:
        """Begin a new day where there is one; raise `SpoolError` where the budget is spent.

        ``now`` is in seconds since 1970.
        """
        day = int(now // DAY)
        if day != self.day:
            self.day, self.written = day, 0
        if self.written >= self.daily:
            raise SpoolError(
                f"flash has had its {self.daily} bytes of today: until tomorrow a power cut"
                " loses what waits; allow more, or send less"
            )

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Count what is written inside, by this thread; once, also where one is in another."""
        counted, before = self.written, _written()
        try:
            yield
        finally:
            self.written = counted + _written() - before


_ACCOUNT = Path("/proc/thread-self/io")
_WRITTEN = re.compile(r"^write_bytes: (\d+)$", re.MULTILINE)


def _written() -> int:
    try:
        found = _WRITTEN.search(_ACCOUNT.read_text())
    except OSError:
        return 0  # a kernel without the account, or one that keeps it from us
    return int(found[1]) if found else 0
