"""Which callbacks a letter goes to.

A `Filter` holds one regular expression a header, and all of them must be
found in it. `FilterTable.matching` returns every filter that a letter
matches, in the order in which they were added; where none does, it returns
the fall-through filters that match. Expressions are compiled once, when the
filter is added, and searched once for each combination of headers.

Nothing is called here. Refused when a filter is added: a broken expression
(`ValueError`), and a header that is hardly meant (`TypeError`): ``subjct`` is
nearly ``subject``, and the body is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from operator import attrgetter, methodcaller
from typing import Any, Literal, NamedTuple

import msgspec

from gateway.mail.message import HEADERS, Kind, Message

Callback = Callable[[Message], Any]

Run = Literal["here", "thread", "fork"]
"""Where a callback runs: in place, on a thread of its process, in a forked OS process."""

CACHED = 256
"""Combinations of headers whose filters are remembered at the most."""

LONGEST = 200
"""Characters of a pattern that are told at the most."""

SHOWN = 8
"""Filters that are named at the most to who wrote what none takes."""


def in_short(text: str) -> str:
    """Return ``text`` in quotes, no more of it than anybody reads.

    >>> in_short("stop"), len(in_short("x" * 50_000))
    ("'stop'", 203)
    """
    return repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


class Filter:
    """Header patterns and the callback that takes what matches them all."""

    __slots__ = (
        "_tests",
        "callback",
        "description",
        "fallthrough",
        "hits",
        "id",
        "patterns",
        "run",
    )

    def __init__(
        self,
        id: str,
        callback: Callback,
        patterns: dict[str, str],
        *,
        fallthrough: bool = False,
        description: str = "",
        run: Run = "here",
    ) -> None:
        self.id = id
        self.run = run
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
    run: Run = "here"


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
        self._found = _Found(())
        self._made = 0

    def add(
        self,
        callback: Callback,
        *,
        id: str = "",
        fallthrough: bool = False,
        description: str = "",
        run: Run = "here",
        **patterns: str,
    ) -> str:
        """Add a filter and return its id; raise `ValueError` for what cannot stand.

        ``run`` is for `FilterView` alone: where ``callback`` runs is its own business.
        """
        if not callable(callback):
            raise ValueError(f"a filter's callback must be callable, not {callback!r}")
        self._made += 1
        id = id or f"filter-{self._made}"
        if any(known.id == id for known in self._filters):
            raise ValueError(f"there is a filter {id!r} already")
        made = Filter(
            id, callback, patterns, fallthrough=fallthrough, description=description, run=run
        )
        # A new tuple, so that a thread that is walking the old one may finish.
        self._replace((*self._filters, made))
        return id

    def remove(self, *ids: str) -> int:
        """Remove the filters ``ids`` and return how many of them were there."""
        kept = tuple(known for known in self._filters if known.id not in ids)
        removed = len(self._filters) - len(kept)
        self._replace(kept)
        return removed

    def _replace(self, filters: tuple[Filter, ...]) -> None:
        self._filters = filters
        self._found = _Found(filters)

    def matching(self, message: Message) -> tuple[Filter, ...]:
        """Return the filters that take ``message``, fall-through ones where no other does."""
        found = self._found
        # What it holds, and no method of its own: CPython finds it sooner so.
        key_of = found.key
        key = key_of(message)
        taking = found.filters.get(key)
        if taking is None:
            taking = self._search(message)
            if key is not None and len(found.filters) < CACHED:
                found.filters[key] = taking
        for known in taking:
            known.hits += 1
        return taking

    def _search(self, message: Message) -> tuple[Filter, ...]:
        taking = tuple(known for known in self._filters if known.matches(message))
        return tuple(known for known in taking if not known.fallthrough) or taking

    def in_words(self) -> str:
        """Say what is taken here, to who wrote something else.

        >>> table = FilterTable()
        >>> table.in_words()
        'it has none'
        >>> table.add(print, subject="^stop$", sender="^main$")
        'filter-1'
        >>> table.in_words()
        "it has subject='^stop$' sender='^main$'"
        """
        if not self._filters:
            return "it has none"
        shown = [
            " ".join(f"{name}={in_short(pattern)}" for name, pattern in known.patterns.items())
            for known in self._filters[:SHOWN]
        ]
        more = len(self._filters) - len(shown)
        return f"it has {', '.join(shown)}" + (f" and {more} more" if more else "")

    def __iter__(self) -> Iterator[FilterView]:
        for known in self._filters:
            yield FilterView(
                known.id,
                known.description,
                known.patterns,
                known.fallthrough,
                known.hits,
                known.run,
            )

    def __len__(self) -> int:
        return len(self._filters)


def in_turn(callbacks: Sequence[Callback]) -> Callback:
    """Return one callback that calls all of ``callbacks``; the first that raises ends it.

    >>> in_turn([lambda message: print("one"), lambda message: print("two")])(None)
    one
    two
    """
    if not callbacks or not all(map(callable, callbacks)):
        raise ValueError(f"a filter's callbacks must be callable, not {callbacks!r}")
    if len(callbacks) == 1:
        return callbacks[0]
    called = tuple(callbacks)

    def call_all(message: Message) -> None:
        for callback in called:
            callback(message)

    return call_all


def check_words(**words: str | None) -> None:
    """Raise `TypeError` where one of a filter's ``words``, such as its id, is no text."""
    for name, word in words.items():
        if not isinstance(word, str | None):
            raise TypeError(f"the {name} of a filter is text, not {word!r}")


