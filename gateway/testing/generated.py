"""Values that fit an annotation, and values that do not: what a letter may bring.

From a command's signature, or the settings' fields, come its limits, a middle,
one of each choice, and something of every wrong kind. What has a pattern, or
is a type that no letter carries, cannot be made up; its author gives examples
(`NoExampleError` says so).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import inspect

_SEVERAL = 6
"""Values that are made of one annotation at the most."""


class NoExampleError(TypeError):
    """No value can be made up for an annotation."""


def fitting(annotation: Any) -> list[Any]:
    """Return values that fit ``annotation``, plain as they come in a letter, limits first.

    >>> from typing import Annotated, Literal
    >>> fitting(Annotated[int, msgspec.Meta(ge=0, le=200)])
    [0, 200, 1, 199, 100]
    >>> fitting(Literal["on", "off"]), fitting(bool)
    (['off', 'on'], [False, True])
    """
    return _fitting(inspect.type_info(annotation))


def wrong(annotation: Any, *, from_text: bool = False) -> list[Any]:
    """Return values that do not fit ``annotation``: of other kinds, and beyond its limits.

    With ``from_text`` bytes and times are read from text, as in a configuration.

    >>> from typing import Annotated
    >>> 201 in wrong(Annotated[int, msgspec.Meta(ge=0, le=200)])
    True
    """
    candidates: list[Any] = [None, True, 1, -1, 0.5, math.nan, math.inf, "", "x", b"\xff"]
    candidates += [[], [None], {}, {"$": 1}, 2**63 - 1, -(2**63), "9" * 400, datetime.now(UTC)]
    candidates += _beyond(inspect.type_info(annotation))
    return [each for each in candidates if not _fits(each, annotation, from_text)]


def argument_sets(shape: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """Return bodies that fit a command: all its parameters, each value of each at least once.

    The last one leaves out what may be left out.
    """
    fields = inspect.type_info(shape)
    assert isinstance(fields, inspect.StructType)
    values = {each.encode_name: _fitting(each.type) for each in fields.fields}
    count = max((len(each) for each in values.values()), default=1)
    sets = [
        {name: each[number % len(each)] for name, each in values.items()} for number in range(count)
    ]
    required = {each.encode_name for each in fields.fields if each.required}
    if required != set(values):
        sets.append({name: value for name, value in sets[0].items() if name in required})
    return sets


def wrong_argument_sets(
    shape: type[msgspec.Struct], right: dict[str, Any] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield bodies that do not fit a command, each with the parameter that is wrong.

    ``right`` is one that fits, where it cannot be made up.
    """
    fields = inspect.type_info(shape)
    assert isinstance(fields, inspect.StructType)
    right = argument_sets(shape)[0] if right is None else right
    annotations = {each.encode_name: each.type for each in msgspec.structs.fields(shape)}
    for field in fields.fields:
        name = field.encode_name
        for value in wrong(annotations[name]):
            yield name, {**right, name: value}
        if field.required:
            yield name, {key: value for key, value in right.items() if key != name}
    yield "nonsense", {**right, "nonsense": 1}


def _fits(value: Any, annotation: Any, from_text: bool) -> bool:
    try:
        msgspec.convert(value, annotation, builtin_types=None if from_text else (bytes, datetime))
    except (msgspec.ValidationError, OverflowError):
        return False
    return True


def _beyond(kind: inspect.Type) -> list[Any]:
    """Return what is just outside the limits of ``kind``."""
    if isinstance(kind, inspect.Metadata):
        return _beyond(kind.type)
    if isinstance(kind, inspect.UnionType):
        return [value for each in kind.types for value in _beyond(each)]
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        ends: list[Any] = []
        ends += [kind.ge - 1] if kind.ge is not None else []
        ends += [kind.le + 1] if kind.le is not None else []
        return ends + [each for each in (kind.gt, kind.lt) if each is not None]
    if isinstance(kind, inspect.StrType) and kind.max_length is not None:
        return ["x" * (kind.max_length + 1)]
    if isinstance(kind, inspect.BytesType) and kind.max_length is not None:
        return [b"x" * (kind.max_length + 1)]
    return []


