from __future__ import annotations

import pytest

from gateway.cli.simulation.wish import HELP, WORDS, Wish, understood
from gateway.errors import RefusedError
from gateway.services.simulated_device import SimulatedDevice

DEVICES = ["pump", "gps"]


@pytest.mark.parametrize(
    ("line", "wish"),
    [
        ("", None),
        ("   ", None),
        ("unplug pump", Wish("unplug", ["pump"], [])),
        ("plug all", Wish("plug", DEVICES, [])),
        ("hang gps", Wish("hang", ["gps"], [])),
        ("hang gps 2.5", Wish("hang", ["gps"], [2.5])),
        ("noise all 0.01", Wish("noise", DEVICES, [0.01])),
        ("drift gps -20", Wish("drift", ["gps"], [-20.0])),
        ("status", Wish("status", DEVICES, [])),
        ("status gps", Wish("status", ["gps"], [])),
        ("help", Wish("help")),
        ("quit", Wish("quit")),
    ],
)
def test_what_is_typed_is_understood(line: str, wish: Wish | None) -> None:
    assert understood(line, DEVICES) == wish


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("unplag pump", "did you mean 'unplug'"),
        ("dance", "one of: unplug, plug"),
        ("unplug", r"unplug which device\? pump, gps, or all"),
        ("unplug pamp", "there is no device 'pamp': did you mean 'pump'"),
        ("noise pump", "right is: noise DEVICE PART"),
        ("unplug pump 3", "right is: unplug DEVICE"),
        ("hang pump 1 2", r"right is: hang DEVICE \[SECONDS\]"),
        ("step pump soon", "'soon' is no number"),
    ],
)
def test_what_is_not_is_refused_with_what_would_be_right(line: str, said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        understood(line, DEVICES)


def test_every_word_is_one_of_a_device_and_is_explained() -> None:
    for word in WORDS:
        assert callable(getattr(SimulatedDevice, word))
        assert f"{word} DEVICE" in HELP
