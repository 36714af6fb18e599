"""Which callbacks a letter goes to.

A `Filter` holds one regular expression a header, and all of them must be
found in it. `FilterTable.matching` returns every filter that a letter
matches, in the order in which they were added; where none does, it returns
the fall-through filters that match. Expressions are compiled once, when the
filter is added.

Nothing is called here, and a broken expression is refused when it is added.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from operator import attrgetter, methodcaller
from typing import Any, NamedTuple

import msgspec

from gateway.mail.message import Kind, Message

Callback = Callable[[Message], Any]


class Filter:
    """Header patterns and the callback that takes what matches them all."""

    __slots__ = ("_tests", "callback", "description", "fallthrough", "hits", "id", "patterns")

    def __init__(
        self,
        id: str,
        callback: Callback,
        patterns: dict[str, str],
        *,
        fallthrough: bool = False,
        description: str = "",
    ) -> None:
        self.id = id
        self.callback = callback
        self.patterns = patterns
        self.fallthrough = fallthrough
        self.description = description
        self.hits = 0
        self._tests = tuple(_test(name, pattern) for name, pattern in patterns.items())

    def matches(self, message: Message) -> bool:
        """Tell whether every pattern is found in its header."""
        for read, search in self._tests:  # noqa: SIM110 - a generator costs more than the search
            if search(read(message)) is None:
                return False
        return True


class FilterView(NamedTuple):
    """One filter, as shown to people."""

    id: str
    description: str
    patterns: dict[str, str]
    fallthrough: bool
    hits: int


class FilterTable:
    """The filters of one process.

    >>> table = FilterTable()
    >>> table.add(print, subject=r"(?i)^stop$")
    'filter-1'
    >>> letter = Message("1", "1", 1, 0.0, "main", "patrol", "STOP")
    >>> [found.id for found in table.matching(letter)]
    ['filter-1']
    """

    def __init__(self) -> None:
        self._filters: tuple[Filter, ...] = ()
        self._made = 0

    def add(
        self,
        callback: Callback,
        *,
        id: str = "",
        fallthrough: bool = False,
        description: str = "",
        **patterns: str,
    ) -> str:
        """Add a filter and return its id; raise `ValueError` for what cannot stand."""
        if not callable(callback):
            raise ValueError(f"a filter's callback must be callable, not {callback!r}")
        self._made += 1
        id = id or f"filter-{self._made}"
        if any(known.id == id for known in self._filters):
            raise ValueError(f"there is a filter {id!r} already")
        made = Filter(id, callback, patterns, fallthrough=fallthrough, description=description)
        # A new tuple, so that a thread that is walking the old one may finish.
        self._filters = (*self._filters, made)
        return id

    def remove(self, *ids: str) -> int:
        """Remove the filters ``ids`` and return how many of them were there."""
        kept = tuple(known for known in self._filters if known.id not in ids)
        removed = len(self._filters) - len(kept)
        self._filters = kept
        return removed

    def matching(self, message: Message) -> list[Filter]:
        """Return the filters that take ``message``, fall-through ones where no other does."""
        rest = []
        found = []
        for known in self._filters:
            if known.fallthrough:
                rest.append(known)
            elif known.matches(message):
                known.hits += 1
                found.append(known)
        if not found and rest:
            for known in rest:
                if known.matches(message):
                    known.hits += 1
                    found.append(known)
        return found

    def __iter__(self) -> Iterator[FilterView]:
        for known in self._filters:
            yield FilterView(
                known.id, known.description, known.patterns, known.fallthrough, known.hits
            )

    def __len__(self) -> int:
        return len(self._filters)


def _test(
    name: str, pattern: str
) -> tuple[Callable[[Message], Any], Callable[[str], re.Match[str] | None]]:
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} for {name!r} is broken: {error}") from error
    if name in _TEXT:
        return attrgetter(name), search
    return methodcaller("header", name), search


_TEXT = frozenset(
    field.name for field in msgspec.structs.fields(Message) if field.type in (str, Kind)
)
"""The headers that are always text, and need no conversion before they are searched."""
