"""Arguments as a letter's body: by name, those without a name in a list.

What a letter carries goes as it is. A Struct among the arguments becomes a dict,
of which the other side's annotation makes a Struct again, and so do dataclasses,
enumerations, tuples and sets.

Refused (`BodyError`): what cannot be written that way, with the argument's name.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from gateway.errors import BodyError
from gateway.mail.body import PLAIN
from gateway.mail.signature import POSITIONAL

_AS_THEY_ARE = (bytes, datetime)
_LETTERS_OWN = PLAIN | {int, dict, list, tuple, datetime}


def packed(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """Return the body of a call; None where it has no arguments.

    >>> packed((1, 2), {"force": 3})
    {'force': 3, '*': [1, 2]}
    """
    if args:
        kwargs[POSITIONAL] = [plain(value, f"argument {n}") for n, value in enumerate(args, 1)]
    elif not kwargs:
        return None
    for name, value in kwargs.items():
        if type(value) not in _LETTERS_OWN:
            kwargs[name] = plain(value, f"the argument {name!r}")
    return kwargs


def plain(value: Any, where: str) -> Any:
    """Return ``value`` as a letter carries it.

    >>> plain({"ports": {1}}, "the argument 'config'")
    {'ports': [1]}
    """
    if type(value) in PLAIN or type(value) is int:
        return value
    try:
        return msgspec.to_builtins(value, builtin_types=_AS_THEY_ARE, str_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise BodyError(f"{where} cannot be sent: {error}") from error
