"""The words of Firmata 2.x between host and board: to bytes, and from bytes to values.

Every data byte has seven bits; numbers go low bits first. Pure: no link, no
clock. Refused: numbers that do not fit (`ValueError`), and messages of a kind
that is known and whose content makes no sense (`ProtocolError`).

Reference: Firmata protocol 2.5.1 (github.com/firmata/protocol, protocol.md).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from drivers.firmata.framing import (
    ANALOG,
    DIGITAL,
    END_SYSEX,
    REPORT_ANALOG,
    REPORT_DIGITAL,
    SET_PIN_MODE,
    START_SYSEX,
    VERSION,
    kind_of,
)
from gateway.errors import ProtocolError

ANALOG_MAPPING_QUERY, ANALOG_MAPPING = 0x69, 0x6A
CAPABILITY_QUERY, CAPABILITIES = 0x6B, 0x6C
PIN_STATE_QUERY, PIN_STATE = 0x6D, 0x6E
EXTENDED_ANALOG, STRING, FIRMWARE, SAMPLING_INTERVAL = 0x6F, 0x71, 0x79, 0x7A

END_OF_PIN = 0x7F
"""Ends a pin's modes; in the mapping: a pin that is not analogue."""
LAST_PIN: Final = 127
SAMPLING: Final = (10, 16_383)
"""Milliseconds between two analogue values, least and most."""
DIRECT_PINS: Final = 16
"""Pins whose number fits into the analogue message itself."""


class Mode(IntEnum):
    """What a pin can be; others there are, for things that this driver does not do."""

    INPUT = 0
    OUTPUT = 1
    ANALOG = 2
    PWM = 3
    SERVO = 4
    PULLUP = 11


class Firmware(NamedTuple):
    """Who the board is."""

    major: int
    minor: int
    name: str


class Digital(NamedTuple):
    """The levels of the eight pins of a port, the lowest pin in bit 0."""

    port: int
    levels: int


class Analog(NamedTuple):
    """The value of an analogue channel (A0 is 0)."""

    channel: int
    value: int


class Text(NamedTuple):
    """Something the board says in words, mostly an error."""

    text: str


class Started(NamedTuple):
    """The protocol's version; a board tells it unasked when it has started."""

    major: int
    minor: int


Message = Firmware | Digital | Analog | Text | Started


def query(sub_command: int, *data: int) -> bytes:
    """Return a sysex question.

    >>> query(FIRMWARE).hex(" "), query(PIN_STATE_QUERY, 13).hex(" ")
    ('f0 79 f7', 'f0 6d 0d f7')
    """
    return bytes([START_SYSEX, sub_command, *data, END_SYSEX])


def answer(sub_command: int, *data: int) -> bytes:
    """Return what the answer begins with."""
    return bytes([START_SYSEX, sub_command, *data])


def set_pin_mode(pin: int, mode: Mode) -> bytes:
    """Return the order to use ``pin`` as ``mode``."""
    return bytes([SET_PIN_MODE, _seven(pin), mode])


def report_digital(port: int, on: bool) -> bytes:
    """Return the order to report a port's levels whenever one changes."""
    return bytes([REPORT_DIGITAL | _four(port), on])


def report_analog(channel: int, on: bool) -> bytes:
    """Return the order to report a channel's value at every sampling interval."""
    return bytes([REPORT_ANALOG | _four(channel), on])


def write_digital(port: int, levels: int) -> bytes:
    """Return the order to set the output pins of a port; others get or lose their pull-up.

    >>> write_digital(1, 0b1010_0000).hex(" ")
    '91 20 01'
    """
    return bytes([DIGITAL | _four(port), *_septets(levels, 2)])


def write_analog(pin: int, value: int) -> bytes:
    """Return the order to hold ``value``, up to 14 bits, on a PWM or servo pin.

    >>> write_analog(9, 255).hex(" "), write_analog(44, 255).hex(" ")
    ('e9 7f 01', 'f0 6f 2c 7f 01 f7')
    """
    data = _septets(value, 2)
    if pin < DIRECT_PINS:
        return bytes([ANALOG | _four(pin), *data])
    return query(EXTENDED_ANALOG, _seven(pin), *data)


