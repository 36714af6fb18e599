"""A machine made of recordings: an Arduino, an adapter with two ports, a scanner."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.inventory import sysfs
from gateway.hosting.plugged import PluggedDevice
from tests.lab.udev_room import UdevRoom

RECORDED = Path(__file__).parents[3] / "udev/recorded"
NAMES = ("arduino_uno", "ftdi_dual", "barcode_scanner")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The folder that its /sys lies in."""
    first, *more = ((RECORDED / f"{name}.umockdev").read_text("utf-8") for name in NAMES)
    # Each recording begins with the hub that all of them hang on.
    return UdevRoom(tmp_path / "m", first, *(each.split("\n\n", 1)[1] for each in more)).folder


@pytest.fixture
def plugged(machine: Path) -> list[PluggedDevice]:
    return sysfs.scan(("tty", "usb", "hidraw"), machine)


@pytest.fixture
def known(plugged: list[PluggedDevice]) -> list[PluggedDevice]:
    """The same with what a udevd would have found out about the ports."""
    return [with_udev(device) for device in plugged]


def with_udev(device: PluggedDevice) -> PluggedDevice:
    import msgspec

    from gateway.cli.inventory.sight import interface_of, usb_device_of

    usb = usb_device_of(device)
    if usb is None:
        return device
    said = {
        "ID_VENDOR_ID": usb.attributes["idVendor"],
        "ID_MODEL_ID": usb.attributes["idProduct"],
        "ID_SERIAL_SHORT": usb.attributes.get("serial", ""),
        "ID_USB_INTERFACE_NUM": interface_of(device),
        "ID_PATH": f"path-of-{usb.sys_path.rpartition('/')[2]}-{interface_of(device)}",
    }
    properties = {**device.properties, **{key: each for key, each in said.items() if each}}
    return msgspec.structs.replace(device, properties=properties)
