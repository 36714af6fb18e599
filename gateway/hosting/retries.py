"""How soon a device is tried again: soon where it was away, later where it failed.

A cable that is plugged in again shows within a second; a port that may not be
opened, a board that does not answer and a driver with a bug are tried less and
less often, though never given up. A device that was well for a while, or that
was unplugged, has earned a fresh start.

This module reads no clock and waits for nothing.
"""

from __future__ import annotations

from random import Random
from typing import Final

from gateway.backoff import Backoff

SOON: Final = (0.25, 1.0)
"""First and longest wait, in seconds, before looking for a port that is away."""
BIRTH: Final = (0.05, 0.25)
"""The same before trying a port again that has just been plugged in and is not ready yet."""
LATER: Final = (0.5, 5.0)
"""The same before trying a device that failed; nobody repairs one faster than that."""
STEADY: Final = 10.0
"""Seconds of being connected after which the next trouble is a new one."""


class Retries:
    """The waits of one device."""

    def __init__(self, random: Random) -> None:
        self._away = Backoff(*SOON, random)
        self._born = Backoff(*BIRTH, random)
        self._failed = Backoff(*LATER, random)

    def after_absence(self) -> float:
        """Return seconds to wait: the port is not there, and what comes back is fresh."""
        self._failed.reset()
        self._born.reset()
        return self._away.next()

    def after_loss(self, connected_for: float) -> float:
        """Return seconds to wait: the link broke after ``connected_for`` seconds."""
        self._forget(connected_for)
        return self._away.next()

    def after_birth(self) -> float:
        """Return seconds to wait: it is there, and udev is not done with it yet."""
        return self._born.next()

    def after_failure(self, connected_for: float) -> float:
        """Return seconds to wait: it failed, after ``connected_for`` seconds."""
        self._forget(connected_for)
        return self._failed.next()

    def _forget(self, connected_for: float) -> None:
        if connected_for > STEADY:
            self._away.reset()
            self._failed.reset()
