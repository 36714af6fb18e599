r"""Telnet, as far as a serial port needs it: data, options, subnegotiations (RFC 854, 855).

A byte 255 in the data is sent twice; a single one begins a command. `Decoder`
takes the commands out of a stream, however it was sliced; `Options` answers
what the other end offers or asks for, each once, so that no two ends answer
each other for ever.

This module moves no bytes. A subnegotiation of more than `LIMIT` bytes is
skipped; commands that mean nothing to a serial port (``NOP``, ``AYT``) as well.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
BINARY, SUPPRESS_GO_AHEAD = 0, 3

LIMIT = 256
"""Bytes of a subnegotiation that are kept; those of a serial port have six."""

_IAC = bytes([IAC])


class Negotiation(NamedTuple):
    """``verb`` is `WILL`, `WONT`, `DO` or `DONT`."""

    verb: int
    option: int


class Subnegotiation(NamedTuple):
    """What is said within an option."""

    option: int
    payload: bytes


Event = Negotiation | Subnegotiation


def escaped(data: bytes) -> bytes:
    r"""Return ``data`` as it is sent.

    >>> escaped(b"a\xffb")
    b'a\xff\xffb'
    """
    return data.replace(_IAC, _IAC + _IAC) if IAC in data else data


def negotiation(verb: int, option: int) -> bytes:
    """Return one offer, request or answer."""
    return bytes([IAC, verb, option])


def subnegotiation(option: int, payload: bytes) -> bytes:
    """Return one subnegotiation."""
    return bytes([IAC, SB, option]) + escaped(payload) + bytes([IAC, SE])


class Decoder:
    r"""Takes the commands out of one stream.

    >>> decoder = Decoder()
    >>> decoder.feed(b"a\xff\xffb\xff\xfd")
    (b'a\xffb', [])
    >>> decoder.feed(b"\x2cc")
    (b'c', [Negotiation(verb=253, option=44)])
    """

    def __init__(self) -> None:
        self._command = False  # the byte before was an IAC that stands for no data
        self._verb: int | None = None  # of a negotiation whose option is still to come
        self._inside: bytearray | None = None  # of a subnegotiation

    def feed(self, data: bytes) -> tuple[bytes, list[Event]]:
        """Return the data in ``data``, and the commands that it completes, in order."""
        events: list[Event] = []
        if IAC not in data and not self._command and self._verb is None and self._inside is None:
            return data, events
        payload = bytearray()
        for byte in data:
            if self._verb is not None:
                events.append(Negotiation(self._verb, byte))
                self._verb = None
            elif self._command:
                self._command = False
                if byte == IAC:
                    self._keep(byte, payload)
                else:
                    self._obey(byte, events)
            elif byte == IAC:
                self._command = True
            else:
                self._keep(byte, payload)
        return bytes(payload), events

    def _keep(self, byte: int, payload: bytearray) -> None:
        if self._inside is None:
            payload.append(byte)
        elif len(self._inside) <= LIMIT:
            self._inside.append(byte)

    def _obey(self, command: int, events: list[Event]) -> None:
        if WILL <= command <= DONT:
            self._verb = command
        elif command == SB:
            self._inside = bytearray()
        elif command == SE:
            inside, self._inside = self._inside, None
            if inside and len(inside) <= LIMIT:
                events.append(Subnegotiation(inside[0], bytes(inside[1:])))


class Options:
    """What this end has agreed to; ``wanted`` are the options that it takes, both ways."""

    def __init__(self, wanted: Collection[int]) -> None:
        self._wanted = frozenset(wanted)
        self._said: dict[tuple[int, int], bool] = {}

    def begin(self) -> bytes:
        """Return what offers and asks for all that is wanted."""
        said = b""
        for option in sorted(self._wanted):
            for verb in (WILL, DO):
                self._said[verb, option] = True
                said += negotiation(verb, option)
        return said

    def answer(self, heard: Negotiation) -> bytes:
        """Return the answer to ``heard``; empty where it confirms what was said."""
        yes, no = (WILL, WONT) if heard.verb in (DO, DONT) else (DO, DONT)
        asks = heard.verb in (DO, WILL)
        agrees = asks and heard.option in self._wanted
        # Who says no to what nobody did is answered by nothing.
        if self._said.get((yes, heard.option), None if asks else False) is agrees:
            return b""
        self._said[yes, heard.option] = agrees
        return negotiation(yes if agrees else no, heard.option)
