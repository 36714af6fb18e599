"""Who has asked for the log, from which level, and until when.

Pure; time is handed in. A lease ends by itself. The most talkative of them
holds for all, since a line is published once, for everybody.

Refused (`RefusedError`): more than `MOST` leases, and times that are none or
longer than an hour.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.errors import RefusedError
from gateway.process.log_levels import NAMES, number

MOST = 16

LONGEST = 3600.0
"""Seconds that one lease lasts at the most; whoever wants more asks again."""


class Lease(NamedTuple):
    """One who has asked."""

    level: str
    until: float

    def left(self, now: float) -> float:
        """Return how many seconds are left of it: no more than `LONGEST`, however they round."""
        return min(self.until - now, LONGEST)


def checked_seconds(seconds: object) -> float:
    """Return how long something is asked for; raise `RefusedError` for what is no such time."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise RefusedError(f"seconds={seconds!r}: use a number, up to {LONGEST:g}")
    if not 0 <= seconds <= LONGEST:
        raise RefusedError(f"seconds={seconds:g}: use 0 (to end it) up to {LONGEST:g}")
    return float(seconds)


class Leases:
    """The leases of one gateway.

    >>> leases = Leases()
    >>> leases.ask("mqtt", "info", 60.0, now=0.0)
    >>> leases.ask("main", "debug", 10.0, now=0.0)
    >>> leases.in_force(5.0), leases.in_force(20.0), leases.in_force(60.0)
    (Lease(level='debug', until=10.0), Lease(level='info', until=60.0), None)
    """

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}

    def __len__(self) -> int:
        return len(self._leases)

    def ask(self, owner: str, level: str, seconds: float, now: float) -> None:
        """Give ``owner`` a lease in place of the one it may have; 0 seconds end that."""
        if level not in NAMES:
            raise RefusedError(f"{level!r} is no level: use {', '.join(NAMES)}")
        self._forget(now)
        if seconds <= 0:
            self._leases.pop(owner, None)
        elif owner not in self._leases and len(self._leases) >= MOST:
            raise RefusedError(
                f"{MOST} have asked for the log already: wait until one has it no more"
            )
        else:
            self._leases[owner] = Lease(level, now + seconds)

    def in_force(self, now: float) -> Lease | None:
        """Return the level that holds, and until when; None where nobody asks."""
        self._forget(now)
        if not self._leases:
            return None
        level = min((lease.level for lease in self._leases.values()), key=number)
        ends = [lease.until for lease in self._leases.values() if lease.level == level]
        return Lease(level, max(ends))

    def _forget(self, now: float) -> None:
        self._leases = {who: each for who, each in self._leases.items() if each.until > now}
