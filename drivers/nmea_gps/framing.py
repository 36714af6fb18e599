r"""NMEA 0183 sentences: ``$payload*XX\r\n``, where XX is the payload's xor in hex.

A ``$`` begins a sentence wherever it stands, since none may hold one; so the
sentence behind a stretch of noise is found even where the noise has no line
end. ``\r``, ``\n`` or both end it. What is no sentence becomes one `Garbage` a
stretch, of up to ``limit`` bytes; the rest of an endless one is skipped unread.

Refused by `Sentences.encode`: an empty payload, more than ``limit`` bytes, and
bytes that NMEA 0183 reserves (``$``, ``*``, control characters, beyond ASCII).
Not taken for frames: sentences without a checksum, which anything could be,
and the encapsulated ones of AIS, which begin with ``!``.
"""

from __future__ import annotations

import re

from gateway.framing.checked_line import checksum
from gateway.framing.frame import Frame, Garbage
from gateway.framing.framing import Decoder

_DOLLAR = ord("$")
_END = re.compile(rb"[$\r\n]")
_PLAIN = re.compile(rb"[ -#%-)+-~]+")
_CHECKED = re.compile(rb"\$([ -#%-)+-~]+)\*([0-9A-Fa-f]{2})")


class Sentences:
    r"""Sentences whose payload has up to ``limit`` bytes; the standard's own limit is 78.

    >>> framing = Sentences()
    >>> framing.encode(b"PMTK220,1000")
    b'$PMTK220,1000*1F\r\n'
    >>> framing.decoder().feed(b"oops$GPGLL,1*4D\r\n")
    [Garbage(raw=b'oops', reason='no sentence'), Frame(payload=b'GPGLL,1')]
    """

    silence: float | None = None

    def __init__(self, limit: int = 120) -> None:
        """Allow payloads up to ``limit`` bytes; `ValueError` below one."""
        if limit < 1:
            raise ValueError(f"a sentence needs a limit of at least 1 byte, not {limit}")
        self.limit = limit

    def __repr__(self) -> str:
        return f"Sentences(limit={self.limit})"

    def encode(self, payload: bytes) -> bytes:
        r"""Return ``$payload*XX\r\n``; `ValueError` where that is no sentence."""
        if len(payload) > self.limit:
            raise ValueError(f"a payload of {len(payload)} bytes; the limit is {self.limit}")
        if not _PLAIN.fullmatch(payload):
            raise ValueError(f"a sentence is ASCII without $ and *, not {payload[:40]!r}")
        return b"$%b*%02X\r\n" % (payload, checksum(payload))

    def decoder(self) -> Decoder:
        """Return a decoder for one freshly opened stream."""
        return SentenceDecoder(self.limit)


class SentenceDecoder:
    """Cuts a stream into sentences and believes those whose checksum is right."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._longest = limit + len(b"$*XX")
        self._tail = b""
        self._skipping = False  # inside a stretch that was condemned already

    def feed(self, data: bytes, /) -> list[Frame | Garbage]:
        """Return the frames and the noise that ``data`` completes, in wire order."""
        events: list[Frame | Garbage] = []
        data = self._tail + data
        begin = 0
        while found := _END.search(data, begin + (data[begin : begin + 1] == b"$")):
            end = found.start()
            self._cut(data[begin:end], events, ended=data[end] != _DOLLAR)
            begin = end if data[end] == _DOLLAR else end + 1
        self._tail = data[begin:]
        if self._skipping and self._tail[:1] != b"$":
            self._tail = b""
        elif len(self._tail) > self._longest:
            self._condemn(self._tail, events)
            self._tail = b""
            self._skipping = True
        return events

    def reset(self) -> None:
        """Forget a half-read sentence."""
        self._tail = b""
        self._skipping = False

    def _cut(self, piece: bytes, events: list[Frame | Garbage], *, ended: bool) -> None:
        """Judge what stood before a line end, or, where none ``ended`` it, before a ``$``."""
        if self._skipping and piece[:1] != b"$":
            self._skipping = False
            return
        self._skipping = False
        if not piece:
            return
        if len(piece) > self._longest:
            self._condemn(piece, events)
        elif not piece.startswith(b"$"):
            events.append(Garbage(piece[: self._limit], "no sentence"))
        elif not ended:
            events.append(Garbage(piece[: self._limit], "broken off"))
        else:
            events.append(self._judge(piece))

    def _judge(self, piece: bytes) -> Frame | Garbage:
        sentence = _CHECKED.fullmatch(piece)
        if sentence is None:
            return Garbage(piece[: self._limit], "no checksum")
        payload, digits = sentence.groups()
        if checksum(payload) != int(digits, 16):
            return Garbage(piece[: self._limit], "wrong checksum")
        return Frame(payload)

    def _condemn(self, piece: bytes, events: list[Frame | Garbage]) -> None:
        events.append(Garbage(piece[: self._limit], f"longer than {self._limit} bytes"))
