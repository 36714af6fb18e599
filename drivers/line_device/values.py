"""Words of a line to values and back, as the configuration types them.

Pure. Refused: text that is no such value (`ProtocolError`: the board said it), and
templates that ask for more than their parameters (`ValueError`: the author wrote it).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from string import Formatter
from typing import Literal

from gateway.errors import ProtocolError

Kind = Literal["int", "float", "str", "bool"]
Value = bool | int | float | str

TYPES: dict[Kind, type] = {"int": int, "float": float, "str": str, "bool": bool}
SAMPLES: dict[Kind, Value] = {"int": 1, "float": 1.5, "str": "x", "bool": "1"}
"""One of each, to try a template with."""

_INT = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d{1,18}(\.\d{0,18})?|\.\d{1,18})([eE][+-]?\d{1,3})?", re.ASCII)
_TRUE, _FALSE = ("1", "on", "true", "yes", "high"), ("0", "off", "false", "no", "low")


def read(kind: Kind, text: str, scale: float = 1.0) -> Value:
    """Return what ``text`` says.

    >>> read("float", " 21.50", 0.1), read("bool", "ON"), read("int", "+7")
    (2.15, True, 7)
    """
    word = text.strip()
    if kind == "str":
        return text
    if kind == "bool":
        if word.lower() in _TRUE + _FALSE:
            return word.lower() in _TRUE
    elif kind == "int" and scale == 1.0:
        if _INT.fullmatch(word):
            return int(word)
    elif _FLOAT.fullmatch(word) and math.isfinite(value := float(word) * scale):
        return float(f"{value:.12g}") if kind == "float" else round(value)
    raise ProtocolError(f"{text[:40]!r} is no {kind}")


def fields_of(template: str) -> Iterator[str]:
    """Yield the parameters that a template names; `ValueError` for what goes beyond their values.

    >>> list(fields_of("MOVE {x:.1f},{y:.1f}"))
    ['x', 'y']
    """
    for _, name, spec, conversion in Formatter().parse(template):
        if name is None:
            continue
        if not name.isidentifier() or conversion or "{" in (spec or ""):
            raise ValueError(f"{{{name}}} is no parameter; write {{name}} or {{name:.1f}}")
        yield name


def write(template: str, arguments: Mapping[str, Value], words: tuple[str, str]) -> str:
    """Return the line that a template makes of ``arguments``; ``words`` are false and true.

    >>> write("VALVE {on} {angle:03d}", {"on": True, "angle": 7}, ("0", "1"))
    'VALVE 1 007'
    """
    texts = {
        name: words[value] if isinstance(value, bool) else value
        for name, value in arguments.items()
    }
    return template.format(**texts)
