"""Say in plain words what a type wants, and what a value is.

For people who write TOML: "a whole number from 50 to 4000000", not ``int``. What
msgspec knows of a type is what is said, its constraints and its ``description``
included. Nothing is checked here.
"""

from __future__ import annotations

import datetime
import json
from typing import Any

from msgspec import inspect


def describe(annotation: Any) -> str:
    """Return what may be written where ``annotation`` is the type.

    >>> from typing import Annotated, Literal
    >>> from msgspec import Meta
    >>> describe(Annotated[int, Meta(ge=50, le=4000, description="bits a second")])
    'a whole number from 50 to 4000 (bits a second)'
    >>> describe(Literal["N", "E"] | None)
    'one of "E", "N"'
    >>> describe(list[bool])
    'an array; each element: true or false'
    """
    return _describe(inspect.type_info(annotation))


def show(value: Any) -> str:
    """Return ``value`` about as TOML writes it, on one line of some 50 characters.

    >>> show("fast"), show(True), show([1, 2]), show({})
    ('"fast"', 'true', 'an array', 'a table')
    """
    match value:
        case str():
            text = value if len(value) <= 40 else value[:40] + "…"
            return json.dumps(text, ensure_ascii=False)
        case bool():
            return "true" if value else "false"
        case dict():
            return "a table"
        case list():
            return "an array"
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case float():
            return repr(value)
        case int() if value.bit_length() > 128:
            return "a number of very many digits"
    return str(value)


def _describe(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata(type=inner, extra_json_schema=extra):
            extra = extra or {}
            # Where the author explains a pattern, the pattern itself says no more.
            if "description" in extra and isinstance(inner, inspect.StrType) and inner.pattern:
                said = f"text: {extra['description']}"
            else:
                said = _describe(inner)
                said += f" ({extra['description']})" if "description" in extra else ""
            examples = ", ".join(show(example) for example in extra.get("examples", ()))
            return f"{said}, such as {examples}" if examples else said
        case inspect.UnionType(types=kinds):
            return " or ".join(_describe(k) for k in kinds if not isinstance(k, inspect.NoneType))
        case inspect.LiteralType(values=values):
            return _choice(values)
        case inspect.EnumType(cls=cls):
            return _choice(member.value for member in cls)
        case inspect.IntType() | inspect.FloatType():
            noun = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
            return noun + _bounds(kind)
        case inspect.StrType(min_length=least, max_length=most, pattern=pattern):
            said = "text" + _length(least, most, "characters")
            return f"{said} that matches {pattern}" if pattern else said
        case inspect.DictType(value_type=inner):
            return "a table" + _inside("value", inner)
        case inspect.CollectionType(item_type=inner, min_length=least, max_length=most):
            return "an array" + _length(least, most, "elements") + _inside("element", inner)
        case inspect.StructType(fields=fields):
            return f"a table with {', '.join(f.encode_name for f in fields) or 'nothing in it'}"
    return _PLAIN.get(type(kind), "a value that fits")


def _choice(values: Any) -> str:
    shown = [show(value) for value in values]
    return f"one of {', '.join(shown)}" if len(shown) > 1 else shown[0]


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge} to {kind.le}"
    words = {"from": kind.ge, "above": kind.gt, "up to": kind.le, "below": kind.lt}
    said = " and ".join(f"{word} {bound}" for word, bound in words.items() if bound is not None)
    return f" {said}" if said else ""


def _length(least: int | None, most: int | None, unit: str) -> str:
    if least and most:
        return f" of {least} to {most} {unit}"
    if least:
        return f" of at least {least} {unit}"
    return f" of at most {most} {unit}" if most else ""


def _inside(noun: str, kind: inspect.Type) -> str:
    return "" if isinstance(kind, inspect.AnyType) else f"; each {noun}: {_describe(kind)}"


_PLAIN: dict[type[inspect.Type], str] = {
    inspect.BoolType: "true or false",
    inspect.AnyType: "anything",
    inspect.NoneType: "nothing",
    inspect.DateTimeType: "a date and time, such as 2030-01-31T12:00:00Z",
    inspect.DateType: "a date, such as 2030-01-31",
    inspect.TimeType: "a time of day, such as 12:00:00",
    inspect.TimeDeltaType: 'a duration as text, such as "PT5S"',
    inspect.UUIDType: "a UUID as text",
    inspect.DecimalType: "a number as text",
    inspect.BytesType: "bytes as base64 text",
}
