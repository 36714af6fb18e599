r"""Firmata messages out of bytes: MIDI's format, told apart by their first byte.

A byte of 0x80 and above begins a message, and its data are bytes below: so each
message behind noise or a broken one is found at once. There is no checksum;
a damaged data byte is a wrong value that nobody can see.

The payload is the whole message, ``F0 … F7`` included. Read are the messages
that a board sends: analogue and digital values, the version, and sysex. Refused
by `Messages.encode`: what is not exactly one message.

Reference: Firmata protocol 2.5.1, "Message Types" and "Sysex Message Format".
"""

from __future__ import annotations

from gateway.framing.frame import Frame, Garbage
from gateway.framing.framing import Decoder

START_SYSEX, END_SYSEX = 0xF0, 0xF7
ANALOG, DIGITAL = 0xE0, 0x90
REPORT_ANALOG, REPORT_DIGITAL = 0xC0, 0xD0
SET_PIN_MODE, SET_PIN, VERSION, RESET = 0xF4, 0xF5, 0xF9, 0xFF

_SENT = {
    ANALOG: 2,
    DIGITAL: 2,
    REPORT_ANALOG: 1,
    REPORT_DIGITAL: 1,
    SET_PIN_MODE: 2,
    SET_PIN: 2,
    VERSION: 2,
    RESET: 0,
}
"""Messages and how many data bytes they have."""
_HEARD = {kind: _SENT[kind] for kind in (ANALOG, DIGITAL, VERSION)}
_WITH_CHANNEL = range(0x80, 0xF0)
"""First bytes of whose lower half is a channel, pin or port."""


def kind_of(first: int) -> int:
    """Return the kind of message that a first byte begins, without channel or port."""
    return first & 0xF0 if first in _WITH_CHANNEL else first


class Messages:
    """Messages of up to ``limit`` bytes; the answer of a Mega to what it can takes some 1,000.

    >>> Messages().decoder().feed(bytes.fromhex("12 e0 7f 07 f0 79 f7"))
    [Garbage(raw=b'\\x12', reason='no message'), Frame(payload=b'\\xe0\\x7f\\x07'), \
Frame(payload=b'\\xf0y\\xf7')]
    """

    silence: float | None = None

    def __init__(self, limit: int = 2048) -> None:
        """Allow messages up to ``limit`` bytes; `ValueError` below three."""
        if limit < 3:
            raise ValueError(f"a message has 3 bytes at least, so {limit} is no limit")
        self.limit = limit

    def __repr__(self) -> str:
        return f"Messages(limit={self.limit})"

    def encode(self, payload: bytes) -> bytes:
        """Return ``payload``; `ValueError` where that is not one message."""
        if len(payload) > self.limit:
            raise ValueError(f"a message of {len(payload)} bytes; the limit is {self.limit}")
        if payload[:1] == b"\xf0":
            data, whole = payload[1:-1], len(payload) > 1 and payload[-1] == END_SYSEX
        else:
            data = payload[1:]
            whole = bool(payload) and _SENT.get(kind_of(payload[0])) == len(data)
        if not whole or any(byte >= 0x80 for byte in data):
            raise ValueError(f"{payload[:20].hex(' ')} is not one Firmata message")
        return payload

    def decoder(self) -> Decoder:
        """Return a decoder for one freshly opened stream."""
        return MessageDecoder(self.limit)


class MessageDecoder:
    """Cuts what a board sends into messages."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begun = bytearray()
        self._left = 0  # data bytes that the message lacks; -1 within a sysex
        self._noise = bytearray()
        self._told = False  # the stretch of noise that we are in

    def feed(self, data: bytes, /) -> list[Frame | Garbage]:
        """Return the messages and the noise that ``data`` completes, in wire order."""
        events: list[Frame | Garbage] = []
        for byte in data:
            if byte >= 0x80:
                self._status(byte, events)
            elif not self._begun:
                self._condemn(bytes([byte]), events)
            elif len(self._begun) >= self._limit:
                self._condemn(bytes(self._begun), events)
                self._begun.clear()
            else:
                self._begun.append(byte)
                if self._left > 0:
                    self._left -= 1
                    if not self._left:
                        self._complete(events)
        return events

    def reset(self) -> None:
        """Forget half a message, and the noise before it."""
        self._begun.clear()
        self._noise.clear()
        self._told = False

    def _status(self, byte: int, events: list[Frame | Garbage]) -> None:
        if byte == END_SYSEX and self._begun[:1] == b"\xf0" and len(self._begun) < self._limit:
            self._begun.append(byte)
            self._complete(events)
            return
        if self._begun:
            self._condemn(bytes(self._begun), events)
            self._begun.clear()
        wanted = -1 if byte == START_SYSEX else _HEARD.get(kind_of(byte), 0)
        if wanted:
            self._begun.append(byte)
            self._left = wanted
        else:
            self._condemn(bytes([byte]), events)

    def _complete(self, events: list[Frame | Garbage]) -> None:
        self._tell(events)
        self._told = False
        events.append(Frame(bytes(self._begun)))
        self._begun.clear()

    def _condemn(self, raw: bytes, events: list[Frame | Garbage]) -> None:
        if not self._told:
            self._noise += raw
            if len(self._noise) > self._limit:
                self._tell(events)
                self._told = True

    def _tell(self, events: list[Frame | Garbage]) -> None:
        if self._noise:
            events.append(Garbage(bytes(self._noise[: self._limit]), "no message"))
            self._noise.clear()
