"""The client's half of RFC 2217: what is asked, what the answers mean, what is nonsense."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.serial.com_port import COM_PORT, ComPort
from routes.serial.settings import SerialSettings
from routes.serial.telnet import DO, DONT, Decoder, Negotiation, Subnegotiation


def port(**values: Any) -> ComPort:
    return ComPort(SerialSettings(port="rfc2217://host:1", **values))


def asked(data: bytes) -> list[bytes]:
    """Return what is asked of the server, in order."""
    return [event.payload for event in Decoder().feed(data)[1] if isinstance(event, Subnegotiation)]


def answer(com: ComPort, word: int, value: bytes) -> bytes:
    return com.obey(Subnegotiation(COM_PORT, bytes([word + 100]) + value))


def confirm(com: ComPort, questions: list[bytes]) -> None:
    for question in questions:
        answer(com, question[0], question[1:])


def test_the_whole_line_is_asked_for() -> None:
    com = port(bytesize=7, parity="S", stopbits=2, rtscts=True, dtr=False)
    assert asked(com.set_up(74880)) == [
        b"\x05\x03",
        b"\x05\x09",
        b"\x02\x07",
        b"\x03\x05",
        b"\x04\x02",
        b"\x01" + struct.pack(">I", 74880),
        b"\x0c\x03",
    ]


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ({}, [b"\x01"]),
        ({"xonxoff": True}, [b"\x02"]),
        ({"dsrdtr": True}, [b"\x13", b"\x12"]),
        ({"rts": True}, [b"\x01", b"\x0b"]),
        ({"rts": False, "dtr": True}, [b"\x01", b"\x08", b"\x0c"]),
    ],
)
def test_flow_control_and_modem_lines_have_their_codes(
    values: dict[str, Any], codes: list[bytes]
) -> None:
    controls = [each[1:] for each in asked(port(**values).set_up(9600)) if each[0] == 5]
    assert controls == codes


def test_a_port_is_settled_once_all_is_answered() -> None:
    com = port()
    questions = asked(com.set_up(9600))
    confirm(com, questions[:-2])
    assert not com.is_settled
    confirm(com, questions)
    com.settle()
    assert (com.is_settled, com.mistakes, com.unanswered) == (True, [], [])


def test_controls_that_are_not_answered_are_noted_and_no_more() -> None:
    com = port(xonxoff=True)
    confirm(com, [each for each in asked(com.set_up(9600)) if each[0] != 5])
    assert com.is_settled
    com.settle()
    assert com.unanswered == ["xonxoff"]


@pytest.mark.parametrize(
    ("word", "value", "told"),
    [
        (1, struct.pack(">I", 115200), "baud: the port server makes 115200 of it"),
        (2, b"\x08", "bytesize: the port server makes 8 of it"),
        (3, b"\x01", "parity: the port server makes N of it"),
        (3, b"\x63", "parity: the port server makes 99 of it"),
        (4, b"\x01", "stopbits: the port server makes 1 of it"),
    ],
)
def test_a_setting_that_the_server_s_port_cannot_do_is_named(
    word: int, value: bytes, told: str
) -> None:
    com = port(bytesize=7, parity="E", stopbits=2)
    com.set_up(9600)
    answer(com, word, value)
    assert com.mistakes == [told]


def test_an_escaped_rate_arrives_whole() -> None:
    com = port()
    assert b"\x01\x00\x00\xff\xff" in asked(com.set_up(65535))
    answer(com, 1, struct.pack(">I", 65535))
    assert com.mistakes == []


def test_the_server_says_whether_it_speaks_it() -> None:
    for verb, agreed in ((DO, True), (DONT, False)):
        com = port()
        com.begin()
        com.obey(Negotiation(DO, 0))
        assert com.agreed is None
        com.obey(Negotiation(verb, COM_PORT))
        assert com.agreed is agreed


def test_the_server_may_ask_for_silence() -> None:
    com = port()
    answer(com, 8, b"")
    assert com.suspended
    answer(com, 9, b"")
    assert not com.suspended


@given(
    st.lists(
        st.one_of(
            st.builds(Subnegotiation, st.integers(0, 255), st.binary(max_size=12)),
            st.builds(Subnegotiation, st.just(COM_PORT), st.binary(max_size=12)),
            st.builds(Negotiation, st.integers(251, 254), st.integers(0, 255)),
        ),
        max_size=30,
    )
)
def test_nonsense_raises_nothing(events: list[Any]) -> None:
    com = port()
    com.set_up(9600)
    for event in events:
        com.obey(event)
    assert len(com.mistakes) <= 4
