"""Arguments as a letter's body: by name, those without a name in a list.

What a letter carries goes as it is. A Struct among the arguments becomes a dict,
of which the other side's annotation makes a Struct again, and so do dataclasses,
enumerations, tuples and sets.

Of a proxy or a remote function goes how to find it (`gateway.rpc.references`).

Refused (`BodyError`): what cannot be written that way, with the argument's name.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.mail.body import PLAIN
from gateway.mail.signature import POSITIONAL
from gateway.rpc.references import MARK, check_references, plain

_LETTERS_OWN = PLAIN | {int, datetime}


def packed(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """Return the body of a call; None where it has no arguments.

    >>> packed((1, 2), {"force": 3})
    {'force': 3, '*': [1, 2]}
    """
    refers = 0
    for name, value in kwargs.items():
        if type(value) not in _LETTERS_OWN:
            kwargs[name], holds = plain(value, f"the argument {name!r}")
            refers += holds
    if args:
        given = kwargs[POSITIONAL] = list(args)
        for place, value in enumerate(args):
            if type(value) not in _LETTERS_OWN:
                given[place], holds = plain(value, f"argument {place + 1}")
                refers += holds
    elif not kwargs:
        return None
    if refers:
        check_references(kwargs, refers, "what it is called with")
        kwargs[MARK] = True
    return kwargs
