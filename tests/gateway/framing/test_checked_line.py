"""What only checksummed lines do: believe nothing whose checksum is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.framing import CheckedLine, Frame, Garbage
from gateway.framing.checked_line import checksum

FRAMING = CheckedLine(limit=32)


def test_the_checksum_is_that_of_nmea_0183() -> None:
    # A sentence of the standard's own kind; receivers the world over send *47.
    sentence = b"GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"
    assert checksum(sentence) == 0x47


@given(
    st.binary(min_size=1, max_size=32).filter(lambda raw: not {10, 13} & set(raw)),
    st.data(),
)
def test_one_flipped_bit_is_never_believed(payload: bytes, data: st.DataObject) -> None:
    line = bytearray(FRAMING.encode(payload))
    place = data.draw(st.integers(min_value=0, max_value=len(payload) - 1))
    line[place] ^= 1 << data.draw(st.integers(min_value=0, max_value=7))
    assert Frame(payload) not in FRAMING.decoder().feed(bytes(line))
    assert not any(isinstance(event, Frame) for event in FRAMING.decoder().feed(bytes(line)))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"V10*58", "wrong checksum"),
        (b"V10", "no checksum"),
        (b"V10*5", "no checksum"),
        (b"V1057", "no checksum"),
        (b"7", "no checksum"),
        (b"\x05*+5", "wrong checksum"),
        (b"\x05* 5", "wrong checksum"),
        (b"V10*5_7", "no checksum"),
    ],
)
def test_a_line_that_does_not_check_is_garbage(line: bytes, reason: str) -> None:
    assert FRAMING.decoder().feed(line + b"\n") == [Garbage(line, reason)]


@pytest.mark.parametrize("line", [b"LED*4D", b"LED*4d", b"a*b*29", b"*00"])
def test_digits_of_either_case_marks_within_and_empty_payloads_are_read(line: bytes) -> None:
    assert FRAMING.decoder().feed(line + b"\r\n") == [Frame(line[:-3])]
