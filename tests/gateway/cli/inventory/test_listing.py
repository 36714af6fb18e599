"""The list: what is plugged in beside who has it."""

from __future__ import annotations

from gateway.cli.inventory.house import House, HousedDevice
from gateway.cli.inventory.listing import as_json, render
from gateway.cli.inventory.sight import Sighting
from gateway.hosting.plugged import PluggedDevice

WHEELS = HousedDevice(
    name="wheels",
    state={"state": "stale", "cause": "it has been silent for 3.1 s", "since": 940.0},
    claim={"node": "/dev/ttyACM0", "path": "/sys/x"},
)
SCALE = HousedDevice(
    name="scale", state={"state": "absent", "cause": "nothing is plugged in", "since": 990.0}
)
HOUSE = House(devices={"wheels": WHEELS, "scale": SCALE}, time=1000.0)

PAGE = """\
PORT                  WHAT IT IS                                          ID         SERIAL                DEVICE  STATE     SINCE
/dev/ttyACM0          Arduino (www.arduino.cc)                            2341:0043  75439313637351F0C1B1  wheels  stale     1m00s
/dev/ttyUSB0          FTDI Dual RS232                                     0403:6010  -                     -       stranger      -
/dev/ttyUSB1          FTDI Dual RS232 (interface 01)                      0403:6010  -                     -       stranger      -
/dev/bus/usb/001/006  Honeywell Imaging & Mobility Voyager 1200g "wedge"  0c2e:0b61  12113B04D9            -       stranger      -
  wheels: it has been silent for 3.1 s

NOT AMONG THESE  STATE   SINCE  PORT  CAUSE
scale            absent    10s  -     nothing is plugged in

what to write for a stranger: gateway devices /dev/ttyUSB0"""  # noqa: E501  it is as wide as it is


def test_the_list_as_a_technician_reads_it(plugged: list[PluggedDevice]) -> None:
    lines = render(Sighting(devices=tuple(plugged)), HOUSE, 0, colour=False)
    assert "\n".join(lines) == PAGE


def test_colours_change_nothing_else(plugged: list[PluggedDevice]) -> None:
    import re

    lines = render(Sighting(devices=tuple(plugged)), HOUSE, 0, colour=True)
    assert "\x1b[33mstale" in "\n".join(lines)
    assert re.sub(r"\x1b\[\d*m", "", "\n".join(lines)) == PAGE


def test_a_narrow_screen_cuts_long_names_short(plugged: list[PluggedDevice]) -> None:
    lines = render(Sighting(devices=tuple(plugged)), HOUSE, 120, colour=False)
    assert max(map(len, lines)) <= 120
    assert "Honeywell Imaging & Mobility Voyager 12…" in "\n".join(lines)


def test_without_a_gateway_nobody_is_called_a_stranger(plugged: list[PluggedDevice]) -> None:
    alone = House(trouble="nobody listens at /run/x")
    text = "\n".join(render(Sighting(devices=tuple(plugged)), alone, 0, colour=False))
    assert "stranger" not in text
    assert "who claims what is not known: nobody listens at /run/x" in text


def test_nothing_at_all_is_said_too() -> None:
    lines = render(Sighting(devices=(), note="no udevd runs"), House(), 0, colour=False)
    assert lines == [
        "nothing is plugged in that a gateway could talk to",
        "",
        "no udevd runs",
    ]


def test_what_is_claimed_is_shown_whatever_it_is(plugged: list[PluggedDevice]) -> None:
    claim = {"node": "/dev/hidraw0", "path": ""}
    scanner = HousedDevice(name="scanner", state={"state": "healthy"}, claim=claim)
    text = "\n".join(
        render(Sighting(devices=tuple(plugged)), House(devices={"s": scanner}), 0, colour=False)
    )
    assert "/dev/hidraw0" in text


def test_the_same_as_data(plugged: list[PluggedDevice]) -> None:
    report = as_json(Sighting(devices=tuple(plugged)), HOUSE)
    assert report["gateway"] == {"reached": True, "trouble": ""}
    assert [each["device"] for each in report["plugged"]] == ["wheels", None, None, None]
    assert report["plugged"][0]["state"]["state"] == "stale"
    assert [each["device"] for each in report["unplugged"]] == ["scale"]
