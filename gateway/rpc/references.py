"""What stands in a letter for something that stays where it is.

Of a proxy or a function a letter carries how to find it: whatever has a method
``__refer__`` that returns plain data may be an argument or a result. A body that
holds such references says so (`MARK`), so that nobody has to search the others; a
process that can find what they stand for has its desk do so
(`gateway.rpc.answers.Answers.references`).

Pure. Refused (`BodyError`): what neither a letter can carry nor a reference stand for.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec

from gateway.errors import BodyError
from gateway.mail.body import PLAIN

MARK: Final = "$references"
"""The key in the body of a call, and the subject of an answer, that holds references."""

_KEY: Final = "$reference"
_AS_THEY_ARE = (bytes, datetime)
_ENDLESS: Final = "it contains itself, or is nested too deep"


class References(Protocol):
    """Knows, for one process, what references stand for."""

    def find(self, told: dict[str, Any]) -> Any:
        """Return what ``told`` stands for; `RefusedError` for nonsense."""
        ...

    def refer(self, value: object) -> dict[str, Any] | None:
        """Return what stands for ``value``, which says nothing of it itself; None for nothing."""
        ...


def plain(value: Any, where: str, known: References | None = None) -> tuple[Any, int]:
    """Return ``value`` as a letter carries it, and how many references are in it.

    >>> plain({"ports": {1}}, "the argument 'config'")
    ({'ports': [1]}, 0)
    """
    if type(value) in PLAIN or type(value) is int:
        return value, 0
    told = None if known is None else known.refer(value)
    if told is not None:
        return {_KEY: told}, 1
    refers = 0

    def refer(found: Any) -> dict[str, Any]:
        nonlocal refers
        make = getattr(type(found), "__refer__", None)
        told = make(found) if make is not None else None if known is None else known.refer(found)
        if told is None:
            raise TypeError(f"it holds a {type(found).__name__}{_advice(found)}")
        refers += 1
        return {_KEY: told}

    try:
        made = msgspec.to_builtins(value, builtin_types=_AS_THEY_ARE, str_keys=True, enc_hook=refer)
    except RecursionError:
        # What led there is a thousand times the same line.
        raise BodyError(f"{where} cannot be sent: {_ENDLESS}") from None
    except (TypeError, ValueError) as error:
        raise BodyError(f"{where} cannot be sent: {error}") from error
    return made, refers


def check_references(body: Any, number: int, where: str) -> None:
    """Raise `BodyError` where ``body`` has more that looks like a reference than the ``number``.

    What somebody outside has written could else be taken for one by whoever reads it.
    """
    found = 0

    def count(told: dict[str, Any]) -> None:
        nonlocal found
        found += 1

    try:
        found_in(body, count)
    except RecursionError:
        raise BodyError(f"{where} cannot be sent: {_ENDLESS}") from None
    if found != number:
        raise BodyError(
            f"{where} cannot be sent: beside a proxy or a function it holds a dict with the one"
            f" key {_KEY!r}, which would be taken for another"
        )


def found_in(value: Any, find: Callable[[dict[str, Any]], Any]) -> Any:
    """Return ``value`` with what ``find`` returns in the place of each reference.

    >>> found_in([1, {"$reference": {"to": "arm"}}], lambda told: told["to"])
    [1, 'arm']
    """
    if type(value) is list or type(value) is tuple:
        return [found_in(each, find) for each in value]
    if type(value) is dict:
        told = value.get(_KEY)
        if type(told) is dict and len(value) == 1:
            return find(told)
        return {name: found_in(each, find) for name, each in value.items()}
    return value


def _advice(found: Any) -> str:
    if callable(found):
        return ": hand over gateway.services.remote_function(process, function)"
    return ""
