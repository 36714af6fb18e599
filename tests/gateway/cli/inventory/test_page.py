"""One device on a page."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.inventory.house import HousedDevice
from gateway.cli.inventory.page import _when, as_json, render
from gateway.hosting.plugged import PluggedDevice
from tests.gateway.cli.house import INFO

BOARD = HousedDevice(
    name="wheels",
    state={"state": "stale", "cause": "it has been silent for 3.1 s", "since": 940.0},
    claim={"node": "/dev/ttyACM0", "path": "/sys/x"},
    info=INFO,
    moves={
        "moves": [
            {"state": "proven", "event": "proven", "cause": "it identified itself", "at": 900.0},
            {"state": "stale", "event": "silent", "cause": "it has been silent", "at": 940.0},
        ],
        "counts": {"proven": 1, "silent": 1},
    },
    counters={"frames": 7, "noise": 0, "state": "stale"},
)


def page(device: HousedDevice, plugged: PluggedDevice | None = None) -> str:
    return "\n".join(render(device, plugged, 1000.0, 0, colour=False))


def test_state_cause_identity_words_moves_and_counters() -> None:
    text = page(BOARD)
    assert text.startswith("wheels is stale for 1m00s: it has been silent for 3.1 s\n")
    assert "driver  BenchBoard\nboard   firmware 1.0, model bench\nport    /dev/ttyACM0" in text
    assert "  led(hz: int [Hz] (optional)) → bool\n      Light the LED.\n" in text
    assert "it says:\n  analogue: millivolts: int [mV]" in text
    assert "(1m40s ago)  proven    it identified itself\n" in text
    assert "(1m00s ago)  stale     it has been silent\n" in text
    assert text.endswith("counted: proven 1, silent 1, frames 7")


def test_what_is_plugged_in_there_is_named(plugged: list[PluggedDevice]) -> None:
    port = next(device for device in plugged if device.node == "/dev/ttyACM0")
    text = page(BOARD, port)
    assert "plugged in  Arduino (www.arduino.cc) 2341:0043, serial number 7543" in text


def test_a_device_that_has_said_nothing_yet() -> None:
    silent = HousedDevice(name="new", state={"state": "absent", "cause": "nobody looked"})
    assert page(silent) == "new is absent: nobody looked"


def test_the_page_as_data() -> None:
    report = as_json(BOARD, None)
    assert report["moves"] == BOARD.moves
    assert report["state"]["state"] == "stale"


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["moves", "counts", "commands", "publications", "at", "x"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), values) | st.none(), values, values)
def test_whatever_was_published_a_page_comes_of_it(
    state: dict[str, Any] | None, info: Any, moves: Any
) -> None:
    device = HousedDevice(
        name="x",
        state=state or {},
        info={"commands": info, "publications": moves, "identity": None},
        moves={"moves": moves, "counts": info},
    )
    assert all(line.isprintable() for line in render(device, None, 0.0, 0, colour=False))


def test_lines_keep_to_the_screen() -> None:
    assert max(map(len, render(BOARD, None, 1000.0, 80, colour=False))) <= 80


@pytest.mark.parametrize("at", [-1e12, 1e300, float("nan"), float("inf"), "yesterday", None])
def test_a_time_that_no_year_has_is_not_shown(at: object) -> None:
    assert _when(at, 0.0) == "-"
