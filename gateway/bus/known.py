"""The ids that were noted last, so that nothing is counted twice."""

from __future__ import annotations

from collections.abc import Iterator

KNOWN = 4096
"""Ids that are kept at the most; then the oldest is forgotten for each new one."""


class Known:
    """Ids of letters, each once. Whoever shares one among threads holds a lock.

    >>> known = Known()
    >>> known.note("1"), known.note("1"), "1" in known, "2" in known
    (True, False, True, False)
    """

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def note(self, id: str) -> bool:
        """Keep ``id``; tell whether it is new."""
        ids = self._ids
        if id in ids:
            return False
        ids[id] = None
        if len(ids) > KNOWN:
            del ids[next(iter(ids))]
        return True
