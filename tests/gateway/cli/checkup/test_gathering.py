"""Facts, read from a folder that stands for a machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.cli.checkup.configured import Configured
from gateway.cli.checkup.gathering import gather
from gateway.cli.checkup.kernel_log import complaints
from gateway.cli.inventory.holders import Holder
from gateway.cli.rules.file import NamedDevice
from gateway.errors import ConfigError
from tests.lab.udev_room import UdevRoom

RECORDED = Path(__file__).parents[3] / "udev/recorded"
WHEELS = NamedDevice(name="wheels", subsystems=("tty",), match={"@idVendor": "2341"})

BRLTTY = """\
# Device: 1A86:7523
ENV{PRODUCT}=="1a86/7523/*", ATTRS{manufacturer}=="?*", ENV{BRLTTY_BRAILLE_DRIVER}="bm"
ENV{PRODUCT}=="403/6001/*", ENV{BRLTTY_BRAILLE_DRIVER}="al"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A Pi with an Arduino, a user pat, a terminal program, ModemManager and brltty."""
    root = UdevRoom(tmp_path / "m", (RECORDED / "arduino_uno.umockdev").read_text("utf-8")).folder
    files = {
        "etc/passwd": "root:x:0:0::/:/bin/sh\npat:x:4711:4711::/home/pat:/bin/sh\nodd\n",
        "etc/group": f"root:x:0:\npat:x:4711:\ndialout:x:{os.getgid()}:pat,gateway\nodd:x\n",
        "etc/udev/rules.d/90-gateway.rules": "# somebody else's\n",
        "lib/udev/rules.d/85-brltty.rules": BRLTTY,
        "usr/sbin/ModemManager": "",
        "usr/bin/brltty": "",
        "usr/lib/aarch64-linux-gnu/libusb-1.0.so.0": "",
        "run/udev/control": "",
        "proc/mounts": "/dev/x / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\nodd\n",
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.5\0",
        "proc/70/comm": "ModemManager\n",
        "proc/71/comm": "minicom\n",
        "proc/72/comm": "python3\n",
        "proc/72/cmdline": "/usr/bin/python3\0-m\0gateway\0run\0",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
        "sys/class/tty/console/active": "tty1 ttyACM0\n",
        "dev/ttyACM0": "",
        "dev/kmsg": "3,1,1,-;usb 1-1: device descriptor read/64, error -71\n6,2,2,-;usb 1-1: new\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "dev/ttyACM0").chmod(0o660)
    for pid in (71, 72):
        (root / f"proc/{pid}/fd").mkdir()
        os.symlink("/dev/ttyACM0", root / f"proc/{pid}/fd/3")
    return root


def test_all_of_it_is_read(root: Path) -> None:
    configured = Configured("g.toml", devices=(WHEELS,), sockets="/run/gateway")
    facts = gather(configured, "pat", root)
    (port,) = facts.ports
    assert (port.node, port.usb_id, port.mode) == ("/dev/ttyACM0", "2341:0043", 0o660)
    assert port.group == "dialout" or os.getgid() == 0
    assert port.device == "wheels"
    assert port.control == "??"
    assert port.control_path.endswith("usb1/1-1/power/control")
    assert port.is_console
    assert port.holders == (Holder(71, "minicom"),)  # the gateway's own hold is no trouble
    assert not port.ignored
    assert facts.user.uid == 4711
    assert facts.user.groups == {"pat", "dialout"}
    assert facts.user.session is None
    assert facts.udevd
    assert "ModemManager" in facts.running
    assert facts.installed == {"ModemManager", "brltty"}
    assert facts.brltty_ids == {"1a86:7523", "0403:6001"}
    assert facts.throttled == 0x50005
    assert facts.is_pi
    assert facts.libusb == "/usr/lib/aarch64-linux-gnu/libusb-1.0.so.0"
    assert facts.run_type == "tmpfs"
    assert facts.kernel == ("usb 1-1: device descriptor read/64, error -71",)
    assert facts.rules.installed == "# somebody else's\n"
    assert facts.rules.right is not None
    assert "gateway/wheels" in facts.rules.right
    assert facts.rules.named == 1


def test_a_machine_of_which_nothing_can_be_read(tmp_path: Path) -> None:
    facts = gather(Configured("g.toml", problem="no such file"), None, tmp_path)
    assert facts.ports == ()
    assert facts.throttled is None
    assert facts.run_type is None
    assert facts.kernel is None
    assert facts.libusb is None
    assert not facts.udevd
    assert facts.rules.right is None


def test_a_user_that_the_machine_does_not_know_is_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match="no user 'sam'"):
        gather(Configured("g.toml"), "sam", root)


def test_a_port_is_known_by_its_path_too(root: Path) -> None:
    configured = Configured("g.toml", ports={"/dev/ttyACM0": "arm"})
    assert gather(configured, "pat", root).ports[0].device == "arm"


def test_a_usb_device_without_a_port_counts_only_where_it_is_configured(tmp_path: Path) -> None:
    text = (RECORDED / "barcode_scanner.umockdev").read_text("utf-8")
    root = UdevRoom(tmp_path / "m", text).folder
    assert gather(Configured("g.toml"), None, root).ports == ()
    scanner = NamedDevice(name="scanner", subsystems=("usb",), match={"idVendor": "0c2e"})
    (port,) = gather(Configured("g.toml", devices=(scanner,)), None, root).ports
    assert (port.node, port.device, port.mode) == ("/dev/bus/usb/001/006", "scanner", None)


def test_a_configuration_that_cannot_stand_is_kept_as_a_problem(tmp_path: Path) -> None:
    def find(group: str, name: str) -> type:
        raise ConfigError(f"there is no {name}")

    path = tmp_path / "g.toml"
    path.write_text("[gatway]\n[odd]\n")
    configured = Configured.read(str(path), find)
    assert "unknown key" in configured.problem
    assert configured.problem.endswith("and 1 more")
    assert configured.rules(None) == (None, "")


def test_only_the_kernels_complaints_count_and_only_the_newest(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text(
        "".join(f"3,{n},{n},-;usb 1-{n}: device not accepting address 5\n" for n in range(50))
        + "4,9,9,-;hwmon hwmon1: Undervoltage detected!\n"
        + "6,9,9,-;hwmon hwmon1: Voltage normalised\n"
    )
    found = complaints(log)
    assert found is not None
    assert len(found) == 20
    assert found[-1] == "hwmon hwmon1: Undervoltage detected!"
    assert complaints(tmp_path / "no") is None
