"""Whether a broker sends more than anybody asked for.

A bucket of `BURST` seconds' worth, refilled at the rate that is allowed. Pure;
time is handed in, in seconds. Refuses nothing itself: it says when it is
enough.
"""

from __future__ import annotations

BURST = 10.0
"""Seconds of the rate that may come at once: what was retained, say."""


class Inflow:
    """The packets that one connection brought.

    >>> inflow = Inflow(rate=100, now=0.0)
    >>> inflow.is_too_much(1000, now=0.0), inflow.is_too_much(1001, now=0.0)
    (False, True)
    >>> inflow.is_too_much(1101, now=1.0), inflow.is_too_much(1102, now=1.0)
    (False, True)
    """

    def __init__(self, rate: int, now: float) -> None:
        self._rate = rate
        self._left = rate * BURST
        self._seen = 0
        self._at = now

    def is_too_much(self, packets: int, now: float) -> bool:
        """Tell whether ``packets`` since the beginning are too many at ``now``."""
        refilled = self._left + (now - self._at) * self._rate
        self._left = min(refilled, self._rate * BURST) - (packets - self._seen)
        self._seen, self._at = packets, now
        too_much = self._left < 0
        self._left = max(self._left, 0.0)
        return too_much
