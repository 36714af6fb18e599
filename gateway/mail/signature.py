"""What can be called: annotated methods, and the letters checked against them.

The author of a driver, a process or a service marks a method with `command`; its
signature says the rest::

    @command
    def drive(self, left: Annotated[int, Unit("mm/s")], right: ... = 0) -> None:
        \"\"\"Set both wheel speeds.\"\"\"

From it come the description on ``devices/<name>/info``, in an API's map and in its
stub, and the check of every body: strictly typed, unknown names refused. Bounds
are msgspec's own, as in ``Annotated[int, Meta(ge=0, le=255)]``. A body names its
arguments; those under `POSITIONAL` come first, in the order of the parameters.

Refused, with the parameter's name and what would be right: a body that does
not fit (`RefusedError`). Refused for the author (`TypeError`, when it is first made):
``*args`` and ``**kwargs``, an annotation that stands for nothing, and, of what is
marked, a parameter without a type.
"""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Callable, Mapping
from datetime import datetime
from types import FunctionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import UNSET, convert
from msgspec.structs import asdict

from gateway.errors import RefusedError

POSITIONAL: Final = "*"
"""The name in a body under which a list of arguments without names stands."""

_MARK: Final = "__gateway_command__"
_Method = TypeVar("_Method", bound=Callable[..., Any])


class Unit(msgspec.Struct, frozen=True):
    """The unit of a parameter or of a published field: ``Annotated[int, Unit("mm/s")]``."""

    symbol: str


def command(method: _Method) -> _Method:
    """Mark a method as something that a letter may ask for.

    A driver's, a process's, or that of any object that `gateway.rpc.serve` is given.
    """
    setattr(method, _MARK, True)
    return method


class Parameter(msgspec.Struct, frozen=True):
    """One parameter as people read it; ``type`` is text such as ``int``.

    ``limits`` are the least and the most that is taken, both included, None for
    no limit; ``choices`` are all that is taken, where they can be listed. One that
    is ``keyword_only`` is given by its name alone.
    """

    name: str
    type: str
    unit: str
    required: bool
    limits: tuple[float | None, float | None] = (None, None)
    choices: tuple[Any, ...] = ()
    keyword_only: bool = False

    def __str__(self) -> str:
        unit = f" [{self.unit}]" if self.unit else ""
        low, high = self.limits
        span = f" {'' if low is None else low}…{'' if high is None else high}"
        limits = "" if low is None and high is None else span
        return f"{self.name}: {self.type}{unit}{limits}{'' if self.required else ' (optional)'}"

    def describe(self) -> dict[str, Any]:
        """Return what ``devices/<name>/info`` says of it; limits and choices where there are."""
        low, high = self.limits
        extra = {
            "minimum": low,
            "maximum": high,
            "choices": list(self.choices) or None,
            "keyword_only": self.keyword_only or None,
        }
        return {
            "type": self.type,
            "unit": self.unit,
            "required": self.required,
            **{word: each for word, each in extra.items() if each is not None},
        }


