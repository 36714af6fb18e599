"""Plugged-in devices for tests, and a watch that shows what it is told to show."""

from __future__ import annotations

from typing import Any

from gateway.hosting.plugged import PluggedAncestor, PluggedDevice
from gateway.hosting.presence import Change

USB = "/sys/devices/usb1"


def tty(number: int = 0, **more: Any) -> PluggedDevice:
    """Return a board's tty: ``port`` and ``serial`` say where and which; the rest is as given."""
    port = more.pop("port", str(number + 1))
    serial = more.pop("serial", f"S{number}")
    usb = f"{USB}/1-{port}"
    ids = {"ID_BUS": "usb", "ID_VENDOR_ID": "2341", "ID_SERIAL_SHORT": serial, "ID_PATH": port}
    known: dict[str, Any] = {
        "subsystem": "tty",
        "sys_path": f"{usb}/1-{port}:1.0/tty/ttyACM{number}",
        "node": f"/dev/ttyACM{number}",
        "properties": ids,
        "attributes": {"dev": f"166:{number}"},
        "ancestors": (
            PluggedAncestor(
                subsystem="usb",
                sys_path=f"{usb}/1-{port}:1.0",
                properties={},
                attributes={"bInterfaceNumber": "00"},
            ),
            PluggedAncestor(
                subsystem="usb",
                sys_path=usb,
                properties={"DEVTYPE": "usb_device"},
                attributes={"idVendor": "2341", "serial": serial},
            ),
            PluggedAncestor(
                subsystem="usb", sys_path=USB, properties={}, attributes={"idVendor": "1d6b"}
            ),
        ),
        "inode": 100 + number,
    }
    return PluggedDevice(**{**known, **more})


class FakeHotplug:
    """Stands in for a `Hotplug` where a berth looks."""

    def __init__(self, *devices: PluggedDevice) -> None:
        self.devices = devices
        self.trouble = ""

    def present(self, within: float = 0.0) -> tuple[PluggedDevice, ...]:
        return tuple(sorted(self.devices, key=lambda each: each.sys_path))


def gone(*devices: PluggedDevice) -> Change:
    return Change(devices, ())


def come(*devices: PluggedDevice) -> Change:
    return Change((), devices)
