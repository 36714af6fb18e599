"""Which of the machine's devices are worth a line, and what they are called.

A port is listed where something real is behind it: a USB adapter, or a UART that the
kernel has found. USB devices are listed where none of their ports is; hubs never.
Pure, but for `look`, which reads udev or, without it, /sys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gateway.cli.inventory import sysfs
from gateway.errors import ConfigError
from gateway.hosting.plugged import PluggedAncestor, PluggedDevice
from gateway.hosting.udev import Udev, udevd_runs

SUBSYSTEMS: Final = ("tty", "usb", "hidraw")
_HUB: Final = "09"
_NO_UART: Final = "0"


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """What is plugged in; ``note`` says what could not be seen, and is mostly empty."""

    devices: tuple[PluggedDevice, ...]
    note: str = ""


def look(root: Path = Path("/")) -> Sighting:
    """Look at the machine, or at a folder that stands for one: then /sys alone counts."""
    if root != Path("/"):
        return Sighting(devices=tuple(sysfs.scan(SUBSYSTEMS, root)))
    try:
        found = [device for device, _ in Udev(SUBSYSTEMS).scan().values()]
    except ConfigError:
        note = "libudev is not installed: devices are told by what /sys says (apt install libudev1)"
        return Sighting(devices=tuple(sysfs.scan(SUBSYSTEMS, root)), note=note)
    note = (
        "" if udevd_runs() else "no udevd runs here: devices have no ID_… properties and no links"
    )
    return Sighting(devices=tuple(found), note=note)


def listed(devices: Sequence[PluggedDevice]) -> list[PluggedDevice]:
    """Return those of ``devices`` that are worth a line: ports first, then what has none."""
    ports = [device for device in devices if device.subsystem == "tty" and is_real_port(device)]
    with_ports = {above.sys_path for port in ports for above in port.ancestors}
    others = [
        device
        for device in devices
        if is_usb_device(device)
        and device.attributes.get("bDeviceClass") != _HUB
        and device.sys_path not in with_ports
    ]
    return [*sorted(ports, key=_order), *sorted(others, key=_order)]


def is_real_port(device: PluggedDevice) -> bool:
    """Whether there is hardware behind a tty."""
    if usb_device_of(device) is not None:
        return True
    if device.sys_path.startswith("/sys/devices/virtual/"):
        return False
    return device.attributes.get("type", _NO_UART) != _NO_UART


def is_usb_device(device: PluggedDevice | PluggedAncestor) -> bool:
    """Whether this is a whole USB device, no interface of one."""
    return device.subsystem == "usb" and "idVendor" in device.attributes


def usb_device_of(device: PluggedDevice) -> PluggedDevice | PluggedAncestor | None:
    """Return the USB device that ``device`` is or hangs on; None where it is no USB."""
    owners: list[PluggedDevice | PluggedAncestor] = [device, *device.ancestors]
    return next((each for each in owners if is_usb_device(each)), None)


def name_of(device: PluggedDevice) -> str:
    """Return what a person would call it: the maker and the product, as far as they are told."""
    usb = usb_device_of(device)
    if usb is None:
        return "serial port of the machine" if device.subsystem == "tty" else device.subsystem
    maker = usb.attributes.get("manufacturer") or _from_database(device, usb, "VENDOR")
    product = usb.attributes.get("product") or _from_database(device, usb, "MODEL")
    interface = interface_of(device)
    words = [maker, product, f"(interface {interface})" if interface not in ("", "00") else ""]
    return " ".join(word for word in words if word) or "unnamed USB device"


def interface_of(device: PluggedDevice) -> str:
    """Return the number of the USB interface that a port belongs to; empty where none."""
    for above in device.ancestors:
        if "bInterfaceNumber" in above.attributes:
            return above.attributes["bInterfaceNumber"]
    return ""


def id_of(device: PluggedDevice) -> str:
    """Return vendor and product as ``2341:0043``; empty where it is no USB."""
    usb = usb_device_of(device)
    if usb is None:
        return ""
    return f"{usb.attributes['idVendor']}:{usb.attributes.get('idProduct', '????')}"


def serial_of(device: PluggedDevice) -> str:
    """Return the serial number; empty where it has none."""
    usb = usb_device_of(device)
    return "" if usb is None else usb.attributes.get("serial", "")


def find(devices: Iterable[PluggedDevice], node: str) -> PluggedDevice | None:
    """Return the device that ``node``, its path or a link to it, leads to."""
    return next((device for device in devices if node in device.names), None)


def _from_database(device: PluggedDevice, usb: PluggedDevice | PluggedAncestor, key: str) -> str:
    name = f"ID_{key}_FROM_DATABASE"
    return usb.properties.get(name) or device.properties.get(name, "")


def _order(device: PluggedDevice) -> tuple[str, int, str]:
    head = device.node.rstrip("0123456789")
    number = device.node[len(head) :]
    return head, int(number or 0), device.sys_path
