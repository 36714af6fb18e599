"""The rules in udev/: read strictly, and let loose on recorded devices by the real udev."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.udev_room import UdevRoom
from tests.udev.conftest import Room
from tests.udev.rule_file import read

UDEV = Path(__file__).parents[2] / "udev"
FILES = sorted(UDEV.glob("*.rules"))
HUB = "devices/platform/scb/fd500000.pcie/usb1"


def with_shipped(room: UdevRoom) -> UdevRoom:
    for file in FILES:
        (room.rules / file.name).write_bytes(file.read_bytes())
    return room


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_udev_would_take_every_line(file: Path) -> None:
    assert read(file.read_text(encoding="utf-8"))


def test_the_readme_names_every_file() -> None:
    text = (UDEV / "README.md").read_text(encoding="utf-8")
    assert FILES
    assert all(f"`{file.name}`" in text for file in FILES)


@pytest.mark.needs("udev")
def test_an_arduinos_port_is_the_groups_and_no_modem(room: Room) -> None:
    outcome = with_shipped(room("arduino_uno")).test(f"{HUB}/1-1/1-1:1.0/tty/ttyACM0")
    assert outcome.complaints == []
    assert (outcome.mode, outcome.group) == (0o660, "dialout")
    assert outcome.properties["ID_MM_PORT_IGNORE"] == "1"
    assert "systemd" in outcome.properties["TAGS"]


@pytest.mark.needs("udev")
@pytest.mark.parametrize(
    ("recording", "path", "control"),
    [("arduino_uno", f"{HUB}/1-1", "on\n"), ("ftdi_dual", f"{HUB}/1-2", "on\n")],
)
def test_an_adapter_is_kept_awake(room: Room, recording: str, path: str, control: str) -> None:
    made = with_shipped(room(recording))
    outcome = made.test(path)
    assert made.attribute(f"{path}/power/control") == control
    assert outcome.properties["ID_MM_DEVICE_IGNORE"] == "1"
    assert (outcome.mode, outcome.group) == (0o660, "dialout")


@pytest.mark.needs("udev")
def test_a_scanner_is_read_and_types_nothing(room: Room) -> None:
    made = with_shipped(room("barcode_scanner"))
    hid = f"{HUB}/1-3/1-3:1.0/0003:0C2E:0B61.0001"
    raw = made.test(f"{hid}/hidraw/hidraw0")
    assert (raw.mode, raw.group) == (0o660, "dialout")
    event = made.test(f"{hid}/input/input3/event3")
    assert event.properties["LIBINPUT_IGNORE_DEVICE"] == "1"
    assert event.group == "dialout"
    assert event.complaints == []


@pytest.mark.needs("udev")
def test_what_is_none_of_ours_stays_as_it_was(room: Room) -> None:
    made = with_shipped(room("arduino_uno"))
    outcome = made.test(HUB)
    assert "ID_MM_DEVICE_IGNORE" not in outcome.properties
    assert made.attribute(f"{HUB}/power/control") != "on\n"
