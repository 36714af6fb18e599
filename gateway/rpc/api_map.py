"""An API's map as people and programs read it: what can be called, with what, for what.

The map is data (`gateway.rpc.api.MAP`), and may come from a newer gateway or from
somebody who is no API at all: what it does not say is taken to be anything.

Refused: nothing; entries that make no sense are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.mail.signature import Parameter

VALUES = ("property", "attribute")
"""The kinds of what is read and set, and not called."""


class Entry(NamedTuple):
    """One thing to call; ``parameters`` are None where anything may be given.

    ``is_value`` says that it is read without an argument, and set with one where it takes one.
    """

    path: str
    description: str
    parameters: tuple[Parameter, ...] | None
    returns: str
    is_stream: bool
    is_value: bool = False

    def __str__(self) -> str:
        """Return the signature, on one line."""
        parameters = self.parameters
        if self.is_value:
            return f"{self.path}: {self.returns}{' (read only)' if parameters == () else ''}"
        given = "…" if parameters is None else ", ".join(_signature(parameters))
        returned = f" -> {self.returns}" if self.returns not in ("None", "") else ""
        return f"{self.path}({given}){returned}{' …' if self.is_stream else ''}"

    def takes(self, place: int | str) -> str:
        """Return the type of the argument at a ``place``, or by its name; empty for unknown."""
        for number, parameter in enumerate(self.parameters or ()):
            if place == (parameter.name if isinstance(place, str) else number):
                return parameter.type
        return ""


def read_map(told: object) -> dict[str, Entry]:
    """Return the entries of a map, by their paths.

    >>> told = {"arm.grip": {"parameters": {"force": {"type": "int", "required": True}}}}
    >>> print(read_map(told)["arm.grip"])
    arm.grip(force: int) -> Any
    """
    if not isinstance(told, Mapping):
        return {}
    return {
        path: _entry(path, each)
        for path, each in sorted(told.items())
        if isinstance(path, str) and isinstance(each, Mapping)
    }


def _entry(path: str, told: Mapping[str, Any]) -> Entry:
    parameters = told.get("parameters")
    return Entry(
        path,
        str(told.get("description") or ""),
        tuple(_parameter(name, each) for name, each in parameters.items())
        if isinstance(parameters, Mapping)
        else None,
        str(told.get("returns", "Any")),
        told.get("stream") is True,
        told.get("kind") in VALUES,
    )


def _parameter(name: str, told: object) -> Parameter:
    words = told if isinstance(told, Mapping) else {}
    choices = words.get("choices")
    return Parameter(
        name=str(name),
        type=str(words.get("type", "Any")),
        unit=str(words.get("unit") or ""),
        required=words.get("required") is True,
        limits=(_number(words.get("minimum")), _number(words.get("maximum"))),
        choices=tuple(choices) if isinstance(choices, list) else (),
        keyword_only=words.get("keyword_only") is True,
    )


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) else None


def _signature(parameters: tuple[Parameter, ...]) -> list[str]:
    texts = []
    named = False
    for parameter in parameters:
        if parameter.keyword_only and not named:
            named = True
            texts.append("*")
        texts.append(str(parameter))
    return texts
