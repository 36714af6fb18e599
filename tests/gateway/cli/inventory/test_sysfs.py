"""Reading /sys without libudev: the same as with it, as far as the kernel itself knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.inventory import sysfs
from gateway.hosting.plugged import PluggedDevice
from gateway.hosting.udev import Udev

HUB = "/sys/devices/platform/scb/fd500000.pcie/usb1"


def test_a_port_is_read_with_all_that_it_hangs_on(plugged: list[PluggedDevice]) -> None:
    (port,) = (device for device in plugged if device.node == "/dev/ttyACM0")
    assert port.subsystem == "tty"
    assert port.sys_path == f"{HUB}/1-1/1-1:1.0/tty/ttyACM0"
    interface, board, hub = port.ancestors
    assert interface.attributes["bInterfaceNumber"] == "00"
    assert board.attributes["serial"] == "75439313637351F0C1B1"
    assert board.properties["DEVTYPE"] == "usb_device"
    assert hub.sys_path == HUB


@pytest.mark.needs("udev")
def test_it_sees_what_libudev_sees_on_this_machine() -> None:
    subsystems = ("tty", "mem")
    there = {path: device for path, (device, _) in Udev(subsystems).scan().items()}
    here = {device.sys_path: device for device in sysfs.scan(subsystems)}
    assert here.keys() == there.keys()
    for path, device in here.items():
        assert device.node == there[path].node
        assert device.attributes.keys() == there[path].attributes.keys()
        assert [each.sys_path for each in device.ancestors] == [
            each.sys_path for each in there[path].ancestors
        ]


def test_a_machine_without_anything_has_nothing(tmp_path: Path) -> None:
    assert sysfs.scan(("tty",), tmp_path) == []
