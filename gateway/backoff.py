"""How long to wait before trying again.

The waits double from ``first`` to ``ceiling`` seconds, and each is drawn
between half of its span and the whole: a hundred gateways that lost one
broker do not come back in the same instant. Randomness is handed in.

This module waits for nothing and reads no clock: it only says how long.
Refused: a first wait that is not positive, and a ceiling below it.
"""

from __future__ import annotations

from random import Random


class Backoff:
    """A growing, jittered wait.

    >>> backoff = Backoff(first=1.0, ceiling=4.0, random=Random(1))
    >>> [round(backoff.next(), 2) for _ in range(4)]
    [0.57, 1.85, 3.53, 2.51]
    >>> backoff.reset()
    >>> 0.5 <= backoff.next() <= 1.0
    True
    """

    def __init__(self, first: float, ceiling: float, random: Random) -> None:
        """Grow from ``first`` to ``ceiling`` seconds; `ValueError` on nonsense."""
        if not 0 < first <= ceiling < float("inf"):
            raise ValueError(f"a back-off needs 0 < first <= ceiling, not {first} and {ceiling}")
        self._first = first
        self._ceiling = ceiling
        self._random = random
        self._span = first

    def next(self) -> float:
        """Return how many seconds to wait now, and remember to wait longer next time."""
        span = self._span
        self._span = min(span * 2, self._ceiling)
        return self._random.uniform(span / 2, span)

    def reset(self) -> None:
        """Begin again with the first wait: what was tried has worked."""
        self._span = self._first
