"""Time, handed in.

Nothing in the gateway calls ``time.time()`` for itself: it is given a
`Clock`, so that a test or a simulation can hand it another. `Clock.time` is
for what is shown to people and sent to other machines; `Clock.monotonic` is
for every deadline. Neither waits: waiting belongs to mailboxes. A
`VirtualClock` stands still until somebody who simulates moves it on.
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


class VirtualClock:
    """A clock that only moves when it is told to; ``now`` is in seconds since it began.

    ``epoch`` is what `time` says at the beginning, in seconds since 1970.

    >>> clock = VirtualClock()
    >>> clock.now = 86400.0
    >>> clock.monotonic(), clock.time()
    (86400.0, 946771200.0)
    """

    __slots__ = ("epoch", "now")

    def __init__(self, epoch: float = 946684800.0) -> None:
        self.epoch = epoch
        self.now = 0.0

    def time(self) -> float:
        """Return seconds since 1970-01-01 00:00 UTC."""
        return self.epoch + self.now

    def monotonic(self) -> float:
        """Return seconds since the clock began."""
        return self.now
