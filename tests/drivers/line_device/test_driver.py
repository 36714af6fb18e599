"""The declared pump before the pump in Python, and odd boards before odd declarations."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from drivers.line_device.board import Pump
from drivers.line_device.driver import LineDevice
from gateway.device import Heartbeat
from gateway.errors import CallTimeoutError, ProtocolError, RefusedError
from tests.drivers.desk import CrankedClock, Desk
from tests.drivers.line_device.declared import pump


def desk_with(settings: dict[str, Any] | None = None, **options: Any) -> Desk:
    clock = CrankedClock()
    return Desk(LineDevice, settings or pump(), Pump(clock=clock, **options), clock)


def odd(**settings: Any) -> Desk:
    return desk_with({"handshake": {"ask": "*IDN?", "answer": "^ACME"}, **settings})


def test_the_board_says_who_it_is() -> None:
    identity = desk_with().driver.handshake()
    assert (identity.model, identity.serial_number, identity.firmware) == (
        "Pump 3",
        "SN-0042",
        "1.7",
    )
    assert odd().driver.handshake().firmware == "unknown"


def test_another_board_does_not_prove_it() -> None:
    settings = pump()
    settings["handshake"]["answer"] = "^ACME,Fan"
    with pytest.raises(CallTimeoutError):
        desk_with(settings).driver.handshake()


def test_a_board_that_talks_by_itself_may_be_listened_to() -> None:
    desk = desk_with({"handshake": {"answer": "^F=", "timeout": 2.0}})
    desk.driver.handshake()
    assert desk.written == []


def test_commands_are_written_as_declared() -> None:
    desk = desk_with()
    assert desk.call("set_speed", {"rpm": 1500}) is None
    assert desk.board.speed == 1500
    assert desk.call("open_valve") is None
    assert desk.board.valve is True
    desk.call("open_valve", {"open": False})
    assert desk.board.valve is False
    assert desk.call("read_temperature") == 21.5
    assert desk.written == [b"SPEED 1500", b"VALVE 1", b"VALVE 0", b"T?"]


@pytest.mark.parametrize(
    ("command", "body", "said"),
    [
        ("set_speed", {"rpm": 3001}, "'rpm'"),
        ("set_speed", {"rpm": -1}, "'rpm'"),
        ("set_speed", {"rpm": 1.5}, "'rpm'"),
        ("set_speed", {}, "needs the parameter 'rpm'"),
        ("set_speed", {"speed": 1}, "has no parameter 'speed'"),
        ("open_valve", {"open": 1}, "'open'"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    command: str, body: dict[str, Any], said: str
) -> None:
    desk = desk_with()
    with pytest.raises(RefusedError, match=said):
        desk.call(command, body)
    assert desk.written == []


def test_what_the_board_refuses_is_said_in_its_words() -> None:
    settings = pump()
    del settings["commands"]["set_speed"]["parameters"]["rpm"]["max"]
    with pytest.raises(RefusedError, match="the board refuses 'SPEED 9000': out of range"):
        desk_with(settings).call("set_speed", {"rpm": 9000})


def test_a_refusal_without_a_reason_is_told_as_it_came() -> None:
    desk = odd(commands={"go": {"write": "GO", "answer": "^OK", "error": "^ERR"}})
    with pytest.raises(RefusedError, match="ERR unknown command"):
        desk.call("go")


def test_lines_are_published_with_their_values() -> None:
    desk = desk_with()
    desk.call("set_speed", {"rpm": 600})
    desk.run(3.5)
    assert desk.bodies("flow") == [{"litres": 2.0, "rpm": 600}] * 3
    assert desk.retained == {"temperature": 21.5}
    assert desk.nonsense == []


def test_polls_are_asked_as_often_as_declared_and_late_ones_are_not_made_good() -> None:
    desk = odd(
        polls={"a": {"ask": "T?", "every": 1.0}, "b": {"ask": "PING", "every": 2.5}},
    )
    desk.run(10.2)
    assert desk.written.count(b"T?") == 11
    assert desk.written.count(b"PING") == 5
    desk.clock.now += 100.0
    desk.run(0.5)
    assert desk.written.count(b"T?") == 12


def test_lines_that_no_pattern_knows_are_let_go_and_misfits_are_nonsense() -> None:
    desk = odd(
        publications={"f": {"match": "^F=(?P<value>.*)$", "fields": {"value": {"type": "int"}}}}
    )
    desk.say(b"hello\r\nF=12\nF=1,2\r")
    desk.hear()
    assert desk.bodies("f") == [12]
    assert [type(each) for each in desk.nonsense] == [ProtocolError]


def test_a_group_that_took_no_part_is_nonsense() -> None:
    desk = odd(publications={"f": {"match": "^F(=(?P<value>.*))?$", "fields": {"value": {}}}})
    desk.say(b"F\n")
    desk.hear()
    assert "has no value" in str(desk.nonsense[0])


def test_text_of_any_kind_is_written_in_one_line_or_refused() -> None:
    desk = odd(commands={"show": {"write": "SHOW {text}", "parameters": {"text": {"type": "str"}}}})
    desk.call("show", {"text": "grüß {x} Gott"})
    assert desk.written == ["SHOW grüß {x} Gott".encode()]
    for text in ("a\nSPEED 3000", "a\r", "x" * 199 + "é" * 200):
        with pytest.raises(RefusedError):
            desk.call("show", {"text": text})
    assert len(desk.written) == 1


def test_choices_and_formats_are_kept() -> None:
    parameters = {"to": {"type": "str", "choices": ["left", "right"]}, "by": {"min": 0.0}}
    desk = odd(commands={"turn": {"write": "TURN {to} {by:.2f}", "parameters": parameters}})
    desk.call("turn", {"to": "left", "by": 1})
    assert desk.written == [b"TURN left 1.00"]
    with pytest.raises(RefusedError, match="'to'"):
        desk.call("turn", {"to": "up", "by": 1})


def test_checked_lines_are_written_and_read_where_declared() -> None:
    desk = odd(checksum="xor", commands={"ping": {"write": "P"}})
    assert desk.driver.framing.encode(b"P") == b"P*50\n"
    desk.say(b"hello\n")
    assert desk.noise[0].reason == "no checksum"


def test_its_class_is_made_of_what_is_declared() -> None:
    made = LineDevice.configured(pump())
    assert made.heartbeat == Heartbeat(ping=b"PING", pong=b"PONG", every=1.0, patience=5.0)
    info = made.describe(None)
    assert set(info["commands"]) == {"set_speed", "open_valve", "read_temperature"}
    assert info["commands"]["set_speed"]["description"] == "Set the speed of the pump."
    rpm = info["commands"]["set_speed"]["parameters"]["rpm"]
    assert (rpm["type"], rpm["unit"], rpm["required"]) == ("int", "rpm", True)
    assert info["commands"]["open_valve"]["parameters"]["open"]["required"] is False
    flow = next(each for each in info["publications"] if each["topic"] == "flow")
    assert flow["fields"]["litres"]["unit"] == "l/min"
    assert msgspec.json.encode(info)
    listening = LineDevice.configured(
        {"handshake": {"answer": "x"}, "heartbeat": {"patience": 3.0}}
    )
    assert listening.heartbeat == Heartbeat(patience=3.0)


def test_two_declarations_are_two_classes() -> None:
    first = LineDevice.configured(pump())
    second = LineDevice.configured({"handshake": {"answer": "x"}})
    assert set(first.commands()) == {"set_speed", "open_valve", "read_temperature"}
    assert set(second.commands()) == set()
    assert set(LineDevice.commands()) == set()
