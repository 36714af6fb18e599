"""Whether arguments fit a command, as far as its description says.

``devices/<name>/info`` describes types as text (``int``, ``float | None``,
``list[int]``, ``Literal['a', 'b']``). What is understood of that is checked
here, early and with a reason; the driver checks all of it again, with its
bounds. A type that is not understood passes. Pure; raises nothing.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Mapping
from typing import Any


def problem_with(arguments: Mapping[str, Any], command: object) -> str:
    """Say what is wrong with ``arguments``, or return empty text.

    >>> led = {"parameters": {"on": {"type": "bool", "unit": "", "required": True}}}
    >>> problem_with({"on": "yes"}, led)
    "'on' is a bool, not 'yes'"
    >>> problem_with({"on": True}, led)
    ''
    """
    described = command.get("parameters") if isinstance(command, Mapping) else None
    if not isinstance(described, Mapping):
        return ""
    for name in arguments:
        if name not in described:
            return _unknown(name, [str(known) for known in described])
    for name, parameter in described.items():
        if not isinstance(parameter, Mapping):
            continue
        if name not in arguments:
            if parameter.get("required") is True:
                return f"the parameter {name!r} is missing, {_type(parameter)}"
        elif not fits(arguments[name], str(parameter.get("type", ""))):
            return f"{name!r} is {_type(parameter)}, not {_show(arguments[name])}"
    return ""


def fits(value: Any, type_text: str) -> bool:
    """Tell whether ``value``, as JSON brought it, can be of the type called ``type_text``.

    >>> fits(3, "float"), fits(True, "int"), fits("a", "Literal['a', 'b']")
    (True, False, True)
    """
    return any(_fits_one(value, part) for part in members(type_text))


def _fits_one(value: Any, name: str) -> bool:
    if name.startswith("Literal[") and name.endswith("]"):
        try:
            allowed = ast.literal_eval(f"({name[8:-1]},)")
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return True
        return any(value == each and type(value) is type(each) for each in allowed)
    check = _CHECKS.get(name.partition("[")[0])
    return check is None or check(value)


def members(type_text: str) -> list[str]:
    """Cut the text of a union at its bars, but not inside brackets or quotes.

    >>> members("int | Literal['a|b'] | None")
    ['int', "Literal['a|b']", 'None']
    """
    members, depth, quoted, begin = [], 0, False, 0
    for index, character in enumerate(type_text):
        if character == "'":
            quoted = not quoted
        elif quoted:
            continue
        elif character in "[(":
            depth += 1
        elif character in "])":
            depth -= 1
        elif character == "|" and depth == 0:
            members.append(type_text[begin:index].strip())
            begin = index + 1
    return [*members, type_text[begin:].strip()]


def _is_integer(value: Any) -> bool:
    # JSON does not tell 3.0 from 3, and neither do all who write it.
    return type(value) is int or (type(value) is float and value.is_integer())


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "bool": lambda value: type(value) is bool,
    "int": _is_integer,
    "float": lambda value: type(value) in (int, float),
    "str": lambda value: type(value) is str,
    "bytes": lambda value: type(value) is bytes,
    "list": lambda value: type(value) is list,
    "dict": lambda value: type(value) is dict,
    "None": lambda value: value is None,
}


def _type(parameter: Mapping[str, Any]) -> str:
    name, unit = str(parameter.get("type", "")), str(parameter.get("unit", ""))
    article = "an" if name[:1] in "aeiou" else "a"
    return f"{article} {name}" + (f" in {unit}" if unit else "")


def _unknown(name: str, known: list[str]) -> str:
    if not known:
        return f"{name!r} is too much: it takes no arguments"
    near = difflib.get_close_matches(name[:100], known, n=1)
    meant = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(sorted(known))}"
    return f"there is no parameter {name[:100]!r}: {meant}"


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"
