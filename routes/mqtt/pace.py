"""How fast what has waited may go out: so many a second, and no more than that at once.

Pure; whoever asks brings the time.
"""

from __future__ import annotations


class Pace:
    """A token bucket that holds one second's worth, or a ``burst``.

    >>> pace = Pace(100.0, now=0.0)
    >>> pace.spend(pace.room(now=0.0))
    >>> pace.room(now=0.5)
    50
    """

    def __init__(self, rate: float, *, now: float, burst: float | None = None) -> None:
        """Let ``rate`` a second pass; ``now`` is in monotonic seconds."""
        self._rate = rate
        self._most = rate if burst is None else burst
        self._tokens = self._most
        self._asked = now

    def room(self, now: float) -> int:
        """Return how many may pass at once now."""
        self._tokens = min(self._most, self._tokens + (now - self._asked) * self._rate)
        self._asked = now
        return int(self._tokens)

    def spend(self, count: int) -> None:
        """Note that ``count`` have passed."""
        self._tokens -= count
