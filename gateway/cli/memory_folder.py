"""Whether a folder lies in memory: mail waits in it, and flash wears by being written to."""

from __future__ import annotations

import re
from pathlib import Path

MEMORY = frozenset({"tmpfs", "ramfs"})
"""File systems that are memory (tmpfs(5))."""

_MOUNTS = Path("/proc/self/mountinfo")


def remark_on(folder: str, mounts: Path = _MOUNTS) -> str:
    """Return what is to be said of ``folder``; nothing where it lies in memory.

    ``mounts`` is the table of proc(5); where there is none, nothing can be said.
    """
    try:
        kind = file_system_of(Path(folder), mounts.read_text())
    except OSError:
        return ""
    if not kind or kind in MEMORY:
        return ""
    return (
        f"sockets = {folder!r} lies on {kind}, which is no memory file system: mail that waits"
        " is written to storage, and wears it; name a folder below /run, or mount a tmpfs there"
    )


def file_system_of(folder: Path, table: str) -> str:
    """Return the type of the file system that ``folder`` is on, as ``table`` has it.

    >>> table = "1 0 8:1 / / rw - ext4 /dev/a rw\\n2 1 0:5 / /run rw,nosuid shared:1 - tmpfs t rw"
    >>> file_system_of(Path("/run/gateway"), table), file_system_of(Path("/runny"), table)
    ('tmpfs', 'ext4')
    """
    depth, found = -1, ""
    for line in table.splitlines():
        mount, _, kind = line.partition(" - ")
        fields, kinds = mount.split(), kind.split()
        if len(fields) > 4 and kinds:
            point = Path(_ESCAPED.sub(lambda code: chr(int(code[1], 8)), fields[4]))
            inside = folder.resolve().is_relative_to(point)
            # The later of two at the same place lies over the earlier.
            if inside and len(point.parts) >= depth:
                depth, found = len(point.parts), kinds[0]
    return found


_ESCAPED = re.compile(r"\\([0-7]{3})")
