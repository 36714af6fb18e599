r"""Read a udev rules file as udev does, strictly; say what a rule would do to a device.

The grammar is that of udev(7) and of systemd's own reader: keys, an operator, a value
in double quotes in which only ``\"`` is special, commas between, a backslash at the end
of a line that goes on. Whatever udev would pass over with a warning is an error here.

Globs are judged by the C library's own ``fnmatch``, as udev does it.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass

from gateway.hosting.plugged import PluggedAncestor, PluggedDevice

_LIBC = ctypes.CDLL(None)
_TOKEN = re.compile(r'([A-Z_]+)(?:\{([^}"]+)\})?(==|!=|\+=|-=|:=|=)"((?:\\"|\\(?!")|[^"\\\n])*)"')

_MATCHES = {"==", "!="}
_ASSIGNS = {"=", "+=", ":="}
_KEYS = {
    **dict.fromkeys(("ACTION", "KERNEL", "SUBSYSTEM", "SUBSYSTEMS", "KERNELS"), (_MATCHES, False)),
    **dict.fromkeys(("DRIVERS", "TEST"), (_MATCHES, False)),
    **dict.fromkeys(("ATTRS",), (_MATCHES, True)),
    "ENV": (_MATCHES | {"=", "+="}, True),
    "ATTR": (_MATCHES | {"="}, True),
    **dict.fromkeys(("GROUP", "MODE", "OWNER"), ({"=", ":="}, False)),
    **dict.fromkeys(("SYMLINK", "TAG"), (_ASSIGNS, False)),
    **dict.fromkeys(("GOTO", "LABEL"), ({"="}, False)),
}
"""The keys that rules of ours may use, their operators, and whether they bear a name."""


@dataclass(frozen=True)
class Token:
    """One comparison or assignment."""

    key: str
    name: str | None
    operator: str
    value: str

    @property
    def is_match(self) -> bool:
        return self.operator in _MATCHES


Rule = tuple[Token, ...]


def read(text: str) -> list[Rule]:
    """Return the rules in ``text``; `ValueError` with the line that is not one."""
    rules: list[Rule] = []
    for number, line in _whole_lines(text):
        try:
            rules.append(_rule(line))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}: {line}") from None
    labels = [token.value for rule in rules for token in rule if token.key == "LABEL"]
    for rule in rules:
        for token in rule:
            if token.key == "GOTO" and token.value not in labels:
                raise ValueError(f"there is no LABEL {token.value!r} to go to")
    if len(set(labels)) != len(labels):
        raise ValueError(f"a LABEL stands twice: {labels}")
    return rules


def _whole_lines(text: str) -> list[tuple[int, str]]:
    if not text.endswith("\n"):
        raise ValueError("the last line has no end")
    found, begun, start = [], "", 0
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        line = line.strip()
        if not begun:
            start = number
            if not line or line.startswith("#"):
                continue
        if line.endswith("\\"):
            begun += line[:-1]
            continue
        found.append((start, begun + line))
        begun = ""
    if begun:
        raise ValueError("the last line goes on, and there is no more")
    if any(len(line) > 8192 for _, line in found):
        raise ValueError("a line is too long")
    return found


def _rule(line: str) -> Rule:
    tokens = []
    while True:
        found = _TOKEN.match(line)
        if found is None:
            raise ValueError(f"no key, operator and quoted value at {line[:40]!r}")
        key, name, operator, value = found.groups()
        if key not in _KEYS:
            raise ValueError(f"unknown key {key}")
        operators, named = _KEYS[key]
        if operator not in operators:
            raise ValueError(f"{key} has no operator {operator}")
        if (name is not None) is not named:
            raise ValueError(f"{key} {'needs' if named else 'takes no'} name in braces")
        tokens.append(Token(key, name, operator, value.replace('\\"', '"')))
        line = line[found.end() :]
        if not line:
            return tuple(tokens)
        separator = re.match(r", *", line)
        if separator is None:
            raise ValueError(f"no comma before {line[:40]!r}")
        line = line[separator.end() :]


def apply(rules: list[Rule], device: PluggedDevice) -> tuple[list[str], dict[str, str]]:
    """Return the links that ``rules`` give ``device``, and its properties after them."""
    properties = dict(device.properties)
    links: list[str] = []
    goto = None
    for rule in rules:
        if goto is not None:
            if not any(token.key == "LABEL" and token.value == goto for token in rule):
                continue
            goto = None
        above = [token for token in rule if token.is_match and token.key in _ANCESTRAL]
        own = [token for token in rule if token.is_match and token.key not in _ANCESTRAL]
        if not all(_fits(token, device, properties) for token in own):
            continue
        if above and not _one_ancestor_fits(above, device):
            continue
        for token in rule:
            if token.key == "SYMLINK":
                links.append(token.value)
            elif token.key == "ENV" and not token.is_match:
                assert token.name is not None
                properties[token.name] = token.value
            elif token.key == "GOTO":
                goto = token.value
    return links, properties


_ANCESTRAL = {"ATTRS", "SUBSYSTEMS", "KERNELS", "DRIVERS"}


def _fits(token: Token, device: PluggedDevice, properties: dict[str, str]) -> bool:
    values = {
        "ACTION": "add",
        "KERNEL": device.sys_path.rpartition("/")[2],
        "SUBSYSTEM": device.subsystem,
        "TEST": None,
        # Of a property that is not there udev takes the empty text, of an attribute nothing.
        "ENV": properties.get(token.name or "", ""),
        "ATTR": device.attributes.get(token.name or ""),
    }
    value = values[token.key]
    return value is not None and fits(token.value, value) is (token.operator == "==")


def _one_ancestor_fits(tokens: list[Token], device: PluggedDevice) -> bool:
    owners: list[PluggedDevice | PluggedAncestor] = [device, *device.ancestors]
    return any(all(_is_of(token, owner) for token in tokens) for owner in owners)


def _is_of(token: Token, owner: PluggedDevice | PluggedAncestor) -> bool:
    if token.key == "ATTRS":
        value = owner.attributes.get(token.name or "")
    else:
        value = owner.subsystem
    return value is not None and fits(token.value, value)


def fits(pattern: str, value: str) -> bool:
    """Compare as udev does: alternatives between bars, each a glob or exact."""
    return any(_one_fits(one, value) for one in pattern.split("|"))


def _one_fits(pattern: str, value: str) -> bool:
    if not any(character in pattern for character in "*?["):
        return pattern == value
    return bool(_LIBC.fnmatch(pattern.encode(), value.encode(), 0) == 0)
