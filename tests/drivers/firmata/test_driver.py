"""The driver before its own Arduino: pins declared, set, heard, and set up again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from drivers.firmata.board import ANALOG, OUTPUT, PULLUP, PWM, SERVO, Arduino
from drivers.firmata.driver import Firmata
from drivers.firmata.settings import FirmataPin, FirmataSettings
from gateway.errors import ProtocolError, RefusedError
from tests.drivers.desk import CrankedClock, Desk

PINS: dict[str, dict[str, Any]] = {
    "lamp": {"pin": 13, "mode": "output", "initial": 1},
    "valve": {"pin": 12, "mode": "output"},
    "button": {"pin": 8, "mode": "pullup"},
    "door": {"pin": 2, "mode": "input"},
    "fan": {"pin": 9, "mode": "pwm"},
    "flap": {"pin": 10, "mode": "servo", "initial": 90},
    "light": {"pin": "A0", "mode": "analog", "full_scale": 5.0, "unit": "V", "deadband": 0.1},
}


def desk_with(pins: dict[str, dict[str, Any]] = PINS, volts: float = 2.5) -> Desk:
    clock = CrankedClock()
    board = Arduino(clock=clock, volts=lambda seconds: volts)
    return Desk(Firmata, {"pins": pins}, board, clock)


@pytest.fixture
def desk() -> Desk:
    desk = desk_with()
    desk.driver.handshake()
    desk.run(0.2)
    return desk


def test_the_board_says_who_it_is_and_its_pins_are_set_up(desk: Desk) -> None:
    identity = desk.driver.handshake()
    assert (identity.model, identity.firmware) == ("StandardFirmata", "2.5")
    modes = desk.board.modes
    assert (modes[13], modes[8], modes[9], modes[10], modes[14]) == (
        OUTPUT,
        PULLUP,
        PWM,
        SERVO,
        ANALOG,
    )
    assert desk.board.outputs[13] == 1
    assert desk.board.outputs[10] == 90


def test_inputs_are_published_retained_when_they_change(desk: Desk) -> None:
    assert desk.retained == {"pins/button": True, "pins/door": False, "pins/light": 2.502444}
    desk.board.press(8, False)
    desk.run(0.5)
    assert desk.bodies("pins/button") == [True, False]
    assert desk.bodies("pins/door") == [False]
    assert desk.call("read_pin", {"name": "button"}) is False


def test_an_analogue_value_is_told_again_when_it_has_moved_far_enough(desk: Desk) -> None:
    desk.board.volts = lambda seconds: 2.55
    desk.run(1.0)
    assert len(desk.bodies("pins/light")) == 1
    desk.board.volts = lambda seconds: 5.0
    desk.run(1.0)
    assert desk.bodies("pins/light")[-1] == 5.0


def test_outputs_are_set_and_their_neighbours_keep_their_pull_ups(desk: Desk) -> None:
    desk.call("set_pin", {"name": "valve", "on": True})
    assert (desk.board.outputs[12], desk.board.outputs[13]) == (1, 1)
    assert desk.board.modes[8] == PULLUP
    desk.call("set_pin", {"name": "lamp", "on": False})
    assert (desk.board.outputs[12], desk.board.outputs[13]) == (1, 0)
    desk.call("set_level", {"name": "fan", "level": 0.5})
    assert desk.board.outputs[9] == 128
    desk.call("set_angle", {"name": "flap", "degrees": 45})
    assert desk.board.outputs[10] == 45


def test_a_board_that_has_restarted_is_set_up_again_as_it_was(desk: Desk) -> None:
    desk.call("set_pin", {"name": "valve", "on": True})
    desk.call("set_level", {"name": "fan", "level": 1.0})
    desk.board.reset()
    assert desk.board.outputs[12] == 0
    desk.run(0.5)
    assert (desk.board.outputs[12], desk.board.outputs[13], desk.board.outputs[9]) == (1, 1, 255)
    desk.board.press(8, False)
    desk.run(0.2)
    assert desk.bodies("pins/button") == [True, False]


def test_what_the_board_says_in_words_is_published(desk: Desk) -> None:
    desk.board.say("I2C: Too many bytes received")
    desk.run(0.1)
    assert desk.bodies("message") == ["I2C: Too many bytes received"]


def test_a_heartbeat_is_answered_by_the_state_of_a_pin(desk: Desk) -> None:
    heartbeat = desk.driver.heartbeat
    assert desk.board.receive(heartbeat.ping).startswith(heartbeat.answer)


@pytest.mark.parametrize(
    ("pin", "said"),
    [
        ({"pin": 1, "mode": "output"}, "it can be nothing"),
        ({"pin": 20, "mode": "output"}, "the board has no pin 20"),
        ({"pin": "A6", "mode": "analog"}, "the board has no pin A6"),
        ({"pin": 13, "mode": "pwm"}, "cannot be pwm; it can be input, pullup, output, servo"),
        ({"pin": 14, "mode": "servo"}, "cannot be servo"),
    ],
)
def test_a_pin_that_cannot_be_what_is_declared_is_refused(pin: dict[str, Any], said: str) -> None:
    with pytest.raises(RefusedError, match=f"odd: .*{said}"):
        desk_with({"odd": pin}).driver.handshake()


def test_one_pin_under_two_numbers_is_refused() -> None:
    pins: dict[str, dict[str, Any]] = {
        "a": {"pin": "A0", "mode": "analog"},
        "b": {"pin": 14, "mode": "input"},
    }
    with pytest.raises(RefusedError, match="pin 14 is a already"):
        desk_with(pins).driver.handshake()


@pytest.mark.parametrize(
    ("command", "body", "said"),
    [
        ("set_pin", {"name": "button", "on": True}, "as output; there are lamp, valve"),
        ("set_pin", {"name": "lamb", "on": True}, "did you mean 'lamp'"),
        ("set_level", {"name": "lamp", "level": 1}, "as pwm; there are fan"),
        ("set_level", {"name": "fan", "level": 1.1}, "level"),
        ("set_angle", {"name": "flap", "degrees": 181}, "degrees"),
        ("read_pin", {"name": "lamp"}, "as input or pullup or analog"),
    ],
)
def test_what_a_pin_cannot_do_is_refused_and_nothing_is_written(
    desk: Desk, command: str, body: dict[str, Any], said: str
) -> None:
    written = len(desk.written)
    with pytest.raises(RefusedError, match=said):
        desk.call(command, body)
    assert len(desk.written) == written


def test_all_pins_are_described(desk: Desk) -> None:
    able = desk.call("describe_pins")
    assert able["0"] == ""
    assert able["9"] == "input, pullup, output, pwm, servo"


def test_an_answer_that_makes_no_sense_is_asked_again() -> None:
    desk = desk_with()
    desk.damage = lambda data: data.replace(b"\xf0\x6c", b"\xf0\x6c\x00")
    with pytest.raises(ProtocolError, match="do not come out even"):
        desk.driver.handshake()


def test_what_is_not_declared_is_left_alone() -> None:
    desk = desk_with({})
    desk.driver.handshake()
    desk.run(1.0)
    assert desk.published == []
    desk.say(b"\x90\x7f\x01\xe0\x01\x01")
    desk.hear()
    assert desk.published == []


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"pin": 128, "mode": "input"}, "pin"),
        ({"pin": "B1", "mode": "input"}, "pin"),
        ({"pin": 3, "mode": "buzzer"}, "mode"),
        ({"pin": 3, "mode": "input", "initial": 1}, "initial"),
        ({"pin": 3, "mode": "pwm", "initial": 2}, "initial"),
        ({"pin": 3, "mode": "output", "initial": 0.5}, "initial"),
        ({"pin": 3, "mode": "input", "unit": "V"}, "full_scale"),
        ({"pin": "A0", "mode": "analog", "full_scale": 0}, "full_scale"),
    ],
)
def test_what_cannot_be_declared_is_refused_by_its_key(keys: dict[str, Any], named: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=named):
        msgspec.convert(keys, FirmataPin)


def test_two_names_for_one_pin_are_refused() -> None:
    pins = {"a": {"pin": 3, "mode": "input"}, "b": {"pin": 3, "mode": "output"}}
    with pytest.raises(msgspec.ValidationError, match="a and b are both pin 3"):
        msgspec.convert({"pins": pins}, FirmataSettings)


def test_its_class_publishes_the_declared_inputs() -> None:
    info = Firmata.configured({"pins": PINS}).describe(None)
    units = {each["topic"]: (each["body"], each["unit"]) for each in info["publications"]}
    assert units == {
        "message": ("str", ""),
        "pins/button": ("bool", ""),
        "pins/door": ("bool", ""),
        "pins/light": ("float", "V"),
    }
