"""How full the file system is that a folder lies on, and whether it can be written (statvfs(3)).

A folder that is not there yet is judged by the one that it would be made in.
An SD card that is at its end is often first seen as a file system that the
kernel has made read-only, so that is told as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from gateway.watchdog.reading import Reading, failed


def read(
    root: Path,
    at: float,
    folder: str,
    statvfs: Callable[[Path], os.statvfs_result] = os.statvfs,
) -> Reading:
    """Return bytes and inodes of the file system of ``folder``: ``total``, ``free`` for us.

    And ``path``, which is ``folder`` or what there is of it, its file system's ``type``
    (empty where unknown), and whether it is ``read_only``.
    """
    path = root / folder.lstrip("/")
    while not os.path.isdir(path) and path not in (root, path.parent):
        path = path.parent
    try:
        found = statvfs(path)
    except OSError as error:
        return failed(at, f"{folder} cannot be measured: {error.strerror or error}")
    shown = f"/{path.relative_to(root)}" if path != root else "/"
    return Reading(
        {
            "path": shown,
            "type": _type_of(root, shown),
            "total": found.f_blocks * found.f_frsize,
            "free": found.f_bavail * found.f_frsize,
            "inodes": found.f_files,
            "inodes_free": found.f_favail,
            "read_only": bool(found.f_flag & os.ST_RDONLY),
        },
        at,
    )


def _type_of(root: Path, folder: str) -> str:
    try:
        lines = (root / "proc/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    kind, longest = "", -1
    for fields in (line.split(" ") for line in lines):
        if len(fields) > 2:
            place = fields[1].rstrip("/")
            if f"{folder.rstrip('/')}/".startswith(f"{place}/") and len(place) >= longest:
                kind, longest = fields[2], len(place)
    return kind
