"""Users and groups, as /etc says: of this machine, or of a folder that stands for one.

On this machine whatever else knows users (LDAP, systemd) is asked as well.
"""

from __future__ import annotations

import contextlib
import grp
import pwd
from pathlib import Path
from typing import Self

import msgspec

from gateway.errors import ConfigError


class Accounts(msgspec.Struct, frozen=True):
    """``users`` are name to (uid, gid), ``groups`` name to (gid, members)."""

    users: dict[str, tuple[int, int]]
    groups: dict[str, tuple[int, frozenset[str]]]

    @classmethod
    def read(cls, root: Path) -> Self:
        """Read them; lines that cannot be read as such are passed over."""
        if root == Path("/"):
            return cls(
                {each.pw_name: (each.pw_uid, each.pw_gid) for each in pwd.getpwall()},
                {each.gr_name: (each.gr_gid, frozenset(each.gr_mem)) for each in grp.getgrall()},
            )
        users: dict[str, tuple[int, int]] = {}
        groups: dict[str, tuple[int, frozenset[str]]] = {}
        for fields in _fields(root / "etc/passwd"):
            with contextlib.suppress(ValueError, IndexError):
                users[fields[0]] = int(fields[2]), int(fields[3])
        for fields in _fields(root / "etc/group"):
            with contextlib.suppress(ValueError, IndexError):
                members = frozenset(name for name in fields[3].split(",") if name)
                groups[fields[0]] = int(fields[2]), members
        return cls(users, groups)

    def uid_of(self, name: str) -> int:
        """Return the number of a user; `ConfigError` where there is none."""
        if name not in self.users:
            raise ConfigError(f"this machine has no user {name!r}: name one that it has")
        return self.users[name][0]

    def name_of(self, uid: int) -> str:
        """Return a user's name; the number where he has none."""
        return next((name for name, (own, _) in self.users.items() if own == uid), str(uid))

    def group_of(self, gid: int) -> str:
        """Return a group's name; the number where it has none."""
        return next((name for name, (own, _) in self.groups.items() if own == gid), str(gid))

    def groups_of(self, name: str) -> frozenset[str]:
        """Return the groups that a user is given at his next login."""
        found = {group for group, (_, members) in self.groups.items() if name in members}
        if name in self.users:
            found.add(self.group_of(self.users[name][1]))
        return frozenset(found)


def _fields(file: Path) -> list[list[str]]:
    try:
        with open(file, encoding="utf-8", errors="replace") as opened:
            return [line.rstrip("\n").split(":") for line in opened]
    except OSError:
        return []