def sampling_interval(milliseconds: int) -> bytes:
    """Return the order to report analogue values so often."""
    least, most = SAMPLING
    if not least <= milliseconds <= most:
        raise ValueError(f"a sampling interval is {least} to {most} ms, not {milliseconds}")
    return query(SAMPLING_INTERVAL, *_septets(milliseconds, 2))


def parse(message: bytes) -> Message | None:
    """Return what ``message`` says; None for kinds that nobody here reads.

    >>> parse(bytes.fromhex("e2 7f 07")), parse(bytes.fromhex("91 21 01"))
    (Analog(channel=2, value=1023), Digital(port=1, levels=161))
    """
    first = message[0] if message else 0
    kind = kind_of(first)
    if kind in (ANALOG, DIGITAL, VERSION) and len(message) != 3:
        raise ProtocolError(f"{message[:20].hex(' ')} is no whole message")
    if kind == ANALOG:
        return Analog(first & 0x0F, _number(message[1:]))
    if kind == DIGITAL:
        return Digital(first & 0x0F, _number(message[1:]) & 0xFF)
    if kind == VERSION:
        return Started(message[1], message[2])
    data = message[2:-1]
    if message[1:2] == bytes([FIRMWARE]):
        return firmware(data)
    if message[1:2] == bytes([STRING]):
        return Text(_text(data))
    return None


def firmware(data: bytes) -> Firmware:
    """Return name and version from the data of a firmware report."""
    if len(data) < 2:
        raise ProtocolError(f"a firmware has a version, and {data.hex(' ')!r} is none")
    name = _text(data[2:])
    return Firmware(data[0], data[1], name.removesuffix(".ino"))


def capabilities(data: bytes) -> list[dict[int, int]]:
    """Return for each pin the modes that it has, by number, with their resolution in bits.

    >>> capabilities(bytes.fromhex("7f 00 01 01 01 03 08 7f"))
    [{}, {0: 1, 1: 1, 3: 8}]
    """
    *pins, rest = data.split(bytes([END_OF_PIN]))
    if rest or any(len(pin) % 2 for pin in pins) or len(pins) > LAST_PIN + 1:
        raise ProtocolError(f"{len(data)} bytes of capabilities that do not come out even")
    return [dict(zip(pin[::2], pin[1::2], strict=True)) for pin in pins]


def analog_mapping(data: bytes) -> dict[int, int]:
    """Return the pin of each analogue channel.

    >>> analog_mapping(bytes.fromhex("7f 7f 00 01"))
    {0: 2, 1: 3}
    """
    return {channel: pin for pin, channel in enumerate(data) if channel != END_OF_PIN}


def pin_state(data: bytes) -> tuple[int, int]:
    """Return mode and state from the data of a pin's state, behind the pin's number."""
    if len(data) < 2:
        raise ProtocolError("a pin's state is its mode and at least seven bits")
    return data[0], _number(data[1:])


def _number(data: bytes) -> int:
    return sum(byte << 7 * place for place, byte in enumerate(data))


def _septets(value: int, count: int) -> list[int]:
    if not 0 <= value < 1 << 7 * count:
        raise ValueError(f"{value} does not fit into {7 * count} bits")
    return [value >> 7 * place & 0x7F for place in range(count)]


def _text(data: bytes) -> str:
    """Return text whose characters come as two septets each; what is odd or no text is shown."""
    characters = bytes(low | (high & 1) << 7 for low, high in zip(data[::2], data[1::2]))  # noqa: B905
    return characters.decode("utf-8", "backslashreplace")


def _seven(number: int) -> int:
    if not 0 <= number <= LAST_PIN:
        raise ValueError(f"pins go from 0 to {LAST_PIN}, not to {number}")
    return number


def _four(number: int) -> int:
    if not 0 <= number <= 15:
        raise ValueError(f"ports and channels go from 0 to 15, not to {number}")
    return number
