"""Who may write to whom from outside: a list of what is allowed, nothing else is.

A `Rule` names recipients and subjects with shell globs (``*`` also crosses
``/`` and ``@``). The list is pure; each router asks it before a letter enters
the bus.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate
from typing import Annotated

import msgspec
from msgspec import Meta


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Mail to ``to`` with ``subject`` may enter; both are globs."""

    to: Annotated[str, Meta(min_length=1, description="an address or a glob, like '*@serial'")]
    subject: Annotated[str, Meta(min_length=1, description="a subject or a glob")] = "*"


class AccessList:
    """The rules of one router. An empty list lets nothing in.

    >>> access = AccessList([Rule(to="*@serial", subject="led")])
    >>> access.allows("board@serial", "led"), access.allows("board@serial", "reset")
    (True, False)
    """

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = [
            (re.compile(translate(rule.to)).match, re.compile(translate(rule.subject)).match)
            for rule in rules
        ]

    def allows(self, recipient: str, subject: str) -> bool:
        """Tell whether a letter from outside may go to ``recipient``."""
        return any(to(recipient) and about(subject) for to, about in self._rules)
