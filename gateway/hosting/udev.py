"""The machine's devices, read through pyudev: the only file that touches it.

`Udev.scan` reads them all, `Udev.look` one that an event told of (what an
event itself says is not used: it may be late), and `Udev.glance` says in a few
dozen microseconds whether a scan would find anything else than before.
`Udev.monitor` opens the stream of events.

What cannot be read is left out: an attribute that may not be read or has just
gone, a property that is no UTF-8; bytes of an attribute that are no UTF-8 are
replaced. Refused: binary and large attributes, a machine without libudev
(`ConfigError`, which says what to install), and to look without descriptors
(`OSError`): to libudev there is no device then, and nothing to be listed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from errno import EMFILE, ENFILE
from typing import Any, Final

import pyudev

from gateway.errors import ConfigError
from gateway.hosting.plugged import PluggedAncestor, PluggedDevice

UDEVD: Final = "/run/udev/control"
"""Where a running udevd is spoken to."""

_LARGEST: Final = 4096
"""Bytes of the largest attribute that is read: all that a text may have."""
_LEFT_OUT: Final = frozenset({"uevent", "descriptors", "config", "rom", "vpd", "urbnum"})
"""Attributes that are binary, told otherwise, or different at every look."""

_NO_DESCRIPTORS: Final = frozenset({EMFILE, ENFILE})
"""Why a file cannot be opened that says nothing of the file."""

Glance = frozenset[tuple[str, str, int]]
"""Subsystem, name and inode of every device: what is there, and whether it is another."""


def udevd_runs() -> bool:
    """Whether a udevd looks after this machine; in a container mostly none does."""
    return os.path.exists(UDEVD)


class Udev:
    """The devices of some subsystems; used by one thread."""

    def __init__(self, subsystems: Sequence[str]) -> None:
        """Load libudev; `ConfigError` where it is not installed."""
        self._subsystems = tuple(subsystems)
        try:
            self._context = pyudev.Context()
        except ImportError as error:
            raise ConfigError(
                "devices are matched through libudev, which is not installed: "
                "`sudo apt install libudev1`, or name the device by its port"
            ) from error

    def monitor(self, source: str, buffer: int | None = None) -> Any:
        """Return a started monitor of ``udev`` or ``kernel`` events; `OSError` where it cannot.

        ``buffer`` is the size of its socket's, in bytes; its own where None.
        """
        monitor = pyudev.Monitor.from_netlink(self._context, source=source)
        for subsystem in self._subsystems:
            monitor.filter_by(subsystem)
        if buffer is not None:
            monitor.set_receive_buffer_size(buffer)
        monitor.start()
        return monitor

    def glance(self) -> Glance:
        """Look at the folders of the subsystems only; `OSError` where that cannot be done."""
        return frozenset(
            (subsystem, each.name, each.inode()) for subsystem, each in self._entries()
        )

    def scan(self) -> dict[str, tuple[PluggedDevice, bool]]:
        """Return all devices by their path, and of each whether udevd is done with it.

        `OSError` where that cannot be known.
        """
        found: dict[str, tuple[PluggedDevice, bool]] = {}
        ancestors: dict[str, PluggedAncestor] = {}
        # Not libudev's own list: one that it cannot make is empty.
        for _, entry in self._entries():
            device = self._device(os.path.realpath(entry.path))
            read = _read(device, ancestors) if device is not None else None
            if read is not None:
                found[read.sys_path] = read, bool(device.is_initialized)
        return found

    def look(self, sys_path: str) -> PluggedDevice | None:
        """Return the device at ``sys_path`` as it is now; None where there is none.

        `OSError` where that cannot be known.
        """
        device = self._device(sys_path)
        return _read(device, {}) if device is not None else None

    def _entries(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        for subsystem in self._subsystems:
            for folder in (f"/sys/class/{subsystem}", f"/sys/bus/{subsystem}/devices"):
                with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
                    for each in entries:
                        yield subsystem, each

    def _device(self, sys_path: str) -> Any:
        """Return pyudev's device at ``sys_path``; None where there is none."""
        try:
            return pyudev.Devices.from_sys_path(self._context, sys_path)
        except pyudev.DeviceNotFoundAtPathError as error:
            # It is by this file that libudev knows a device, and seeing it takes no descriptor.
            if os.path.exists(f"{sys_path}/uevent"):
                raise OSError(EMFILE, "too few descriptors for libudev", sys_path) from error
            return None


def _read(device: Any, ancestors: dict[str, PluggedAncestor]) -> PluggedDevice | None:
    """Return ``device`` of pyudev's as a value; None where it has gone meanwhile.

    Its attributes are read after what libudev reads in silence, so that a want of
    descriptors is an `OSError` for both.

    ``ancestors`` are those that have been read already, and gets more.
    """
    sys_path: str = device.sys_path
    try:
        inode = os.stat(sys_path).st_ino
    except OSError:
        return None
    above = []
    for each in device.ancestors:
        if each.sys_path not in ancestors:
            ancestors[each.sys_path] = PluggedAncestor(
                subsystem=each.subsystem or "",
                sys_path=each.sys_path,
                properties=_properties(each),
                attributes=_attributes(each.sys_path),
            )
        above.append(ancestors[each.sys_path])
    return PluggedDevice(
        subsystem=device.subsystem or "",
        sys_path=sys_path,
        node=device.device_node or "",
        properties=_properties(device),
        attributes=_attributes(sys_path),
        ancestors=tuple(above),
        inode=inode,
    )


def _properties(device: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    properties = device.properties
    for name in properties:
        # One that went while we read is a KeyError; pyudev takes every value for UTF-8.
        with contextlib.suppress(KeyError, UnicodeDecodeError):
            found[name] = properties[name]
    return found


def _attributes(sys_path: str) -> dict[str, str]:
    found: dict[str, str] = {}
    names: list[str] = []
    with _unless_no_descriptors():
        names = os.listdir(sys_path)
    for name in sorted(names):
        if name in _LEFT_OUT:
            continue
        path = f"{sys_path}/{name}"
        with _unless_no_descriptors():
            about = os.lstat(path)
            if not stat.S_ISREG(about.st_mode) or about.st_size > _LARGEST:
                continue
            if about.st_mode & 0o444 == 0:
                continue
            with open(path, "rb") as file:
                found[name] = file.read(_LARGEST).decode(errors="replace").rstrip()
    return found


@contextlib.contextmanager
def _unless_no_descriptors() -> Iterator[None]:
    """Leave out what cannot be read, unless nothing can be."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_DESCRIPTORS:
            raise
