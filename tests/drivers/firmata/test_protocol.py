"""The words of Firmata, both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.firmata import protocol
from drivers.firmata.board import Arduino
from drivers.firmata.framing import Messages
from drivers.firmata.protocol import Analog, Digital, Firmware, Mode, Started, Text
from gateway.errors import ProtocolError
from gateway.framing import Frame
from tests.drivers.desk import CrankedClock


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (protocol.set_pin_mode(13, Mode.OUTPUT), "f4 0d 01"),
        (protocol.set_pin_mode(2, Mode.PULLUP), "f4 02 0b"),
        (protocol.report_digital(1, True), "d1 01"),
        (protocol.report_analog(5, False), "c5 00"),
        (protocol.write_digital(0, 0xFF), "90 7f 01"),
        (protocol.write_analog(3, 16_383), "e3 7f 7f"),
        (protocol.write_analog(15, 128), "ef 00 01"),
        (protocol.write_analog(16, 128), "f0 6f 10 00 01 f7"),
        (protocol.sampling_interval(100), "f0 7a 64 00 f7"),
    ],
)
def test_orders_are_those_of_the_protocol(message: bytes, said: str) -> None:
    assert message.hex(" ") == said
    assert Messages().encode(message) == message


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: protocol.set_pin_mode(128, Mode.OUTPUT),
        lambda: protocol.report_digital(16, True),
        lambda: protocol.report_analog(-1, True),
        lambda: protocol.write_digital(0, 1 << 14),
        lambda: protocol.write_analog(3, -1),
        lambda: protocol.sampling_interval(9),
        lambda: protocol.sampling_interval(16_384),
    ],
)
def test_what_no_message_can_carry_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"fit|go from|interval"):
        wrong()


@pytest.mark.parametrize(
    ("message", "value"),
    [
        ("e3 7f 7f", Analog(3, 16_383)),
        ("92 01 01", Digital(2, 0x81)),
        ("f9 02 05", Started(2, 5)),
        ("f0 79 02 05 41 00 f7", Firmware(2, 5, "A")),
        ("f0 79 02 05 f7", Firmware(2, 5, "")),
        ("f0 71 48 00 43 01 29 01 f7", Text("Hé")),
        ("f0 6c 7f f7", None),
        ("f0 f7", None),
    ],
)
def test_messages_are_read(message: str, value: protocol.Message | None) -> None:
    assert protocol.parse(bytes.fromhex(message)) == value


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: protocol.firmware(b"\x02"),
        lambda: protocol.capabilities(b"\x00\x01"),
        lambda: protocol.capabilities(b"\x00\x7f"),
        lambda: protocol.capabilities(b"\x7f" * 129),
        lambda: protocol.pin_state(b"\x01"),
        lambda: protocol.parse(b"\xf9"),
        lambda: protocol.parse(b"\xe0\x01"),
    ],
)
def test_answers_that_make_no_sense_are_protocol_errors(wrong) -> None:
    with pytest.raises(ProtocolError):
        wrong()


def test_a_pins_state_may_have_many_bits() -> None:
    assert protocol.pin_state(b"\x03\x7f\x01") == (3, 255)


@given(payload=st.binary(max_size=60))
def test_any_message_is_read_without_a_bug(payload: bytes) -> None:
    events = Messages().decoder().feed(payload)
    for each in [payload, *(event.payload for event in events if isinstance(event, Frame))]:
        try:
            protocol.parse(each)
        except ProtocolError:
            pass


@given(st.binary(max_size=80).map(lambda data: bytes(byte & 0x7F for byte in data)))
def test_any_capabilities_are_read_without_a_bug(data: bytes) -> None:
    try:
        protocol.capabilities(data)
    except ProtocolError:
        pass
    assert len(protocol.analog_mapping(data)) <= 127


def test_an_uno_says_what_an_uno_can() -> None:
    board = Arduino(clock=CrankedClock())
    board.poll()
    said = board.receive(protocol.query(protocol.CAPABILITY_QUERY))
    able = protocol.capabilities(said[2:-1])
    assert len(able) == 20
    assert able[0] == {}
    assert able[9][Mode.PWM] == 8
    assert able[14][Mode.ANALOG] == 10
    said = board.receive(protocol.query(protocol.ANALOG_MAPPING_QUERY))
    assert protocol.analog_mapping(said[2:-1])[0] == 14
