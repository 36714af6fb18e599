"""Checksums that boards put behind a payload: sums, CRC-8, CRC-16, CRC-32.

A `Checksum` is a value: a name, a width, an order of bytes, and the function.
The names of the CRCs and the values that they give for ``123456789`` are those
of the catalogue of parametrised CRC algorithms (G. Cook, "reveng"); a CRC that
is not here is one line with `crc`, from the same five parameters.

CRC-16/CCITT, XMODEM and CRC-32 come from `binascii` and cost 0.3 µs for 32
bytes; the others go byte by byte through a table, some 2 to 5 µs. (The ``crc``
package, measured at 60 times that, serves our tests as the second opinion.)

Refused by `crc`: other widths than 8, 16 and 32 bits.
"""

from __future__ import annotations

from binascii import crc32, crc_hqx
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from operator import xor
from typing import Literal

Order = Literal["big", "little"]


@dataclass(frozen=True, repr=False)
class Checksum:
    r"""One way to check bytes; ``size`` is how many it takes on the wire.

    >>> CRC16_MODBUS.of(b"123456789") == 0x4B37
    True
    >>> CRC16_MODBUS.append(b"\x11\x03\x00\x6b\x00\x03").hex(" ")
    '11 03 00 6b 00 03 76 87'
    >>> CRC16_MODBUS.strip(bytes.fromhex("11 03 00 6b 00 03 76 87")).hex(" ")
    '11 03 00 6b 00 03'
    """

    name: str
    size: int
    order: Order
    of: Callable[[bytes], int]
    """Returns the checksum of bytes as a number."""

    def __repr__(self) -> str:
        return self.name

    def trailer(self, data: bytes) -> bytes:
        """Return the checksum of ``data`` as it stands on the wire."""
        return self.of(data).to_bytes(self.size, self.order)

    def append(self, data: bytes) -> bytes:
        """Return ``data`` with its checksum behind it."""
        return data + self.trailer(data)

    def strip(self, checked: bytes) -> bytes | None:
        """Return what stands before the checksum, or None where that is wrong."""
        data = checked[: -self.size]
        return data if checked[-self.size :] == self.trailer(data) else None


def crc(
    name: str,
    width: int,
    polynomial: int,
    *,
    initial: int = 0,
    final: int = 0,
    reflected: bool = False,
    order: Order = "big",
) -> Checksum:
    """Return the CRC of ``width`` bits that these parameters of the catalogue describe.

    ``polynomial`` is written without its highest term and, as the catalogue
    has it, not reflected; ``final`` is combined by exclusive or at the end;
    ``reflected`` is for input and output alike.

    >>> sensirion = crc("CRC8_NRSC_5", 8, 0x31, initial=0xFF)
    >>> hex(sensirion.of(bytes.fromhex("be ef")))
    '0x92'
    """
    if width not in (8, 16, 32):
        raise ValueError(f"a CRC has 8, 16 or 32 bits here, not {width}")
    if reflected:
        table = _reflected_table(_reverse(polynomial, width))
        start = _reverse(initial, width)
        of = partial(_reflected_crc, table, start, final)
    else:
        table = _table(polynomial, width)
        of = partial(_crc, table, width - 8, (1 << width) - 1, initial, final)
    return Checksum(name, width // 8, order, of)


def _crc(
    table: tuple[int, ...], shift: int, mask: int, register: int, final: int, data: bytes
) -> int:
    for byte in data:
        register = (register << 8 & mask) ^ table[register >> shift ^ byte]
    return register ^ final


def _reflected_crc(table: tuple[int, ...], register: int, final: int, data: bytes) -> int:
    for byte in data:
        register = register >> 8 ^ table[(register ^ byte) & 0xFF]
    return register ^ final


def _table(polynomial: int, width: int) -> tuple[int, ...]:
    top, mask = 1 << (width - 1), (1 << width) - 1
    entries = []
    for value in range(256):
        register = value << (width - 8)
        for _ in range(8):
            register = (register << 1 & mask) ^ (polynomial if register & top else 0)
        entries.append(register)
    return tuple(entries)


def _reflected_table(polynomial: int) -> tuple[int, ...]:
    entries = []
    for register in range(256):
        for _ in range(8):
            register = register >> 1 ^ (polynomial if register & 1 else 0)
        entries.append(register)
    return tuple(entries)


def _reverse(value: int, width: int) -> int:
    return int(f"{value:0{width}b}"[::-1], 2)


SUM8 = Checksum("SUM8", 1, "big", lambda data: sum(data) & 0xFF)
"""The sum of all bytes, modulo 256."""

XOR8 = Checksum("XOR8", 1, "big", lambda data: reduce(xor, data, 0))
"""The exclusive or of all bytes: the block check character of ISO 1745, LRC of many boards."""

CRC8 = crc("CRC8", 8, 0x07)
"""CRC-8/SMBUS, as in the packet error code of SMBus 3.2."""

CRC8_MAXIM = crc("CRC8_MAXIM", 8, 0x31, reflected=True)
"""CRC-8/MAXIM-DOW, of 1-Wire devices (Maxim application note 27)."""

CRC16_MODBUS = crc("CRC16_MODBUS", 16, 0x8005, initial=0xFFFF, reflected=True, order="little")
"""CRC-16/MODBUS, low byte first (Modbus over serial line V1.02, 6.2.2)."""

CRC16_CCITT = Checksum("CRC16_CCITT", 2, "big", lambda data: crc_hqx(data, 0xFFFF))
"""CRC-16/IBM-3740, which most data sheets call CRC-CCITT (0xFFFF)."""

CRC16_XMODEM = Checksum("CRC16_XMODEM", 2, "big", lambda data: crc_hqx(data, 0))
"""CRC-16/XMODEM, begun at zero."""

CRC32 = Checksum("CRC32", 4, "little", crc32)
"""CRC-32/ISO-HDLC, of Ethernet and zip, low byte first."""
