"""Time, handed in.

Nothing in the gateway calls ``time.time()`` for itself: it is given a
`Clock`, so that a test or a simulation can hand it another. `Clock.time` is
for what is shown to people and sent to other machines; `Clock.monotonic` is
for every deadline. Neither waits: waiting belongs to mailboxes.
"""

from __future__ import annotations

from time import monotonic as _monotonic
from time import time as _time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def time(self) -> float:
        """Return seconds since 1970-01-01 00:00 UTC; may jump."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some fixed moment; never goes back."""
        ...


class RealClock:
    """The machine's own clock."""

    time = staticmethod(_time)
    monotonic = staticmethod(_monotonic)
