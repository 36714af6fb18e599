"""What is worth a line, and what it is called."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gateway.cli.inventory import sight
from gateway.hosting.plugged import PluggedDevice


def test_ports_come_first_then_what_has_none_and_no_hub(plugged: list[PluggedDevice]) -> None:
    assert [device.node for device in sight.listed(plugged)] == [
        "/dev/ttyACM0",
        "/dev/ttyUSB0",
        "/dev/ttyUSB1",
        "/dev/bus/usb/001/006",
    ]


def test_names_are_what_a_person_would_say(plugged: list[PluggedDevice]) -> None:
    names = [sight.name_of(device) for device in sight.listed(plugged)]
    assert names == [
        "Arduino (www.arduino.cc)",
        "FTDI Dual RS232",
        "FTDI Dual RS232 (interface 01)",
        'Honeywell Imaging & Mobility Voyager 1200g "wedge"',
    ]


def test_ids_and_serial_numbers(plugged: list[PluggedDevice]) -> None:
    listed = sight.listed(plugged)
    assert [sight.id_of(device) for device in listed[:2]] == ["2341:0043", "0403:6010"]
    assert [sight.serial_of(device) for device in listed[:2]] == ["75439313637351F0C1B1", ""]


def test_a_uart_that_the_kernel_has_not_found_is_no_port() -> None:
    empty = PluggedDevice(
        subsystem="tty", sys_path="/sys/devices/platform/x/tty/ttyS3", attributes={"type": "0"}
    )
    assert not sight.is_real_port(empty)
    assert sight.is_real_port(msgspec.structs.replace(empty, attributes={"type": "4"}))
    virtual = msgspec.structs.replace(empty, sys_path="/sys/devices/virtual/tty/tty7")
    assert not sight.is_real_port(virtual)


def test_this_machine_is_looked_at_through_udev(machine: Path) -> None:
    assert sight.look().devices
    assert len(sight.look(machine).devices) > len(sight.listed(sight.look(machine).devices))
