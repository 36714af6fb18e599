"""The slaves in Python hold a conversation as pymodbus's own codec expects it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus_rtu.board import Line, Slave, crc, example
from tests.drivers.desk import CrankedClock


@pytest.fixture
def clock() -> CrankedClock:
    return CrankedClock()


@pytest.fixture
def line(clock: CrankedClock) -> Line:
    return Line(clock=clock)


def ask(line: Line, request: str) -> str:
    data = bytes.fromhex(request)
    said = line.receive(data + crc(data))
    assert said == b"" or crc(said[:-2]) == said[-2:]
    return said[:-2].hex(" ")


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("01 03 00 00 00 03", "01 03 06 00 d7 00 00 41 48"),
        ("01 04 00 02 00 01", "01 04 02 04 d2"),
        ("01 02 00 00 00 02", "01 02 01 01"),
        ("01 05 00 01 ff 00", "01 05 00 01 ff 00"),
        ("01 05 00 01 12 34", "01 85 03"),
        ("01 06 00 00 00 c8", "01 06 00 00 00 c8"),
        ("01 06 00 09 00 c8", "01 86 02"),
        ("01 0f 00 00 00 02 01 03", "01 0f 00 00 00 02"),
        ("01 10 00 00 00 02 04 00 01 00 02", "01 10 00 00 00 02"),
        ("01 10 00 00 00 02 02 00 01", "01 90 03"),
        ("01 03 00 00 00 00", "01 83 03"),
        ("01 03 00 00 00 7e", "01 83 03"),
        ("01 2b 0e 01 00 00", "01 ab 01"),
        ("09 03 00 00 00 01", ""),
        ("00 06 00 0a 00 01", ""),
    ],
)
def test_it_answers_as_the_standard_says(line: Line, request_: str, answer: str) -> None:
    assert ask(line, request_) == answer


def test_a_broadcast_is_obeyed_without_a_word(line: Line) -> None:
    ask(line, "00 06 00 0a 00 05")
    assert line.slaves[2].holding[10] == 5


def test_coils_are_written_by_the_bit(line: Line) -> None:
    ask(line, "01 0f 00 00 00 02 01 02")
    assert line.slaves[1].coils == {0: False, 1: True}
    assert ask(line, "01 01 00 00 00 02") == "01 01 01 02"


def test_a_wrong_crc_is_not_answered_and_silence_brings_it_back(
    line: Line, clock: CrankedClock
) -> None:
    assert line.receive(bytes.fromhex("01 03 00 00 00 01 00 00")) == b""
    assert line.receive(b"\x01\x03\x00") == b""
    clock.now += 1.0
    assert ask(line, "01 04 00 02 00 01") == "01 04 02 04 d2"


def test_a_slave_may_be_busy_or_without_power(clock: CrankedClock) -> None:
    slaves = example()
    slaves[1].busy, slaves[2].silent = True, True
    line = Line(slaves, clock=clock)
    assert ask(line, "01 03 00 00 00 01") == "01 83 06"
    assert ask(line, "02 03 00 0a 00 01") == ""


@given(data=st.lists(st.binary(max_size=300), max_size=6))
def test_any_bytes_are_borne(data: list[bytes]) -> None:
    line = Line({1: Slave()}, clock=CrankedClock())
    for each in data:
        line.receive(each)
        assert len(line._begun) <= 256
