"""The match to paste: it means the thing, nothing beside it, and is no longer than it must be."""

from __future__ import annotations

import tomllib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.inventory.suggestion import Suggestion, literal, suggest
from gateway.hosting.matching import Match
from gateway.hosting.plugged import PluggedDevice

GLOBS = str.maketrans("*?[", "abc")
"""A value that a glob would take for the same."""


def at(devices: list[PluggedDevice], node: str) -> PluggedDevice:
    return next(device for device in devices if device.node == node)


def test_a_board_that_is_alone_of_its_kind_is_told_by_its_kind(known: list[PluggedDevice]) -> None:
    assert suggest(at(known, "/dev/ttyACM0"), known) == Suggestion(
        route="serial", match={"ID_VENDOR_ID": "2341", "ID_MODEL_ID": "0043"}
    )


def test_one_port_of_two_is_told_by_its_interface(known: list[PluggedDevice]) -> None:
    suggestion = suggest(at(known, "/dev/ttyUSB1"), known)
    assert suggestion.match == {
        "ID_VENDOR_ID": "0403",
        "ID_MODEL_ID": "6010",
        "ID_USB_INTERFACE_NUM": "01",
    }


def test_twins_are_told_by_their_serial_numbers(known: list[PluggedDevice]) -> None:
    board = at(known, "/dev/ttyACM0")
    twin = msgspec.structs.replace(
        board,
        sys_path="/sys/other",
        node="/dev/ttyACM1",
        properties={**board.properties, "ID_SERIAL_SHORT": "OTHER", "ID_PATH": "other"},
    )
    assert suggest(board, [*known, twin]).match["ID_SERIAL_SHORT"] == "75439313637351F0C1B1"


def test_twins_without_a_number_are_told_by_where_they_are(known: list[PluggedDevice]) -> None:
    board = at(known, "/dev/ttyACM0")
    twin = msgspec.structs.replace(
        board, sys_path="/sys/other", properties={**board.properties, "ID_PATH": "other"}
    )
    suggestion = suggest(board, [*known, twin])
    assert suggestion.match["ID_PATH"] == "path-of-1-1-00"
    assert "must stay in that socket" in suggestion.warning


def test_without_a_udevd_the_ancestors_tell(plugged: list[PluggedDevice]) -> None:
    assert suggest(at(plugged, "/dev/ttyACM0"), plugged).match == {
        "@idVendor": "2341",
        "@idProduct": "0043",
    }


def test_a_port_of_the_machine_is_told_by_its_path() -> None:
    uart = PluggedDevice(subsystem="tty", sys_path="/sys/x", node="/dev/ttyAMA0")
    assert suggest(uart, [uart]) == Suggestion(route="serial", port="/dev/ttyAMA0")


def test_a_usb_device_hangs_on_the_usb_route(plugged: list[PluggedDevice]) -> None:
    suggestion = suggest(at(plugged, "/dev/bus/usb/001/006"), plugged)
    assert suggestion.route == "usb"
    assert suggestion.match == {"idVendor": "0c2e", "idProduct": "0b61"}


@pytest.mark.parametrize("udev", [True, False])
def test_a_suggestion_always_fits_and_fits_nothing_else(
    udev: bool, plugged: list[PluggedDevice], known: list[PluggedDevice]
) -> None:
    devices = known if udev else plugged
    for device in devices:
        match = suggest(device, devices).match
        if match:
            alike = [each for each in devices if each.subsystem == device.subsystem]
            assert [each for each in alike if Match(match)(each)] == [device]


@given(
    (st.text(min_size=1, max_size=20) | st.text('ab*?[]"\\', min_size=1)).filter(str.isprintable)
)
def test_a_value_means_itself_and_survives_toml(value: str) -> None:
    device = PluggedDevice(subsystem="tty", sys_path="/sys/x", properties={"ID_X": value})
    suggestion = Suggestion(route="serial", match={"ID_X": literal(value), "@idVendor": "1"})
    table = tomllib.loads(suggestion.toml("new", "which?"))["devices"]["new"]
    assert table["match"] == suggestion.match
    assert Match({"ID_X": table["match"]["ID_X"]})(device)
    other = msgspec.structs.replace(device, properties={"ID_X": value.translate(GLOBS)})
    assert Match({"ID_X": table["match"]["ID_X"]})(other) is (other == device)
