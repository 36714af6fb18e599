"""Frames that silence ends: Modbus RTU's, and what has no end."""

from __future__ import annotations

import pytest

from gateway.framing import Frame, Garbage, Silent, checksums
from gateway.framing.silent import modbus_silence

MODBUS = Silent(modbus_silence(9600), limit=254, checksum=checksums.CRC16_MODBUS)


def test_it_reads_a_modbus_frame_in_any_slices() -> None:
    decoder = MODBUS.decoder()
    for byte in bytes.fromhex("01 04 02 ff ff b8 80"):
        assert decoder.feed(bytes([byte])) == []
    assert decoder.expire() == [Frame(bytes.fromhex("01 04 02 ff ff"))]
    assert decoder.expire() == []


def test_frames_without_silence_between_them_are_one() -> None:
    decoder = MODBUS.decoder()
    decoder.feed(MODBUS.encode(b"\x01\x03") + MODBUS.encode(b"\x01\x04"))
    assert [type(event) for event in decoder.expire()] == [Garbage]


@pytest.mark.parametrize(
    ("baud", "seconds"), [(1200, 0.0320833), (19200, 0.0020052), (19201, 0.00175)]
)
def test_three_and_a_half_characters(baud: int, seconds: float) -> None:
    assert modbus_silence(baud) == pytest.approx(seconds, abs=1e-6)


def test_what_is_too_long_is_told_once_and_skipped_until_silence() -> None:
    decoder = Silent(0.1, limit=4).decoder()
    assert decoder.feed(b"abcde") == [Garbage(b"abcd", "longer than 4 bytes")]
    assert decoder.feed(b"fgh") == []
    assert decoder.expire() == []
    decoder.feed(b"ok")
    assert decoder.expire() == [Frame(b"ok")]


@pytest.mark.parametrize("silence", [0.0, -1.0, float("inf"), float("nan")])
def test_a_silence_that_cannot_pass_is_refused(silence: float) -> None:
    with pytest.raises(ValueError, match="a silence lasts some seconds"):
        Silent(silence)


def test_a_line_without_a_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0 baud"):
        modbus_silence(0)
