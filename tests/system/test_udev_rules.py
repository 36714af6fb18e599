"""The rules at work: the real systemd-udevd, told by the real kernel that a port has come.

The one port that the kernel of a machine without hardware can announce is its first
UART. In the room it hangs on a USB device: what the kernel says is real, who the
device is was recorded.
"""

from __future__ import annotations

import os
from pathlib import Path
from time import monotonic

import pytest

from gateway.cli.rules.file import NamedDevice, rules_for
from gateway.cli.rules.options import RuleOptions
from tests.lab.udev_room import Daemon, UdevRoom
from tests.system.conftest import Measured

pytestmark = pytest.mark.needs("udev")

UART = Path("/sys/class/tty/ttyS0")
MATCH = {"SUBSYSTEM": "tty", "@idVendor": "2341", "@serial": "7543*"}


def on_usb(path: str) -> str:
    """Return a recording of the UART at ``path`` as the port of an Arduino."""
    above = path.rpartition("/tty/")[0]
    return f"""\
P: {above}
E: SUBSYSTEM=usb
E: DEVTYPE=usb_device
A: idVendor=2341\\n
A: idProduct=0043\\n
A: serial=75439313637351F0C1B1\\n

P: {path}
E: SUBSYSTEM=tty
E: DEVNAME=/dev/ttyS0
E: MAJOR=4
E: MINOR=64
"""


def test_a_port_that_the_kernel_announces_has_its_name_at_once(
    tmp_path: Path, measured: Measured
) -> None:
    path = os.path.realpath(UART).removeprefix("/sys")
    room = UdevRoom(tmp_path / "room", on_usb(path))
    wheels = NamedDevice(name="wheels", subsystems=("tty",), match=MATCH)
    other = NamedDevice(name="arm", subsystems=("tty",), match={"@idVendor": "0403"})
    rules = room.rules / "90-gateway.rules"
    rules.write_text(rules_for([wheels, other], RuleOptions()))
    link = "/dev/gateway/wheels"
    with Daemon(room) as udevd:
        asked = monotonic()
        udevd.announce("/dev/ttyS0", "add")
        outcome = udevd.wait_for("/dev/ttyS0", link=link)
        measured("from the kernel's event to /dev/gateway/<name>", monotonic() - asked)
        assert outcome.links == [link]
        assert (outcome.mode, outcome.group) == (0o660, "dialout")
        assert outcome.properties["SYSTEMD_WANTS"] == "gateway.service"
        assert outcome.properties["ID_MM_PORT_IGNORE"] == "1"
        assert outcome.complaints == []

        udevd.announce("/dev/ttyS0", "remove")
        outcome = udevd.wait_for("/dev/ttyS0", link=link, there=False)
        assert outcome.links == []
