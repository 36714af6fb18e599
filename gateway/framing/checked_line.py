r"""Frame payloads as ``payload*XX\n``, where XX is their xor in hex.

The checksum is that of NMEA 0183 (the exclusive or of all payload bytes, two
hexadecimal digits), without its leading ``$``. Either case of the digits and
``\r\n`` are read; ``\n`` and capitals are written. Blank lines are skipped
and endless ones bounded, as in `gateway.framing.line`.

Refused by `CheckedLine.encode`: a line end within the payload, more than
``limit`` bytes. An empty payload is a frame like another: ``*00``.
"""

from __future__ import annotations

from functools import reduce
from operator import xor

from gateway.framing.frame import Frame, Garbage
from gateway.framing.framing import Decoder
from gateway.framing.line import LINE_FEED, RETURN, LineDecoder, check_payload

_CHECKSUM = 3
"""Bytes that ``*XX`` takes."""

_MARKS = tuple(b"*%02X" % value for value in range(256))
"""Every checksum as it is written, at the end of its line."""

_ENDS = tuple(mark + b"\n" for mark in _MARKS)
"""Every end of a line as it is written."""


class CheckedLine:
    r"""Checksummed lines whose payloads have up to ``limit`` bytes.

    >>> framing = CheckedLine(limit=16)
    >>> framing.encode(b"V10")
    b'V10*57\n'
    >>> decoder = framing.decoder()
    >>> decoder.feed(b"V10*5")
    []
    >>> decoder.feed(b"7\noops\n")
    [Frame(payload=b'V10'), Garbage(raw=b'oops', reason='no checksum')]
    """

    silence: float | None = None

    def __init__(self, limit: int = 256) -> None:
        """Allow payloads up to ``limit`` bytes; `ValueError` below one."""
        if limit < 1:
            raise ValueError(f"a line needs a limit of at least 1 byte, not {limit}")
        self.limit = limit

    def __repr__(self) -> str:
        return f"CheckedLine(limit={self.limit})"

    def encode(self, payload: bytes) -> bytes:
        r"""Return ``payload*XX\n``; `ValueError` where that is no single line."""
        if len(payload) > self.limit or LINE_FEED in payload or RETURN in payload:
            check_payload(payload, self.limit)
        return payload + _ENDS[reduce(xor, payload, 0)]

    def decoder(self) -> Decoder:
        """Return a decoder for one freshly opened stream."""
        return CheckedLineDecoder(self.limit + _CHECKSUM)


class CheckedLineDecoder(LineDecoder):
    """Cuts a stream into lines and believes those whose checksum is right."""

    def judge(self, line: bytes) -> Frame | Garbage:
        """Return the payload as a frame, or the line as garbage."""
        payload, mark = line[:-3], line[-3:]
        right = _MARKS[reduce(xor, payload, 0)]
        # Compared as text: int() would also take the digits "+5" and " 5".
        if mark == right or mark.upper() == right:
            return Frame(payload)
        return Garbage(line, "wrong checksum" if mark.startswith(b"*") else "no checksum")


def checksum(payload: bytes) -> int:
    """Return the exclusive or of all bytes of ``payload``, 0 to 255."""
    return reduce(xor, payload, 0)
