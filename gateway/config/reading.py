"""Read one TOML file; say what is wrong with it in words that help.

Refuses what is absent, unreadable, no regular file, larger than `LIMIT`, not UTF-8 or
not TOML. A byte order mark, which some editors leave, is passed over.
"""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path as FilePath
from typing import Any

from gateway.config.locate import lines_of
from gateway.config.mistake import ConfigErrors, Mistake
from gateway.config.provenance import Origin, Path

LIMIT = 1 << 20
"""Bytes that a configuration file may have."""


def read(file: FilePath) -> tuple[dict[str, Any], dict[Path, Origin]]:
    """Return what ``file`` says and where it says it; raise `ConfigErrors` where it cannot."""
    text = _text(file)
    try:
        lines = lines_of(text)
        document = tomllib.loads(text)
    except RecursionError:
        raise _wrong(file, "is nested too deeply", "nest no more than a few levels") from None
    except ValueError as error:
        raise _syntax(file, text, error) from None
    return document, {path: Origin(str(file), line) for path, line in lines.items()}


def _text(file: FilePath) -> str:
    try:
        kind = file.stat().st_mode
        # Opening a pipe would wait for its other end: only a regular file is opened.
        data = _head(file) if stat.S_ISREG(kind) else b""
    except FileNotFoundError:
        raise _wrong(file, "there is no such file", "check the path") from None
    except PermissionError:
        advice = "give this user the right to read it, or run as one that has it"
        raise _wrong(file, "may not be read", advice) from None
    except (OSError, ValueError) as error:  # a path with a null byte in it is a ValueError
        raise _wrong(file, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISDIR(kind):
        raise _wrong(file, "is a folder", f"name a file, such as {file / 'gateway.toml'}")
    if not stat.S_ISREG(kind):
        raise _wrong(file, "is no regular file", "name the file itself")
    if len(data) > LIMIT:
        raise _wrong(file, f"has more than {LIMIT} bytes", "keep the configuration small")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _wrong(file, "is not UTF-8 text", "save it as UTF-8", line=line) from None


def _head(file: FilePath) -> bytes:
    """Return as much of ``file`` as tells whether it is too large."""
    with file.open("rb") as opened:
        return opened.read(LIMIT + 1)


def _syntax(file: FilePath, text: str, error: ValueError) -> ConfigErrors:
    said = str(error)
    line = len(text.rstrip("\n").split("\n"))
    if found := _PLACE.search(said):
        said = said[: found.start()]
        line = int(found["line"]) if found["line"] else line
    advice = next((advice for start, advice in _ADVICE.items() if said.startswith(start)), _TOML)
    return _wrong(file, f"is not TOML: {said}", advice, line=line)


def _wrong(
    file: FilePath, problem: str, advice: str = "", *, line: int | None = None
) -> ConfigErrors:
    return ConfigErrors([Mistake(problem=problem, advice=advice, file=str(file), line=line)])


_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)\Z")
_TOML = "a line is a [table], or key = value, or a # comment"
_ADVICE = {
    "Invalid value": 'text stands in quotes, key = "text"; numbers, true and false do not',
    "Illegal character": "close the quotes on the line where they open",
    "Unterminated string": "close the quotes",
    "Unclosed array": "close the array with ]",
    "Unclosed inline table": "close the table with } on the same line",
    "Cannot overwrite a value": "give each key once",
    "Duplicate inline table key": "give each key once",
    "Cannot declare": "open each table once and put its keys together",
    "Cannot mutate": "open each table once and put its keys together",
    "Unescaped '\\'": "double it, or use 'single quotes'",
    "Exceeds the limit": "write a smaller number",
}
"""How tomllib's messages begin, and what helps."""