def check_patterns(patterns: dict[str, str]) -> None:
    """Raise `ValueError` for a broken expression, `TypeError` for a header that is none."""
    for name, pattern in patterns.items():
        _test(name, pattern)


class _Found:
    """What was found before, by the headers that the filters look at.

    Letters repeat themselves: whoever sent ``drive`` sends ``drive`` again. So
    most are looked up and not searched, however many filters there are.
    """

    __slots__ = ("filters", "key")

    def __init__(self, filters: tuple[Filter, ...]) -> None:
        names = sorted({name for known in filters for name in known.patterns})
        self.key: Callable[[Message], Any] = _no_key
        if not names:
            self.key = attrgetter("kind")
        elif _REPEATED.issuperset(names):
            self.key = attrgetter(*names)
        self.filters: dict[Any, tuple[Filter, ...]] = {}


def _no_key(message: Message) -> None:
    """Return that nothing is to be remembered: some header differs in every letter."""


def _test(name: str, pattern: str) -> tuple[Callable[[Message], Any], Callable[[str], object]]:
    if name not in HEADERS:
        _check_name(name)
    if not isinstance(pattern, str):
        raise TypeError(f"the pattern for {name!r} is a regular expression, not {pattern!r}")
    read: Callable[[Message], Any]
    read = attrgetter(name) if name in _TEXT else methodcaller("header", name)
    return read, _search_for(name, pattern)


def _search_for(name: str, pattern: str) -> Callable[[str], object]:
    """Return what finds ``pattern`` in a text, or returns None."""
    if (literal := _LITERAL(pattern)) is not None:
        # What is usual. To compile an expression costs a forked process 0.3 MB.
        text = literal[1]
        return dict.fromkeys((text, f"{text}\n"), True).get
    try:
        return re.compile(pattern).search
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} for {name!r} is broken: {error}") from error


def _check_name(name: str) -> None:
    """Raise `TypeError` for a header of nobody's own that would never be found."""
    if name in ("body", "headers"):
        raise TypeError(f"a filter looks at headers, and {name!r} is none: let the callback look")
    written = name.lower()
    # Two letters in the wrong order are more to `get_close_matches` than one too many.
    close = get_close_matches(written, _USUAL, n=1, cutoff=0.85) or [
        usual for usual in _USUAL if sorted(usual) == sorted(written)
    ]
    if close:
        raise TypeError(
            f"there is no {name!r}: did you mean {close[0]!r}? A header of your own needs a name"
            " that is less like it"
        )


_USUAL = (
    *("sender", "recipient", "subject", "kind", "priority", "route", "receipt"),
    *("callback", "description", "fallthrough"),
)
"""What is often written, and so at times wrong: headers, and what `add_filter` takes besides."""

_LITERAL = re.compile(r"\^([\w /:-]*)\$").fullmatch
"""Finds what an expression stands for that matches one text, or that with a newline behind it."""

_REPEATED = frozenset(
    ("sender", "recipient", "subject", "kind", "priority", "route", "body_type", "receipt")
)
"""The headers that have few values, so that it pays to remember what was found for each."""

_TEXT = frozenset(
    field.name for field in msgspec.structs.fields(Message) if field.type in (str, Kind)
)
"""The headers that are always text, and need no conversion before they are searched."""
