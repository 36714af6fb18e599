"""A mistake in the configuration, and the error that carries all of them.

A mistake says where it is, what is wrong and what would be right. Nothing is
decided or printed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import msgspec

from gateway.errors import ConfigError


class Mistake(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that cannot stand.

    ``file`` and ``key`` are empty and ``line`` is None where the mistake has no such
    place; lines count from 1. ``key`` is written as TOML writes it.

    >>> str(Mistake(file="g.toml", line=3, key="gateway.nod", problem="unknown key",
    ...             advice="did you mean 'node'?"))
    "g.toml:3: gateway.nod: unknown key; did you mean 'node'?"
    """

    problem: str
    advice: str = ""
    key: str = ""
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else self.file
        said = f"{self.problem}; {self.advice}" if self.advice else self.problem
        return ": ".join(part for part in (place, self.key, said) if part)


class ConfigErrors(ConfigError):  # noqa: N818 - it carries many
    """All that is wrong with a configuration; the text has a line for each mistake."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


def suggest(name: str, known: Sequence[str], *, likely: Sequence[str] | None = None) -> str:
    """Return advice for one who wrote ``name`` where one of ``known`` was meant.

    Only those that are ``likely``, all of them unless said, can be what was misspelt.

    >>> suggest("braud", ["baud", "port"])
    "did you mean 'baud'?"
    >>> suggest("zzz", ["baud", "port"])
    'one of: baud, port'
    >>> suggest("braud", ["baud", "port"], likely=["port"])
    'one of: baud, port'
    >>> suggest("zzz", [])
    ''
    """
    candidates = known if likely is None else likely
    if close := get_close_matches(name, candidates, n=1, cutoff=0.6):
        return f"did you mean {close[0]!r}?"
    return f"one of: {', '.join(known)}" if known else ""
