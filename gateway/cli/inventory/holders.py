"""Who has a file of /dev open: the programs, by what /proc says.

A simulated board that holds both ends of its pseudo-terminal does not count. Only
root sees everybody's; of others' programs an ordinary user sees nothing, and
`Holders.partial` says so. ``root`` is the folder that /proc lies in, for tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

_PSEUDO_TERMINALS, _MASTER = "/dev/pts/", "/dev/ptmx"


class Holder(msgspec.Struct, frozen=True):
    """One program."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


class Holders(msgspec.Struct, frozen=True, kw_only=True):
    """The programs by the path that they have open."""

    of: dict[str, tuple[Holder, ...]]
    partial: bool = False


def holders(nodes: Iterable[str], root: Path = Path("/")) -> Holders:
    """Return who has any of ``nodes`` open; this program does not count."""
    wanted = set(nodes)
    found: dict[str, list[Holder]] = {}
    partial = False
    for folder in _processes(root / "proc"):
        try:
            descriptors = os.listdir(folder / "fd")
        except PermissionError:
            partial = True
            continue
        except OSError:
            continue  # it has ended meanwhile
        targets = {_target(folder / "fd" / each) for each in descriptors}
        for target in targets & wanted:
            if target.startswith(_PSEUDO_TERMINALS) and _MASTER in targets:
                continue  # the other end of a wire that has none
            found.setdefault(target, []).append(Holder(int(folder.name), _name(folder)))
    return Holders(of={node: tuple(each) for node, each in found.items()}, partial=partial)


def _processes(proc: Path) -> list[Path]:
    try:
        names = os.listdir(proc)
    except OSError:
        return []
    own = str(os.getpid())
    return [proc / name for name in sorted(names) if name.isdecimal() and name != own]


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _name(folder: Path) -> str:
    try:
        return (folder / "comm").read_text(errors="replace").strip()
    except OSError:
        return "a program that has ended"
