"""Frames: when ``life`` is due.

Frames are counted from the start, not from the end of the last one, so that
a frequency keeps its phase. A life that overran skips the frames it missed;
they are counted, and nothing is caught up in a burst. Pure: time is handed in.
"""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple

from gateway.timeout import is_number

HIGHEST = 10_000.0
"""Frames a second at the most, in hertz."""


class TimeFrame(NamedTuple):
    """One frame as it was planned; seconds on the clock that was handed in."""

    begin: float
    end: float


class Frames:
    """The frames of one process.

    ``frequency`` is in hertz; None or 0 means never.

    >>> frames = Frames(10.0, now=100.0)
    >>> frames.due
    100.0
    >>> frames.advance(now=100.01)
    >>> round(frames.due, 3)
    100.1
    """

    def __init__(self, frequency: float | None, now: float) -> None:
        _check(frequency)
        self.number = 0
        """Frames that have begun."""
        self.missed = 0
        """Frames that were skipped because an earlier one took too long."""
        self._start = now
        self._index = 0
        self.frequency = frequency or 0.0
        self.due: float | None = None
        """When the next frame begins, on the clock that is handed in; None for never."""
        self._plan()

    def set_frequency(self, frequency: float | None, now: float) -> None:
        """Change the frequency; the next frame is one new period away."""
        _check(frequency)
        self.frequency = frequency or 0.0
        self._start = now
        self._index = 1
        self._plan()

    def current(self) -> TimeFrame:
        """Return when the frame that is under way began, and when the next one is due.

        Before the first frame that is the time until it; without a frequency
        it never ends.

        >>> frames = Frames(10.0, now=100.0)
        >>> frames.advance(now=100.0)
        >>> frames.current()
        TimeFrame(begin=100.0, end=100.1)
        """
        if self.due is None:
            return TimeFrame(self._start, inf)
        period = 1.0 / self.frequency
        return TimeFrame(max(self._start, self.due - period), self.due)

    def advance(self, now: float) -> None:
        """Begin the frame that is due and plan the next one after ``now``."""
        self.number += 1
        frequency = self.frequency
        if not frequency:
            return
        self._index = following = self._index + 1
        self.due = due = self._start + following / frequency
        if due <= now:
            self._skip(now)

    def _skip(self, now: float) -> None:
        """Plan the first frame after ``now``, and count those before it as missed."""
        following = int((now - self._start) * self.frequency) + 1
        self.missed += following - self._index
        self._index = following
        self._plan()

    def _plan(self) -> None:
        self.due = self._start + self._index / self.frequency if self.frequency else None


def _check(frequency: Any) -> None:
    if frequency is None:
        return
    said = f"a frequency is a number of hertz from 0 to {HIGHEST:,.0f}, not {frequency!r}"
    if not is_number(frequency):
        raise TypeError(said)
    if frequency < 0 or not frequency <= HIGHEST:
        raise ValueError(said)
