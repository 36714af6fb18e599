"""Where each value of a configuration was written.

A key's path is a tuple: ``("devices", "wheels", "baud")``, with an int for a place
in an array. What was never written (a default) has no origin, and is not given one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

Path = tuple[str | int, ...]
"""The way to a value: keys and, in arrays, places counted from 0."""


class Origin(NamedTuple):
    """A place in a file; ``line`` counts from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Provenance:
    """Knows of each written key the file and line that had the last word.

    >>> known = Provenance({("gateway", "node"): Origin("gateway.toml", 2)})
    >>> str(known.of("gateway", "node"))
    'gateway.toml:2'
    >>> known.of("gateway", "sockets") is None
    True
    """

    def __init__(self, origins: Mapping[Path, Origin] | None = None) -> None:
        self._origins: dict[Path, Origin] = dict(origins or {})

    def of(self, *path: str | int) -> Origin | None:
        """Return where the value at ``path`` was written; None for a default."""
        return self._origins.get(path)

    def nearest(self, path: Path) -> Origin | None:
        """Return the origin of ``path``, or of the innermost table around it that has one."""
        for length in range(len(path), 0, -1):
            if origin := self._origins.get(path[:length]):
                return origin
        return None

    def paths(self) -> Iterable[Path]:
        """Return every path that was written."""
        return self._origins.keys()

    def replace(self, path: Path, origins: Mapping[Path, Origin]) -> None:
        """Forget what lies at and below ``path`` and take over that part of ``origins``."""
        width = len(path)
        for old in [old for old in self._origins if old[:width] == path]:
            del self._origins[old]
        self._origins.update((new, at) for new, at in origins.items() if new[:width] == path)


def written(path: Path) -> str:
    """Return ``path`` as TOML writes a key, with array places in brackets.

    >>> written(("routes", "mqtt", "allow", 0, "my topic"))
    'routes.mqtt.allow[0]."my topic"'
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else _quoted(part))
    return text


def _quoted(key: str) -> str:
    return f'"{"".join(_ESCAPES.get(c) or (c if c.isprintable() else _code(c)) for c in key)}"'


def _code(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


_ESCAPES = {"\\": "\\\\", '"': '\\"'}
_BARE = re.compile(r"[A-Za-z0-9_-]+")
