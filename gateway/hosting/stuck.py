"""Which driver threads are stuck: neither waiting for work nor getting on with any.

A thread cannot be ended from outside. One that is stuck costs its device; two
of them are a reason to have the whole route restarted, which frees both.

Pure: progress and time are handed in, by whoever looks now and then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STUCK_AFTER: Final = 60.0
"""Seconds in one go that a driver may spend on anything, if no frame comes meanwhile."""
TOO_MANY: Final = 2
"""Stuck threads at which a router asks to be restarted."""

Progress = tuple[bool, int]
"""Whether a thread waits for work, and a count that grows as it works."""


class StuckThreads:
    """What was seen of each thread's progress.

    >>> watch = StuckThreads(stuck_after=60.0)
    >>> watch.look(0.0, {"arm": (False, 7)}), watch.look(60.0, {"arm": (False, 7)})
    ([], ['arm'])
    >>> watch.look(65.0, {"arm": (False, 7)}), watch.names
    ([], ['arm'])
    >>> watch.look(70.0, {"arm": (False, 8)}), watch.names
    ([], [])
    """

    def __init__(self, stuck_after: float = STUCK_AFTER) -> None:
        self._stuck_after = stuck_after
        self._since: dict[str, tuple[int, float]] = {}
        self._stuck: set[str] = set()

    @property
    def names(self) -> list[str]:
        """Who is stuck, as of the last look."""
        return sorted(self._stuck)

    def look(self, now: float, progress: Mapping[str, Progress]) -> list[str]:
        """Take the progress at ``now`` (monotonic seconds); return who is stuck since this look."""
        newly = []
        for name, (waits, count) in progress.items():
            seen, since = self._since.get(name, (-1, now))
            if waits or count != seen:
                self._since[name] = count, now
                self._stuck.discard(name)
            elif now - since >= self._stuck_after and name not in self._stuck:
                self._stuck.add(name)
                newly.append(name)
        return newly
