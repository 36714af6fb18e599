"""The clock of a simulated board: it drifts as a crystal does, or stands still and is stepped.

It reads another clock, the base, and runs beside it at a rate of its own. Whoever
waits for what is due on the board asks when that is on the base (`BoardClock.base_of`).

Refused (`ValueError`): to run backwards.
"""

from __future__ import annotations

from math import isfinite
from threading import Lock

from gateway.clock import Clock

MILLION = 1e6

WORST = 500_000.0
"""Parts in a million by which a clock may be wrong: half as fast again, or half as slow."""


class BoardClock:
    """A clock that goes on its own; thread-safe.

    >>> from gateway.clock import VirtualClock
    >>> base = VirtualClock()
    >>> board = BoardClock(base)
    >>> board.drift(1000)
    >>> base.now = 100.0
    >>> round(board.monotonic(), 3)
    100.1
    """

    def __init__(self, base: Clock, *, held: bool = False) -> None:
        """Show what ``base`` shows, from now on; one that is ``held`` only moves by `step`."""
        self._base = base
        self._lock = Lock()
        self._held = held
        self._parts = 0.0
        self._base_then = self._then = self._began = base.monotonic()
        self._epoch = base.time()

    @property
    def is_held(self) -> bool:
        """Whether it only moves by `step`."""
        return self._held

    @property
    def parts_per_million(self) -> float:
        """By how much it is too fast."""
        return self._parts

    def time(self) -> float:
        """Return seconds since 1970, as the board has it."""
        return self._epoch + (self.monotonic() - self._began)

    def monotonic(self) -> float:
        """Return the board's seconds since some fixed moment."""
        with self._lock:
            return self._now()

    def drift(self, parts_per_million: float) -> None:
        """Run too fast by so much from now on, or too slow below 0."""
        if not abs(parts_per_million) <= WORST:
            raise ValueError(
                f"a clock that is wrong by {parts_per_million!r} parts in a million: give"
                f" -{WORST:.0f} to {WORST:.0f}"
            )
        with self._lock:
            self._note()
            self._parts = parts_per_million

    def step(self, seconds: float) -> None:
        """Jump ahead by ``seconds``."""
        if not (isfinite(seconds) and seconds >= 0):
            raise ValueError(f"a step of {seconds!r} s: give 0 or more")
        with self._lock:
            self._note()
            self._then += seconds

    def base_of(self, moment: float) -> float | None:
        """Return when the base shows what is ``moment`` here; None where that never comes."""
        with self._lock:
            ahead = moment - self._now()
            if ahead <= 0:
                return self._base.monotonic()
            if self._held:
                return None
            return self._base.monotonic() + ahead / self._rate

    @property
    def _rate(self) -> float:
        return 0.0 if self._held else 1.0 + self._parts / MILLION

    def _now(self) -> float:
        return self._then + (self._base.monotonic() - self._base_then) * self._rate

    def _note(self) -> None:
        """Begin anew from here, before the rate changes."""
        now, base = self._now(), self._base.monotonic()
        self._then, self._base_then = now, base
