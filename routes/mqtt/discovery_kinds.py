"""What a value is, as far as the name of its type in an info says.

What is not understood is None, and nobody is told of it. Pure; raises nothing.
"""

from __future__ import annotations

import ast
from typing import Final, Literal

from routes.mqtt.arguments import members

Kind = Literal["number", "integer", "bool", "choice", "time", "text"]


def kind_of(type_text: str) -> Kind | None:
    """Return what a value of the type called ``type_text`` is; None where that is not known.

    >>> kind_of("float | None"), kind_of("int"), kind_of("Literal['a', 'b']")
    ('number', 'integer', 'choice')
    >>> kind_of("list[int]")
    """
    parts = {part for part in members(type_text) if part != "None"}
    if parts == {"int"}:
        return "integer"
    if parts and parts <= {"int", "float"}:
        return "number"
    if len(parts) != 1:
        return None
    (part,) = parts
    return "choice" if _choices_in(part) else _KINDS.get(part)


def choices_of(type_text: str) -> list[str]:
    """Return the texts among which a value of the kind ``choice`` is.

    >>> choices_of("Literal['a', 'b'] | None")
    ['a', 'b']
    """
    return [each for part in members(type_text) for each in _choices_in(part)]


def _choices_in(type_text: str) -> list[str]:
    """Return the texts of a ``Literal``, without repeats; none where it holds other things."""
    if not (type_text.startswith("Literal[") and type_text.endswith("]")):
        return []
    try:
        values = ast.literal_eval(f"[{type_text[8:-1]}]")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return list(dict.fromkeys(values)) if all(type(each) is str for each in values) else []


_KINDS: Final[dict[str, Kind]] = {
    "bool": "bool",
    "str": "text",
    "datetime": "time",
    "datetime.datetime": "time",
}
