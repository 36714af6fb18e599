"""How many may pass: so many at once, so many a second after that.

Pure: time is handed in. Refused by `passes`: one more than that.
"""

from __future__ import annotations


class Pace:
    """Lets ``burst`` through at once, and ``rate`` a second in the long run.

    >>> pace = Pace(rate=1.0, burst=2)
    >>> [pace.passes(now) for now in (0.0, 0.0, 0.0, 1.0, 1.5)]
    [True, True, False, True, False]
    """

    def __init__(self, *, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._left = self._burst
        self._at: float | None = None

    def passes(self, now: float) -> bool:
        """Tell whether one more may pass at ``now`` (monotonic s), and count it if so."""
        if self._at is not None:
            self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
