"""Hold a table from TOML against a msgspec struct, and find every mistake in it.

msgspec stops at the first mistake; this walks the struct's fields itself and asks
msgspec about one value at a time: unknown and missing keys, types, constraints, and
last what the struct's own ``__post_init__`` objects to. A number that is not finite is
refused everywhere: no timeout or limit means anything with it.

Works with any struct. Reads no file and knows no key by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from gateway.config.describe import describe, show
from gateway.config.mistake import Mistake, suggest
from gateway.config.provenance import Path, Provenance, written

S = TypeVar("S", bound=msgspec.Struct)


class Checker:
    """Collects the mistakes of one configuration in `mistakes`."""

    def __init__(self, provenance: Provenance) -> None:
        self.mistakes: list[Mistake] = []
        self._provenance = provenance

    def mistake(self, path: Path, problem: str, advice: str = "") -> None:
        """Note a mistake at ``path``, with the line of it or of what stands around it."""
        origin = self._provenance.nearest(path)
        self.mistakes.append(
            Mistake(
                problem=problem,
                advice=advice,
                key=written(path),
                file=origin.file if origin else "",
                line=origin.line if origin else None,
            )
        )

    def table(self, value: Any, path: Path) -> dict[str, Any]:
        """Return ``value`` if it is a table; else note that, and return an empty one."""
        if isinstance(value, dict):
            return value
        advice = f"write a table: [{written(path)}]"
        if isinstance(value, list) and any(isinstance(each, dict) for each in value):
            # As others number what we name.
            advice = f"write one table for each: [{written((*path, 'NAME'))}]"
        self.mistake(path, f"cannot be {show(value)}", advice)
        return {}

    def unknown(
        self, name: str, path: Path, known: Sequence[str], *, taken: Container[str] = ()
    ) -> None:
        """Note that the key ``name`` in the table at ``path`` is none of ``known``.

        It is no misspelling of those that are ``taken``: they stand in the table as well.
        """
        free = [each for each in known if each not in taken]
        advice = suggest(name, known, likely=free) or "this table takes no keys: remove it"
        self.mistake((*path, name), "unknown key", advice)

    def struct(
        self, value: Any, cls: type[S], path: Path, *, beside: Sequence[str] = ()
    ) -> S | None:
        """Return ``value`` as a ``cls``; None where that cannot be, with each reason noted.

        ``beside`` are keys that somebody else takes out of the same table: they may be
        what a misspelt one was meant to be.
        """
        table = self.table(value, path)
        if table is not value:
            return None
        before = len(self.mistakes)
        fields = {field.encode_name: field for field in msgspec.structs.fields(cls)}
        hints = get_type_hints(cls, include_extras=True)
        tag = cls.__struct_config__.tag_field
        for name in table:
            if name not in fields and name != tag:
                self.unknown(name, path, (*fields, *beside), taken=table)
        unknown = len(self.mistakes) - before
        for name, field in fields.items():
            annotation = hints[field.name]
            if name in table:
                self._value(table[name], annotation, (*path, name))
            elif field.required:
                self.mistake((*path, name), "is missing", f"write {describe(annotation)}")
        if len(self.mistakes) - before > unknown:
            return None
        known = {name: value for name, value in table.items() if name in fields or name == tag}
        built = self._build(cls, known, path)
        return None if unknown else built

    def _build(self, cls: type[S], table: dict[str, Any], path: Path) -> S | None:
        """Make the struct out of fields that are each right; its own check comes last."""
        try:
            return msgspec.convert(table, cls)
        except msgspec.ValidationError as error:
            said = str(error).split(" - at `$")[0]
            # An objection to how keys go together stands at the first one it speaks of.
            words = set(re.findall(r"\w+", said))
            culprit = next((name for name in table if name in words), None)
            self.mistake((*path, culprit) if culprit else path, said)
            return None

    def _value(self, value: Any, annotation: Any, path: Path) -> None:
        """Note what is wrong with one value; go into tables and arrays for each of theirs."""
        before = len(self.mistakes)
        base = _without_metadata(annotation)
        arguments = get_args(base)
        origin = get_origin(base)
        if (cls := _struct_in(base)) and isinstance(value, dict):
            self.struct(value, cls, path)
        elif _is_array(origin, arguments) and isinstance(value, list):
            for place, element in enumerate(value):
                self._value(element, arguments[0], (*path, place))
        elif origin in (dict, Mapping) and isinstance(value, dict):
            for name, element in value.items():
                self._value(element, arguments[1], (*path, name))
        elif isinstance(value, float) and not math.isfinite(value):
            self.mistake(path, f"cannot be {show(value)}", f"write {describe(annotation)}")
        if len(self.mistakes) == before:
            self._whole(value, annotation, path)

    def _whole(self, value: Any, annotation: Any, path: Path) -> None:
        try:
            msgspec.convert(value, annotation)
        except msgspec.ValidationError as error:
            problem = f"cannot be {show(value)}"
            if isinstance(value, dict | list):
                problem = f"does not fit: {error}"
            self.mistake(path, problem, _advice(value, annotation))


def _advice(value: Any, annotation: Any) -> str:
    """Return what would be right in place of ``value``; the value itself where only quotes are."""
    wanted = f"write {describe(annotation)}"
    if isinstance(value, str):
        try:
            msgspec.convert(value, annotation, strict=False)
        except msgspec.ValidationError:
            return wanted
        return f"{wanted}: {value} without quotes"
    if isinstance(value, bool | int | float):
        try:
            msgspec.convert(show(value), annotation)
        except msgspec.ValidationError:
            return wanted
        return f"{wanted}: {show(show(value))} with quotes"
    return wanted


def _is_array(origin: Any, arguments: tuple[Any, ...]) -> bool:
    """Return whether all elements have one type; a fixed tuple is judged as a whole."""
    if origin is tuple:
        return arguments[1:] == (...,)
    return origin in (list, set, frozenset, Sequence)


def _without_metadata(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _struct_in(annotation: Any) -> type[msgspec.Struct] | None:
    """Return the struct that a table must be here: ``annotation``, or the only one in a union."""
    union = get_origin(annotation) in (Union, UnionType)
    members = map(_without_metadata, get_args(annotation)) if union else [annotation]
    structs = [m for m in members if isinstance(m, type) and issubclass(m, msgspec.Struct)]
    return structs[0] if len(structs) == 1 else None
