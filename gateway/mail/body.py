"""What a body may be, checked alike whether the letter crosses a process or not.

None, bool, an int of 64 bits, float, str, bytes, list, dict with str keys,
datetime with a time zone, or a frozen msgspec Struct that was registered
here. Containers are copied, so that no two threads ever hold the same one;
a datetime is handed over in UTC, as the wire has it.

Refused, with the place named: anything else, naive datetimes, integers that
do not fit, text that is no Unicode, nesting deeper than 32, also inside a
Struct; Structs that are not frozen or not registered.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from gateway.errors import BodyError

DEPTH = 32
"""Levels of nesting that a body may have."""

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
PLAIN = frozenset({type(None), bool, float, str, bytes})
"""Types of which a value is handed over as it is: nobody can change it."""

_ANY_VALUE = PLAIN - {str}
"""Those of which every value may travel."""

_registered: dict[str, type[msgspec.Struct]] = {}

S = TypeVar("S", bound=type[msgspec.Struct])


def register(struct: S) -> S:
    """Let ``struct`` travel as a body, known by its class name; use as a decorator.

    Raises `ValueError` for one that is not frozen, holds what no body may
    hold, or whose name another Struct has taken.
    """
    name = struct.__name__
    if not struct.__struct_config__.frozen:
        raise ValueError(f"{name} must be frozen to travel: class {name}(Struct, frozen=True)")
    _check_type(inspect.type_info(struct), name, set())
    known = _registered.get(name)
    # The same class imported twice (a reload, a test under two names) is no clash.
    if known is not None and known.__struct_fields__ != struct.__struct_fields__:
        raise ValueError(f"two different Structs are called {name}: rename one of them")
    _registered[name] = struct
    return struct


def registered(name: str) -> type[msgspec.Struct] | None:
    """Return the Struct registered as ``name``, or None."""
    return _registered.get(name)


def checked(body: Any) -> tuple[Any, str]:
    """Return ``body``, safe to hand over, and the name of its Struct or ``""``.

    >>> checked({"left": 10})
    ({'left': 10}, '')
    >>> checked({1, 2})
    Traceback (most recent call last):
    gateway.errors.BodyError: body is a set: a letter carries None, bool, int, float, str, \
bytes, list, dict, datetime or a registered Struct
    """
    kind = type(body)
    if kind is dict:
        # Most bodies are flat, and copied in one go.
        for key, item in body.items():
            if type(key) is not str or not key.isascii():
                break
            kind = type(item)
            if kind is str:
                if not item.isascii():
                    break
            elif kind not in PLAIN and not (kind is int and _INT_MIN <= item <= _INT_MAX):
                break
        else:
            return body.copy(), ""
    elif kind is str:
        return unicode(body, "body"), ""
    elif kind in PLAIN or (kind is int and _INT_MIN <= body <= _INT_MAX):
        return body, ""
    elif isinstance(body, msgspec.Struct):
        return _struct(body), kind.__name__
    return _copy(body, "body", DEPTH), ""


def check_flag(value: object, name: str) -> None:
    """Raise `TypeError` where what is said of a letter is neither True nor False.

    A reader in another OS process could not read it.
    """
    if value is not True and value is not False:
        raise TypeError(f"{name} is True or False, not {value!r}")


def unicode(text: str, where: str) -> str:
    """Return ``text``; raise `BodyError` where it is no Unicode, and so no letter carries it.

    Python makes such text of file names that are not UTF-8, for one.

    >>> unicode("caf\\udce9", "the name")
    Traceback (most recent call last):
    gateway.errors.BodyError: the name is text that is no Unicode ('caf\\udce9'): send bytes, \
as os.fsencode makes them of file names
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            shown = ascii(text[max(0, error.start - 20) : error.end + 20])
            raise BodyError(
                f"{where} is text that is no Unicode ({shown}):"
                " send bytes, as os.fsencode makes them of file names"
            ) from error
    return text


