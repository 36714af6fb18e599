"""Values as udev rules write them.

In a rule a value stands in double quotes, where ``\\"`` is a quote and any other
backslash is itself. What the value means depends on its place: where something is
compared it is a pattern (``*``, ``?``, ``[…]``, alternatives with ``|``); where
something is assigned, ``%`` and ``$`` begin substitutions.

A glob of ours is Python's (`fnmatch`), udev's is the C library's, in which a
backslash escapes and brackets know classes and ``^``: `pattern` writes one as the other.

Refused, as a `RuleError` that says why: what no rule can say (``|``, which udev splits
at even between brackets; control characters; a backslash at the end, which would
escape the closing quote), and brackets that the two read differently.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.errors import ConfigError

LONGEST: Final = 256
"""Characters of a value; udev's lines are bounded, and no device says as much."""

_SET = re.compile(r"!?(?:[A-Za-z0-9_.:]-[A-Za-z0-9_.:]|[A-Za-z0-9_.: ])+-?")


class RuleError(ConfigError):
    """This cannot be said in a udev rule; the text says why and what can."""


def compared(value: str) -> str:
    r"""Return ``value``, exact or a glob, in quotes, as it stands after ``==``.

    >>> print(compared('Uno "R3"'), compared("usb-*:1.[0-3]"))
    "Uno \"R3\"" "usb-*:1.[0-3]"
    """
    _check(value)
    if not value:
        raise RuleError("an empty value would match every device that lacks the key: leave it out")
    if "|" in value:
        raise RuleError(f"{value!r} holds '|', at which udev splits: put '?' in its place")
    return _quoted(_pattern(value) if is_glob(value) else value)


def assigned(value: str) -> str:
    """Return ``value`` in quotes, as it stands after ``=`` or ``+=``: nothing is substituted.

    >>> assigned("100% $sure")
    '"100%% $$sure"'
    """
    _check(value)
    return _quoted(value.replace("%", "%%").replace("$", "$$"))


def is_glob(value: str) -> bool:
    """Return whether ``value`` is a pattern rather than itself."""
    return any(character in value for character in "*?[")


def _check(value: str) -> None:
    if len(value) > LONGEST:
        raise RuleError(f"{value[:40]!r}… has more than {LONGEST} characters: match its beginning")
    if not value.isprintable():
        raise RuleError(f"{value!r} holds a control character, which no rule can: put '?' there")
    if value.endswith("\\"):
        raise RuleError(
            f"{value!r} ends in a backslash, which would escape the closing quote: put '?' there"
        )


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '\\"') + '"'


def _pattern(glob: str) -> str:
    """Return a glob of Python's as one of the C library's."""
    written, at = [], 0
    while at < len(glob):
        character = glob[at]
        if character == "[" and (end := _end_of_set(glob, at)) is not None:
            written.append(_set(glob[at + 1 : end], glob))
            at = end
        elif character == "[":
            written.append("[[]")  # never closed: it stands for itself
        else:
            written.append("\\\\" if character == "\\" else character)
        at += 1
    return "".join(written)


def _end_of_set(glob: str, start: int) -> int | None:
    """Return where the set that begins at ``start`` is closed; None where it never is."""
    first = start + (2 if glob[start + 1 : start + 2] == "!" else 1)
    end = glob.find("]", first + 1)  # one that comes first is a member
    return None if end < 0 else end


def _set(inside: str, glob: str) -> str:
    if inside in ("*", "?", "["):
        return f"[{inside}]"  # how a glob says that character itself
    ranges = re.findall(r"(.)-(.)", inside.removeprefix("!"))
    if not _SET.fullmatch(inside) or any(low > high for low, high in ranges):
        raise RuleError(
            f"{glob!r}: udev may read [{inside}] differently: keep to letters, digits and ranges,"
            " or put '?' in its place"
        )
    return f"[{inside}]"
