"""What is plugged in, read from /sys alone: for a machine where libudev is not at hand.

Knows what the kernel itself says. The properties that udev finds out (``ID_VENDOR_ID``
and their like) are missing, so that a device is told by its ancestors' attributes.

``root`` is the folder that /sys lies in, for tests. Refused: nothing; what cannot be
read is left out.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

from gateway.hosting.plugged import PluggedAncestor, PluggedDevice

_LARGEST: Final = 4096
_LEFT_OUT: Final = frozenset({"uevent", "descriptors", "config", "rom", "vpd"})


def scan(subsystems: tuple[str, ...], root: Path = Path("/")) -> list[PluggedDevice]:
    """Return the devices of ``subsystems``, in the order of their paths."""
    root = Path(os.path.realpath(root))
    folders = {
        os.path.realpath(entry)
        for subsystem in subsystems
        for listed in (f"sys/class/{subsystem}", f"sys/bus/{subsystem}/devices")
        for entry in _entries(root / listed)
    }
    return [_device(Path(folder), root) for folder in sorted(folders)]


def _device(folder: Path, root: Path) -> PluggedDevice:
    properties = _properties(folder)
    ancestors = []
    for above in folder.parents:
        if above == root / "sys/devices" or above == root or not above.is_relative_to(root):
            break
        if (above / "uevent").exists():
            ancestors.append(
                PluggedAncestor(
                    subsystem=_subsystem(above),
                    sys_path=_path(above, root),
                    properties=_properties(above),
                    attributes=_attributes(above),
                )
            )
    name = properties.get("DEVNAME", "")
    return PluggedDevice(
        subsystem=_subsystem(folder),
        sys_path=_path(folder, root),
        node=f"/dev/{name}" if name else "",
        properties=properties,
        attributes=_attributes(folder),
        ancestors=tuple(ancestors),
    )


def _path(folder: Path, root: Path) -> str:
    return f"/{folder.relative_to(root)}"


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _subsystem(folder: Path) -> str:
    try:
        return os.path.basename(os.readlink(folder / "subsystem"))
    except OSError:
        return ""


def _properties(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / "uevent").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _attributes(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in _entries(folder):
        if path.name in _LEFT_OUT:
            continue
        with contextlib.suppress(OSError):
            about = path.lstat()
            readable = stat.S_ISREG(about.st_mode) and about.st_mode & 0o444
            if readable and about.st_size <= _LARGEST:
                with path.open("rb") as file:
                    found[path.name] = file.read(_LARGEST).decode(errors="replace").rstrip()
    return found