def restored(body: Any, body_type: str) -> Any:
    """Return the Struct ``body_type`` made of ``body``, as it came off the wire.

    A body whose Struct is not registered here stays a dict.
    """
    struct = _registered.get(body_type)
    if struct is None:
        return body
    try:
        return msgspec.convert(body, struct)
    except msgspec.ValidationError as error:
        raise BodyError(f"body is no {body_type}: {error}") from error


def _struct(body: msgspec.Struct) -> msgspec.Struct:
    kind = type(body)
    if _registered.get(kind.__name__) is not kind:
        raise BodyError(f"body is a {kind.__name__}: decorate the class with @register first")
    try:
        # There and back: the fields are checked and what they hold is copied.
        plain = msgspec.to_builtins(body, builtin_types=(bytes, datetime))
        return msgspec.convert(_copy(plain, kind.__name__, DEPTH), kind)
    except BodyError:
        raise
    except (msgspec.ValidationError, TypeError, RecursionError) as error:
        raise BodyError(f"body is a wrong {kind.__name__}: {error}") from error


def _copy(value: Any, where: str, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return unicode(value, where[:80])
    if kind in PLAIN:
        return value
    if kind is int:
        if _INT_MIN <= value <= _INT_MAX:
            return value
        raise BodyError(f"{where} is an integer of more than 64 bits: send it as text")
    if depth == 0:
        raise BodyError(f"{where[:80]} is nested deeper than {DEPTH} levels")
    if kind is dict:
        copy = {}
        for key, item in value.items():
            if type(key) is not str:
                raise BodyError(f"{where} has the key {key!r}: keys are text")
            unicode(key, f"a key of {where[:80]}")
            copy[key] = (
                item if type(item) in _ANY_VALUE else _copy(item, f"{where}[{key!r}]", depth - 1)
            )
        return copy
    if kind is list or kind is tuple:
        return [
            item if type(item) in _ANY_VALUE else _copy(item, f"{where}[{index}]", depth - 1)
            for index, item in enumerate(value)
        ]
    if kind is datetime:
        if value.utcoffset() is None:
            raise BodyError(f"{where} is a datetime without a time zone: give it one")
        try:
            return value.astimezone(UTC)
        except OverflowError as error:
            raise BodyError(f"{where} is a datetime that UTC has no year for") from error
    if isinstance(value, msgspec.Struct):
        raise BodyError(f"{where} is a Struct inside a container: a Struct is a whole body")
    raise BodyError(
        f"{where} is a {kind.__name__}: a letter carries None, bool, int, float, str, bytes,"
        " list, dict, datetime or a registered Struct"
    )


_SIMPLE = (
    inspect.AnyType,
    inspect.NoneType,
    inspect.BoolType,
    inspect.IntType,
    inspect.FloatType,
    inspect.StrType,
    inspect.BytesType,
    inspect.DateTimeType,
    inspect.LiteralType,
)


def _check_type(kind: inspect.Type, where: str, seen: set[type]) -> None:
    if isinstance(kind, _SIMPLE):
        return
    if isinstance(kind, inspect.StructType):
        if kind.cls in seen:
            return  # it holds itself; how deep, `checked` sees
        seen.add(kind.cls)
        for field in kind.fields:
            _check_type(field.type, f"{where}.{field.name}", seen)
    elif isinstance(kind, inspect.UnionType):
        for member in kind.types:
            _check_type(member, where, seen)
    elif isinstance(kind, inspect.ListType | inspect.VarTupleType):
        _check_type(kind.item_type, f"{where}[]", seen)
    elif isinstance(kind, inspect.DictType):
        if not isinstance(kind.key_type, inspect.StrType | inspect.AnyType):
            raise ValueError(f"{where} has keys that are no text: no letter carries that")
        _check_type(kind.value_type, f"{where}[]", seen)
    elif isinstance(kind, inspect.Metadata):
        _check_type(kind.type, where, seen)
    else:
        raise ValueError(f"{where} is a {type(kind).__name__}: no letter carries that")
