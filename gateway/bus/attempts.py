"""How long a letter is gone on with in the midst of which something is raised each time.

What a signal's handler raises does not come again, or not for ever; a bug does, and must not
hold up what lies behind.
"""

from __future__ import annotations

from time import monotonic

TRIES, TRIED = 5, 1.0
"""After how many attempts, and seconds, it is given up."""


class Attempts:
    """Those that have failed at one and the same letter."""

    __slots__ = ("_first", "_letter", "_times")

    def __init__(self) -> None:
        self._letter, self._times, self._first = -1, 0, 0.0

    def are_over(self, letter: int = 0) -> bool:
        """Count one that has failed at ``letter``; tell whether there were enough."""
        if letter != self._letter:
            self._letter, self._times, self._first = letter, 0, monotonic()
        self._times += 1
        return self._times > TRIES and monotonic() - self._first > TRIED

    def forget(self) -> None:
        """Begin anew: it has worked."""
        self._letter = -1
