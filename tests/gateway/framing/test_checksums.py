"""The checksums, against the catalogue's own check values and a library's opinion."""

from __future__ import annotations

import crc as library
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.framing.checksums import (
    CRC8,
    CRC8_MAXIM,
    CRC16_CCITT,
    CRC16_MODBUS,
    CRC16_XMODEM,
    CRC32,
    SUM8,
    XOR8,
    Checksum,
    crc,
)

CHECK = b"123456789"

# The catalogue's check value of each, and the same algorithm of the library.
CRCS = [
    (CRC8, 0xF4, library.Crc8.CCITT),
    (CRC8_MAXIM, 0xA1, library.Crc8.MAXIM_DOW),
    (CRC16_MODBUS, 0x4B37, library.Crc16.MODBUS),
    (CRC16_CCITT, 0x29B1, library.Crc16.IBM_3740),
    (CRC16_XMODEM, 0x31C3, library.Crc16.XMODEM),
    (CRC32, 0xCBF43926, library.Crc32.CRC32),
]
ALL = [*(each for each, _, _ in CRCS), SUM8, XOR8]


@pytest.mark.parametrize(("checksum", "value", "_algorithm"), CRCS, ids=str)
def test_it_gives_the_catalogues_check_value(
    checksum: Checksum, value: int, _algorithm: object
) -> None:
    assert checksum.of(CHECK) == value


@pytest.mark.parametrize(("checksum", "_value", "algorithm"), CRCS, ids=str)
@given(data=st.binary(max_size=40))
def test_it_agrees_with_the_library(
    checksum: Checksum, _value: int, algorithm: library.Configuration, data: bytes
) -> None:
    assert checksum.of(data) == library.Calculator(algorithm).checksum(data)


@pytest.mark.parametrize(
    ("made", "value"),
    [
        (crc("CRC8_I_432_1", 8, 0x07, final=0x55), 0xA1),
        (crc("CRC16_ARC", 16, 0x8005, reflected=True), 0xBB3D),
        (crc("CRC16_IBM_SDLC", 16, 0x1021, initial=0xFFFF, final=0xFFFF, reflected=True), 0x906E),
        (crc("CRC16_GENIBUS", 16, 0x1021, initial=0xFFFF, final=0xFFFF), 0xD64E),
        (crc("CRC32_MPEG_2", 32, 0x04C11DB7, initial=0xFFFFFFFF), 0x0376E6E7),
        (
            crc("CRC32C", 32, 0x1EDC6F41, initial=2**32 - 1, final=2**32 - 1, reflected=True),
            0xE3069283,
        ),
    ],
    ids=str,
)
def test_another_crc_is_one_line(made: Checksum, value: int) -> None:
    assert made.of(CHECK) == value
    assert made.size * 8 >= value.bit_length()


def test_sums() -> None:
    assert SUM8.of(CHECK) == sum(CHECK) % 256
    assert XOR8.of(CHECK) == 0x31


@pytest.mark.parametrize("checksum", ALL, ids=str)
@given(data=st.binary(max_size=40))
def test_what_is_appended_is_stripped(checksum: Checksum, data: bytes) -> None:
    checked = checksum.append(data)
    assert len(checked) == len(data) + checksum.size
    assert checksum.strip(checked) == data


@pytest.mark.parametrize("checksum", ALL, ids=str)
@given(data=st.binary(max_size=40), bit=st.integers(min_value=0))
def test_one_flipped_bit_is_never_believed(checksum: Checksum, data: bytes, bit: int) -> None:
    checked = bytearray(checksum.append(data))
    bit %= 8 * len(checked)
    checked[bit // 8] ^= 1 << bit % 8
    assert checksum.strip(bytes(checked)) is None


@pytest.mark.parametrize("checksum", ALL, ids=str)
def test_less_than_a_checksum_is_none(checksum: Checksum) -> None:
    for size in range(checksum.size):
        assert checksum.strip(b"\x00" * size) is None


def test_the_order_of_bytes_is_that_of_the_wire() -> None:
    assert CRC16_MODBUS.trailer(CHECK) == b"\x37\x4b"
    assert CRC16_CCITT.trailer(CHECK) == b"\x29\xb1"
    assert CRC32.trailer(CHECK) == bytes.fromhex("2639f4cb")


def test_other_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="8, 16 or 32 bits here, not 12"):
        crc("CRC12", 12, 0x80F)
