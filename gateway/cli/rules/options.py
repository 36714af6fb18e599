"""What all devices of a rules file are given: a group, a mode, a unit to start.

They stand in the file's first lines, so that a file can be held against a
configuration without being told again how it was made.

Refused, as a `RuleError`: what is no name of a group or unit, and a mode that gives
everybody else rights or its own group none.
"""

from __future__ import annotations

import re
from typing import Self

import msgspec

from gateway.cli.rules.quoting import RuleError

GROUP, MODE, UNIT = "dialout", "0660", "gateway.service"
"""The group is the one that Debian gives serial ports to."""

_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_MODE = re.compile(r"0?[67][67]0")
_UNIT = re.compile(r"[A-Za-z0-9:_.@-]{1,200}\.(service|target)")
_WRITTEN = re.compile(r"^# group=(\S+) mode=(\S+) unit=(\S*)$", re.MULTILINE)


class RuleOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``unit`` is what systemd starts when a device appears; empty for nothing."""

    group: str = GROUP
    mode: str = MODE
    unit: str = UNIT

    def __post_init__(self) -> None:
        if not _GROUP.fullmatch(self.group):
            raise RuleError(f"{self.group!r} cannot be a group: name one, such as {GROUP}")
        if not _MODE.fullmatch(self.mode):
            raise RuleError(
                f"the mode {self.mode!r} will not do: owner and group must be able to read and"
                f" write and nobody else, as in {MODE}"
            )
        if self.unit and not _UNIT.fullmatch(self.unit):
            raise RuleError(f"{self.unit!r} is no service or target: name one, such as {UNIT}")

    def __str__(self) -> str:
        return f"group={self.group} mode={self.mode} unit={self.unit}"

    @classmethod
    def of(cls, rules: str) -> Self | None:
        """Return the options that a rules file was made with; None where it does not say."""
        found = _WRITTEN.search(rules)
        if found is None:
            return None
        group, mode, unit = found.groups()
        try:
            return cls(group=group, mode=mode, unit=unit)
        except RuleError:
            return None