class Command:
    """One command: its description and its check."""

    def __init__(
        self, name: str, method: Callable[..., Any], *, bound: bool = False, typed: bool = True
    ) -> None:
        """Describe ``method``; `TypeError` where its signature cannot be written in a letter.

        One that is ``bound`` has no ``self`` any more. Where it need not be
        ``typed``, a parameter without a type takes whatever a letter carries, and so
        does one of a type that no letter carries: a reference may stand for it.
        """
        self.name = name
        self.description = inspect.getdoc(method) or ""
        hints = _hints_of(name, method)
        self._positional: tuple[str, ...] = ()
        parameters: list[Parameter] = []
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
        for parameter in list(inspect.signature(method).parameters.values())[not bound :]:
            where = f"command {name}, parameter {parameter.name}"
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(
                    f"{where}: a letter names its parameters, so only plain ones can be"
                    f"{_place_of(method)}"
                )
            if typed and parameter.name not in hints:
                raise TypeError(
                    f"{where}: has no type; write {parameter.name}: int, for example"
                    f"{_place_of(method)}"
                )
            annotation = hints.get(parameter.name, Any)
            shape = annotation if typed or is_carried(annotation) else Any
            required = parameter.default is parameter.empty
            parameters.append(
                Parameter(
                    parameter.name,
                    type_text(annotation),
                    unit_of(annotation),
                    required,
                    limits_of(annotation),
                    choices_of(annotation),
                    parameter.kind is parameter.KEYWORD_ONLY,
                )
            )
            # What the letter leaves out is left out of the call as well, so
            # that a default stays the method's own affair.
            fields.append(
                (parameter.name, shape)
                if required
                else (parameter.name, shape | msgspec.UnsetType, UNSET)
            )
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                self._positional = (*self._positional, parameter.name)
        self.parameters = tuple(parameters)
        self.returns = type_text(hints.get("return", Any))
        self.returns_unit = unit_of(hints.get("return"))
        self._names = tuple(parameter.name for parameter in parameters)
        self._all_required = all(parameter.required for parameter in parameters)
        # Half the cost of a check, and of no use to numbers and words.
        self._as_they_are = None if all(map(_is_plain, hints.values())) else _AS_THEY_ARE
        self.shape: type[msgspec.Struct] = msgspec.defstruct(
            name, fields, kw_only=True, forbid_unknown_fields=True
        )
        """A letter's body as a type, with its bounds: what `check` converts to."""
        # msgspec learns a Struct when it is first asked for one, and crashes where two
        # threads have it learn the same one at once, as two calls would. So it learns it here.
        msgspec.msgpack.Decoder(self.shape)
        self.answer: Any = hints.get("return", Any)
        """What it returns, as annotated."""

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.parameters))})"

    def check(self, body: object) -> dict[str, Any]:
        """Return the keyword arguments that ``body`` gives, or raise `RefusedError`."""
        if body is None:
            body = {}
        elif type(body) is dict and POSITIONAL in body:
            body = self._named(body)
        try:
            checked = convert(body, self.shape, builtin_types=self._as_they_are)
        except msgspec.ValidationError as error:
            raise RefusedError(f"{self._mistake(body, error)}; right is {self}") from None
        arguments = asdict(checked)
        if self._all_required:
            return arguments
        return {name: each for name, each in arguments.items() if each is not UNSET}

    def _named(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return ``body`` with a name for each argument that had none."""
        given = body[POSITIONAL]
        if not isinstance(given, list):
            return body
        body = {name: value for name, value in body.items() if name != POSITIONAL}
        if len(given) > len(self._positional):
            most = len(self._positional)
            raise RefusedError(
                f"{self.name} takes at most {most} arguments without a name,"
                f" not {len(given)}; right is {self}"
            )
        for name, value in zip(self._positional, given, strict=False):
            if name in body:
                raise RefusedError(f"{self.name} is given {name!r} twice; right is {self}")
            body[name] = value
        return body

    def describe(self) -> dict[str, Any]:
        """Return what ``devices/<name>/info`` says about this command."""
        return {
            "description": self.description,
            "parameters": {each.name: each.describe() for each in self.parameters},
            "returns": self.returns,
            "returns_unit": self.returns_unit,
        }

    def _mistake(self, body: object, error: msgspec.ValidationError) -> str:
        """Say what is wrong in words of the letter's writer."""
        if not isinstance(body, Mapping):
            return f"{self.name} takes its parameters by name, not as {type(body).__name__}"
        for name in body:
            if name not in self._names:
                near = difflib.get_close_matches(str(name), self._names, n=1)
                meant = f" (did you mean {near[0]!r}?)" if near else ""
                return f"{self.name} has no parameter {name!r}{meant}"
        for parameter in self.parameters:
            if parameter.required and parameter.name not in body:
                return f"{self.name} needs the parameter {parameter.name!r}"
        problem, _, place = str(error).partition(" - at `$.")
        return f"{self.name}: parameter {place.rstrip('`')!r}: {problem}"


def commands_of(kind: type) -> dict[str, Command]:
    """Return the commands that a class offers, by name, its bases' included."""
    return {name: Command(name, getattr(kind, name)) for name in marked_in(kind)}


def marked_in(kind: type) -> list[str]:
    """Return the names of the methods of ``kind`` that are marked with `command`, sorted."""
    # Not by `inspect.getmembers`: every process that is born asks, and most have none.
    names = {name for base in kind.__mro__ for name, own in vars(base).items() if _is_marked(own)}
    # Whoever overrides a command offers it only where that is marked too.
    return sorted(name for name in names if _is_marked(getattr(kind, name)))


def _is_marked(method: object) -> bool:
    if isinstance(method, staticmethod):
        method = method.__func__
    return isinstance(method, FunctionType) and getattr(method, _MARK, False)


def type_text(annotation: object) -> str:
    """Return a type as people write it, without its unit and bounds.

    >>> type_text(Annotated[int, Unit("V")] | None)
    'int | None'
    """
    if get_origin(annotation) is Annotated:
        return type_text(get_args(annotation)[0])
    if get_origin(annotation) in _UNIONS:
        return " | ".join(map(type_text, get_args(annotation)))
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def unit_of(annotation: object) -> str:
    """Return the symbol of the `Unit` in an annotation, or empty text.

    >>> unit_of(Annotated[int, Unit("V")] | None)
    'V'
    """
    if get_origin(annotation) in _UNIONS:
        return next(filter(None, map(unit_of, get_args(annotation))), "")
    if get_origin(annotation) is Annotated:
        return next((each.symbol for each in get_args(annotation)[1:] if type(each) is Unit), "")
    return ""


def limits_of(annotation: object) -> tuple[float | None, float | None]:
    """Return the least and the most of a number, both included; None where there is none.

    >>> limits_of(Annotated[int, msgspec.Meta(gt=0, le=200)])
    (1, 200)
    """
    low = high = None
    if get_origin(annotation) is Annotated:
        whole = get_args(annotation)[0] is int
        for each in get_args(annotation)[1:]:
            if isinstance(each, msgspec.Meta):
                low = each.ge if each.ge is not None else low
                high = each.le if each.le is not None else high
                if each.gt is not None:
                    low = each.gt + 1 if whole else each.gt
                if each.lt is not None:
                    high = each.lt - 1 if whole else each.lt
    return low, high


def choices_of(annotation: object) -> tuple[Any, ...]:
    """Return the values of a `Literal`, in the order in which they are written."""
    if get_origin(annotation) is Annotated:
        return choices_of(get_args(annotation)[0])
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def is_carried(annotation: object) -> bool:
    """Whether a letter can carry values of this type, so that they can be checked against it.

    >>> is_carried(list[int]), is_carried(Callable[[], int])
    (True, False)
    """
    try:
        return not _is_foreign(msgspec.inspect.type_info(annotation))
    except (TypeError, ValueError, NameError):
        return False


def _is_foreign(kind: Any) -> bool:
    """Whether ``kind`` is, or directly holds, a type that msgspec knows nothing of."""
    if isinstance(kind, msgspec.inspect.CustomType):
        return True
    inner = [getattr(kind, name, None) for name in ("item_type", "key_type", "value_type", "type")]
    several = [*getattr(kind, "types", ()), *getattr(kind, "item_types", ())]
    return any(_is_foreign(each) for each in (*inner, *several) if each is not None)


def _hints_of(name: str, method: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of ``method``; raise `TypeError` that names the one that is wrong."""
    try:
        return get_type_hints(method, include_extras=True)
    except (NameError, AttributeError, SyntaxError) as error:
        made = inspect.unwrap(method)
        where = f"command {name}"
        for parameter, annotation in getattr(made, "__annotations__", {}).items():
            alone = types.SimpleNamespace(__annotations__={parameter: annotation})
            try:
                get_type_hints(alone, globalns=getattr(made, "__globals__", None))
            except (NameError, AttributeError, SyntaxError):
                what = "what it returns" if parameter == "return" else f"parameter {parameter}"
                where = f"command {name}, {what}: the type {annotation!r} stands for nothing"
                break
        raise TypeError(
            f"{where} ({error}); write a type such as int, or import its name in"
            f" {made.__module__}, and not under TYPE_CHECKING alone{_place_of(method)}"
        ) from None


def _place_of(method: Callable[..., Any]) -> str:
    """Return where an author finds ``method``: in its class, where it has one."""
    place = getattr(inspect.unwrap(method), "__qualname__", "")
    return f" (in {place})" if place else ""


def _is_plain(annotation: object) -> bool:
    """Whether a value of this type holds neither bytes nor times, for certain."""
    if get_origin(annotation) is Annotated:
        return _is_plain(get_args(annotation)[0])
    return annotation in _PLAIN or get_origin(annotation) is Literal


_UNIONS = frozenset({Union, types.UnionType})
_PLAIN = frozenset({bool, int, float, str, type(None)})
_AS_THEY_ARE = (bytes, datetime)
"""Letters carry these as themselves; text is not read as one of them."""
