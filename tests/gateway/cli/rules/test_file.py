"""The rules file: what it says, and what it does on recorded devices under the real udev."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from gateway.cli.rules.file import NamedDevice, rules_for
from gateway.cli.rules.options import RuleOptions
from gateway.cli.rules.quoting import RuleError
from gateway.config.mistake import ConfigErrors
from tests.lab.udev_room import UdevRoom
from tests.udev.rule_file import read

RECORDED = Path(__file__).parents[3] / "udev/recorded"
HUB = "devices/platform/scb/fd500000.pcie/usb1"


def tty(name: str, **match: str) -> NamedDevice:
    above = {key.replace("above_", "@"): value for key, value in match.items()}
    return NamedDevice(name=name, subsystems=("tty",), match=above)


UNO = tty("wheels", ID_VENDOR_ID="2341", ID_SERIAL_SHORT="754393*")
SECOND = tty("arm", ID_VENDOR_ID="0403", above_bInterfaceNumber="01")
BY_TWO = tty("leg", above_idVendor="0403", above_bInterfaceNumber="00")
SCANNER = NamedDevice(
    name="scanner", subsystems=("usb", "hidraw"), match={"@product": 'Voyager*"wedge"'}
)
OF_ITSELF = NamedDevice(
    name="scanner", subsystems=("usb",), match={"product": 'Voyager 1200g "wedge"'}
)


def with_rules(folder: Path, recording: str, *devices: NamedDevice) -> UdevRoom:
    room = UdevRoom(folder / "room", (RECORDED / f"{recording}.umockdev").read_text("utf-8"))
    rules = rules_for(devices, RuleOptions())
    read(rules)
    (room.rules / "90-gateway.rules").write_text(rules)
    return room


def test_the_same_devices_give_the_same_file() -> None:
    assert rules_for([UNO, SECOND], RuleOptions()) == rules_for([UNO, SECOND], RuleOptions())


def test_a_device_with_a_port_gets_a_comment_and_no_rule() -> None:
    rules = rules_for([NamedDevice(name="gps", subsystems=("tty",), match={})], RuleOptions())
    assert "# gps has a port of its own" in rules
    assert "gateway/gps" not in rules


def test_every_match_that_cannot_be_said_is_told_at_once_with_its_place() -> None:
    devices = [
        NamedDevice(name="a", subsystems=("tty",), match={"serial": "x|y"}, place=("g.toml", 3)),
        tty("b", above_ID_VENDOR_ID="2341"),
        UNO,
    ]
    with pytest.raises(ConfigErrors) as raised:
        rules_for(devices, RuleOptions())
    first, second = str(raised.value).splitlines()
    assert first.startswith("g.toml:3: devices.a.match: serial: 'x|y' holds '|'")
    assert "write @idVendor" in second


def test_the_options_stand_in_the_file_and_are_read_back() -> None:
    options = RuleOptions(group="plugdev", mode="0660", unit="")
    assert RuleOptions.of(rules_for([], options)) == options
    assert RuleOptions.of("# somebody else's rules\n") is None
    assert RuleOptions.of("# group=a mode=0777 unit=\n") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"group": 'a", RUN+="x'},
        {"group": ""},
        {"mode": "0666"},
        {"mode": "0600"},
        {"mode": "rw"},
        {"unit": "$(x).service"},
        {"unit": "gateway"},
    ],
)
def test_options_that_cannot_stand_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(RuleError):
        RuleOptions(**wrong)


@pytest.mark.needs("udev")
def test_a_board_gets_its_name_its_group_and_peace(tmp_path: Path) -> None:
    room = with_rules(tmp_path, "arduino_uno", UNO, SECOND)
    outcome = room.test(f"{HUB}/1-1/1-1:1.0/tty/ttyACM0")
    assert outcome.complaints == []
    assert "/dev/gateway/wheels" in outcome.links
    assert "/dev/gateway/arm" not in outcome.links
    assert (outcome.mode, outcome.group) == (0o660, "dialout")
    wanted = {
        "GATEWAY_DEVICE": "wheels",
        "ID_MM_PORT_IGNORE": "1",
        "ID_MM_DEVICE_IGNORE": "1",
        "SYSTEMD_WANTS": "gateway.service",
    }
    assert wanted.items() <= outcome.properties.items()
    assert "systemd" in outcome.properties["TAGS"]
    assert room.attribute(f"{HUB}/1-1/power/control") == "on\n"
    assert room.attribute(f"{HUB}/power/control") == "??\n"


@pytest.mark.needs("udev")
def test_the_two_ports_of_one_adapter_are_told_apart(tmp_path: Path) -> None:
    room = with_rules(tmp_path, "ftdi_dual", SECOND, BY_TWO)
    names = []
    for number in (0, 1):
        port = f"{HUB}/1-2/1-2:1.{number}/ttyUSB{number}/tty/ttyUSB{number}"
        outcome = room.test(port)
        assert outcome.complaints == []
        names.append([link for link in outcome.links if "/gateway/" in link])
    assert names == [["/dev/gateway/leg"], ["/dev/gateway/arm"]]
    assert room.attribute(f"{HUB}/1-2/power/control") == "on\n"


@pytest.mark.needs("udev")
def test_a_usb_device_and_its_hidraw_node_are_named_by_quotes_and_stars(tmp_path: Path) -> None:
    room = with_rules(tmp_path, "barcode_scanner", SCANNER)
    hidraw = room.test(f"{HUB}/1-3/1-3:1.0/0003:0C2E:0B61.0001/hidraw/hidraw0")
    assert hidraw.links == ["/dev/gateway/scanner"]
    assert room.attribute(f"{HUB}/1-3/power/control") == "on\n"
    (room.rules / "90-gateway.rules").write_text(rules_for([OF_ITSELF], RuleOptions()))
    usb = room.test(f"{HUB}/1-3")
    assert usb.links == ["/dev/gateway/scanner"]
    assert (usb.mode, usb.group) == (0o660, "dialout")


@pytest.mark.needs("udev")
def test_a_board_that_goes_is_given_nothing(tmp_path: Path) -> None:
    room = with_rules(tmp_path, "arduino_uno", UNO)
    outcome = room.test(f"{HUB}/1-1/1-1:1.0/tty/ttyACM0", action="remove")
    assert "GATEWAY_DEVICE" not in outcome.properties


@pytest.mark.needs("udev")
def test_a_rule_with_a_mistake_would_be_seen_here(tmp_path: Path) -> None:
    room = with_rules(tmp_path, "arduino_uno", UNO)
    (room.rules / "91-mistaken.rules").write_text('SUBSYSTEM=="tty", FOO=="1"\n')
    (complaint,) = room.test(f"{HUB}/1-1").complaints
    assert "91-mistaken.rules:1 Invalid key 'FOO'" in complaint


@pytest.mark.needs("udev")
def test_udevs_own_checker_has_nothing_to_say_where_there_is_one(tmp_path: Path) -> None:
    room = with_rules(tmp_path, "arduino_uno", UNO, SECOND, BY_TWO, SCANNER)
    version = subprocess.run(["udevadm", "--version"], capture_output=True, text=True, check=True)
    if int(re.findall(r"\d+", version.stdout)[0]) < 254:  # before it, `room.test` is what there is
        assert room.test(f"{HUB}/1-1").complaints == []
        return
    file = str(room.rules / "90-gateway.rules")
    subprocess.run(["udevadm", "verify", "--resolve-names=never", file], check=True)
