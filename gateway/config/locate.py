"""Find the line on which each key of a TOML document was written.

`tomllib` tells values but not lines. This scanner tells lines but not values: it
walks over a document of TOML 1.0 and notes where each key, table and array element
begins. It judges nothing but how deep things are nested, and that before `tomllib`
would go down there: at the end of a recursion no finaliser has a frame to run in. On a
document that `tomllib` refuses its answer means nothing, though it ends all the same.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from itertools import accumulate
from typing import Any

from gateway.config.provenance import Path

DEEPEST = 100
"""Parts that a dotted key may have, each a table in the one before, and levels of values."""


def lines_of(text: str) -> dict[Path, int]:
    """Return the line, from 1, of every key path in ``text``.

    A table that is written has the line of its header; one that is only implied has
    that of the first key that implies it. Raises RecursionError where values or keys are
    nested deeper than `DEEPEST`.

    >>> lines_of('node = "a"\\n[[spare]]\\nports = [\\n  1,\\n  2]')[("spare", 0, "ports", 1)]
    5
    """
    return _Scanner(text).document()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
        self._lines: dict[Path, int] = {}
        self._places: dict[Path, int] = {}  # arrays of tables → elements so far

    def document(self) -> dict[Path, int]:
        table: Path = ()
        while True:
            self._skip(_BLANK)
            if self._at >= len(self._text):
                return self._lines
            if self._peek("["):
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        """Read ``[a.b]`` or ``[[a.b]]``; return the path that the next keys stand under."""
        line = self._line()
        brackets = "[[" if self._text.startswith("[[", self._at) else "["
        self._at += len(brackets)
        *outer, last = self._key()
        self._skip(_SPACE)
        self._at += len(brackets)
        path: Path = ()
        for part in outer:
            path = self._into((*path, part), line)
        path = (*path, last)
        if brackets == "[":
            self._lines[path] = line
            return path
        self._lines.setdefault(path, line)
        place = self._places.get(path, -1) + 1
        self._places[path] = place
        self._lines[(*path, place)] = line
        return (*path, place)

    def _into(self, path: Path, line: int) -> Path:
        """Return where ``path`` leads: into the last table, if it is an array of tables."""
        self._lines.setdefault(path, line)
        return (*path, self._places[path]) if path in self._places else path

    def _pair(self, table: Path) -> None:
        """Read ``key = value`` under ``table``."""
        line = self._line()
        path = table
        for part in self._key():
            path = (*path, part)
            self._lines.setdefault(path, line)
        self._skip(_SPACE)
        self._at += 1  # the sign "="
        self._skip(_SPACE)
        self._value(path)

    def _key(self) -> list[str]:
        """Read a key with its dots; leave its quotes to `tomllib`."""
        self._skip(_SPACE)
        found = _KEY.match(self._text, self._at)
        try:
            node: Any = tomllib.loads(f"{found[0] if found else ''} = 0")
        except ValueError:
            self._at = len(self._text)  # not TOML: end
            return [""]
        assert found is not None
        self._at = found.end()
        parts: list[str] = []
        while isinstance(node, dict):
            ((part, node),) = node.items()
            parts.append(part)
        if len(parts) > DEEPEST:
            raise RecursionError(f"a key of {len(parts)} parts")
        return parts

    def _value(self, path: Path) -> None:
        inside = {"[": self._elements, "{": self._pairs}.get(self._text[self._at : self._at + 1])
        if inside is not None:
            self._depth += 1
            if self._depth > DEEPEST:
                raise RecursionError(f"values of more than {DEEPEST} levels")
            self._at += 1
            inside(path)
            self._depth -= 1
        else:
            found = _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at)
            self._at = found.end() if found else len(self._text)

    def _elements(self, path: Path) -> None:
        """Read an array up to its bracket; it may run over many lines."""
        place = 0
        while self._more("]"):
            self._lines[(*path, place)] = self._line()
            self._value((*path, place))
            place += 1

    def _pairs(self, path: Path) -> None:
        """Read an inline table up to its brace."""
        while self._more("}"):
            self._pair(path)

    def _more(self, end: str) -> bool:
        """Step over blanks, comments and commas; return whether something comes before ``end``."""
        self._skip(_BLANK)
        if self._peek(","):
            self._at += 1
            self._skip(_BLANK)
        if self._peek(end):
            self._at += 1
            return False
        return self._at < len(self._text)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if found := pattern.match(self._text, self._at):
            self._at = found.end()

    def _peek(self, character: str) -> bool:
        return self._text.startswith(character, self._at)

    def _line(self) -> int:
        return bisect_right(self._starts, self._at)


_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*")
# A multi-line string may end in up to two quotes of its own before the three.
_STRING = re.compile(
    r'''"""(?:[^"\\]|\\.|"(?!""))*"""(?:"{0,2})'''
    r"""|'''(?:[^']|'(?!''))*'''(?:'{0,2})"""
    r'''|"(?:[^"\\\n]|\\.)*"'''
    r"""|'[^'\n]*'""",
    re.DOTALL,
)
# Numbers, booleans, dates; a date and its time may have a space between them.
_SCALAR = re.compile(r"[^,\]}#\n]+")
