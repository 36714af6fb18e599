"""So many lines a second and no more; what is beyond that is counted. Pure; time is handed in.

Refused: a rate of less than one line a second (`ValueError`).
"""

from __future__ import annotations


class LogRate:
    """Judges line by line.

    >>> rate = LogRate(2)
    >>> [rate.lets(now) for now in (0.1, 0.2, 0.3, 0.9, 1.1)]
    [True, True, False, False, True]
    >>> rate.take_left_out(), rate.take_left_out()
    (2, 0)
    """

    def __init__(self, most: int) -> None:
        """Let ``most`` lines through in each second of the clock."""
        if most < 1:
            raise ValueError(f"a rate of {most} lines a second lets nothing through: use 1 or more")
        self.most = most
        self._second: float | None = None
        self._let = 0
        self._left_out = 0

    def lets(self, now: float) -> bool:
        """Tell whether a line may pass at ``now``, in seconds; count it where it may not."""
        second = now // 1
        if second != self._second:
            self._second, self._let = second, 0
        if self._let < self.most:
            self._let += 1
            return True
        self._left_out += 1
        return False

    def count(self) -> None:
        """Count a line that was left out for another reason."""
        self._left_out += 1

    def take_left_out(self) -> int:
        """Return how many lines were left out since this was asked last."""
        left_out, self._left_out = self._left_out, 0
        return left_out
