"""What is plugged in, as udev tells of it: values only, read elsewhere.

A `PluggedDevice` is one device of the kernel's (a tty, a USB device, one
interface of it) with its properties, its sysfs attributes, and the devices
that it hangs on, nearest first. This module reads nothing and imports no udev.
"""

from __future__ import annotations

from math import inf

import msgspec

_TOLD = (
    "ID_BUS",
    "ID_VENDOR_ID",
    "ID_MODEL_ID",
    "ID_SERIAL_SHORT",
    "ID_PATH",
    "ID_USB_INTERFACE_NUM",
)
"""Properties that tell people, and other boards, which one it is."""


class PluggedAncestor(msgspec.Struct, frozen=True, kw_only=True):
    """One of the devices that a device hangs on, such as the USB device behind a tty."""

    subsystem: str
    sys_path: str
    properties: dict[str, str]
    attributes: dict[str, str]


class PluggedDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One device that is there; two that are equal are the same one, unchanged."""

    subsystem: str
    sys_path: str
    """Its folder in /sys."""
    node: str = ""
    """Its file in /dev; empty where it has none."""
    properties: dict[str, str] = {}
    """Udev's properties; without a udevd those that the kernel itself gives."""
    attributes: dict[str, str] = {}
    """Its small readable files in /sys, without the space at their end."""
    ancestors: tuple[PluggedAncestor, ...] = ()
    """Nearest first."""
    inode: int = 0
    """Of its folder: another one at the same path, plugged in since, has another."""
    seen: float = -inf
    """When it was first seen, in monotonic seconds; long ago where it was there before."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every path in /dev by which it can be opened: its node, and udev's links to it."""
        links = self.properties.get("DEVLINKS", "").split()
        return (self.node, *links) if self.node else ()

    def told(self) -> dict[str, object]:
        """Return what ``devices/<name>/claim`` says of it."""
        few = {name: self.properties[name] for name in _TOLD if name in self.properties}
        return {"node": self.node, "path": self.sys_path, "properties": few}

    def is_same(self, other: PluggedDevice) -> bool:
        """Whether this is ``other``, plugged in since then and never pulled."""
        return self.sys_path == other.sys_path and self.inode == other.inode