def _fitting(kind: inspect.Type) -> list[Any]:
    match kind:
        case inspect.Metadata():
            return _fitting(kind.type)
        case inspect.UnionType():
            made = [_fitting(each) for each in kind.types if not _is_unset(each)]
            return [value for each in made for value in each][: 2 * _SEVERAL]
        case inspect.BoolType():
            return [False, True]
        case inspect.IntType():
            return _numbers(kind)
        case inspect.FloatType():
            return _floats(kind)
        case inspect.StrType():
            return _texts(kind)
        case inspect.BytesType():
            least, most = kind.min_length or 0, kind.max_length
            return _unique([b"\0" * max(1, least), b"\xff\n" * 8, b""], least, most)
        case inspect.LiteralType():
            # Two spellings of one Literal are the same to Python; their order is nobody's.
            return sorted(kind.values, key=repr)
        case inspect.EnumType():
            return [each.value for each in kind.cls]
        case inspect.DateTimeType():
            return [datetime(2000, 2, 29, 12, 0, tzinfo=UTC)]
        case inspect.NoneType() | inspect.AnyType():
            return [None]
        case _:
            return _containers(kind)


def _containers(kind: inspect.Type) -> list[Any]:
    match kind:
        case inspect.ListType() | inspect.VarTupleType():
            least = kind.min_length or 0
            return [[value] * max(1, least) for value in _fitting(kind.item_type)][:_SEVERAL]
        case inspect.TupleType():
            return [[_fitting(each)[0] for each in kind.item_types]]
        case inspect.DictType():
            if (kind.min_length or 0) == 0:
                return [{}]
            return [{_fitting(kind.key_type)[0]: _fitting(kind.value_type)[0]}]
        case inspect.StructType():
            return [{each.encode_name: _fitting(each.type)[0] for each in kind.fields}]
        case _:
            raise NoExampleError(f"no example can be made up for {type(kind).__name__}")


def _is_unset(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.CustomType) and kind.cls is msgspec.UnsetType


def _numbers(kind: inspect.IntType) -> list[int]:
    low = kind.ge if kind.ge is not None else None if kind.gt is None else kind.gt + 1
    high = kind.le if kind.le is not None else None if kind.lt is None else kind.lt - 1
    step = kind.multiple_of or 1
    first = math.ceil((-(2**31) if low is None else low) / step) * step
    last = math.floor((2**31 - 1 if high is None else high) / step) * step
    middle = (first + last) // 2 // step * step
    wanted = [first, last, first + step, last - step, middle]
    if first <= 0 <= last and low is None:
        wanted = [0, step, *wanted]
    return _distinct([each for each in wanted if first <= each <= last])


def _floats(kind: inspect.FloatType) -> list[float]:
    low, high = kind.ge if kind.ge is not None else kind.gt, kind.le
    high = kind.lt if high is None else high
    first = float(-1e6 if low is None else low)
    last = float(max(1e6, first) if high is None else high)
    wanted = [(first + last) / 2, first, last]
    inside = [
        each
        for each in wanted
        if (kind.gt is None or each > kind.gt) and (kind.lt is None or each < kind.lt)
    ]
    return _distinct(inside)


def _texts(kind: inspect.StrType) -> list[str]:
    if kind.pattern is not None:
        raise NoExampleError(f"no example can be made up for text like {kind.pattern!r}")
    least, most = kind.min_length or 0, kind.max_length
    return _unique(["a" * max(1, least), "é\n\0", "x" * (most or 64), ""], least, most)


def _unique(wanted: list[Any], least: int, most: int | None) -> list[Any]:
    fit = [each for each in wanted if len(each) >= least and (most is None or len(each) <= most)]
    return _distinct(fit)


def _distinct(values: list[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
