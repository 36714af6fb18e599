"""What a probe found, as it is read."""

from __future__ import annotations

from typing import Any

from gateway.cli.inventory.suggestion import Suggestion
from gateway.cli.probing.evidence import Evidence
from gateway.cli.probing.findings import as_json, render, serial_drivers
from gateway.device.identity import Identity

PORT = Suggestion(route="serial", port="/dev/ttyS0")
PROVEN = Evidence(driver="gps", identity=Identity(firmware="NMEA"), baud=4800, asked=True)
SILENT = Evidence(driver="bench", asked=True, baud=9600, problem="no answer to b'ID'")
UNASKED = Evidence(driver="firmata")


def lines(*found: Evidence, **broken: str) -> list[str]:
    return render("/dev/ttyS0", found, {4800: 12}, PORT, broken, 0)


def test_the_winner_is_what_to_paste_at_its_rate() -> None:
    assert lines(PROVEN, SILENT, UNASKED) == [
        "/dev/ttyS0: heard by itself: 12 bytes at 4800 baud",
        "",
        " 1. gps    the board identified itself at 4800 baud: firmware NMEA",
        " 2. bench  no answer to b'ID'",
        " -  not asked, since another had answered: firmata",
        "",
        "To take it in, write:",
        "",
        "    [devices.new-device]",
        '    driver = "gps"',
        '    route = "serial"',
        '    port = "/dev/ttyS0"',
        "    baud = 4800",
    ]


def test_a_guess_is_called_one() -> None:
    heard = Evidence(driver="lines", frames=3, baud=9600, asked=True, problem="no answer")
    assert lines(heard)[-1] == "No board has identified itself: this is a guess."


def test_nothing_found_says_where_to_look_next() -> None:
    said = lines(SILENT, UNASKED, odd="it cannot be imported: no module")
    assert " -  not asked, since the time was up: firmata" in said
    assert " -  odd: it cannot be imported: no module" in said
    assert "is it wired TX to RX" in said[-1]
    assert "no driver is installed that a serial port could be for" in lines()


def test_a_driver_of_a_usb_device_is_not_tried_on_a_port() -> None:
    class Serial:
        framing = None

    class Usb:
        framing = None
        interface = None

    found: dict[str, Any] = {"serial": Serial, "usb": Usb, "odd": object}
    assert list(serial_drivers(found)) == ["serial"]


def test_the_same_as_data() -> None:
    report = as_json("/dev/ttyS0", [PROVEN, SILENT], {4800: 12}, PORT, {})
    assert report["heard"] == {"4800": 12}
    assert [each["driver"] for each in report["drivers"]] == ["gps", "bench"]
    assert report["toml"].endswith("baud = 4800")
