r"""Frame payloads by Consistent Overhead Byte Stuffing: no zero within, one behind.

S. Cheshire and M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM
Transactions on Networking 7(2), 1999. A payload of any bytes costs one byte
more, and another for each 254; the zero that ends it can mean nothing else. An
optional checksum goes behind the payload before it is stuffed. Both forms of a
payload that ends with a full block of 254 bytes are read.

Resynchronisation: any zero brings the decoder back in step. A frame that noise
ran into is lost with it, and every later one is read; with ``leading=True`` the
encoder writes a zero before the frame as well, and then none is lost. Without
a checksum some noise is a frame by chance.

Refused by `Cobs.encode`: more than ``limit`` bytes. An empty payload is a
frame like another.
"""

from __future__ import annotations

from cobs.cobs import DecodeError
from cobs.cobs import decode as unstuff
from cobs.cobs import encode as stuff

from gateway.framing.checksums import Checksum
from gateway.framing.frame import Garbage
from gateway.framing.framing import ExpiringDecoder, check_limit, check_size
from gateway.framing.packet_decoder import PacketDecoder

_BLOCK = 254
"""Payload bytes that one byte of overhead can stand for."""


class Cobs:
    r"""Zero-ended frames whose payloads have up to ``limit`` bytes.

    >>> framing = Cobs(limit=16)
    >>> framing.encode(b"\x11\x00\x22")
    b'\x02\x11\x02"\x00'
    >>> decoder = framing.decoder()
    >>> decoder.feed(b"\x02\x11\x02")
    []
    >>> decoder.feed(b"\x22\x00\x09oops\x00")
    [Frame(payload=b'\x11\x00"'), Garbage(raw=b'\toops', reason='not COBS')]
    """

    silence: float | None = None

    def __init__(
        self, limit: int = 256, *, checksum: Checksum | None = None, leading: bool = False
    ) -> None:
        """Allow payloads up to ``limit`` bytes; `ValueError` below one."""
        check_limit(limit)
        self.limit = limit
        self.checksum = checksum
        self.leading = leading

    def __repr__(self) -> str:
        return f"Cobs(limit={self.limit}, checksum={self.checksum}, leading={self.leading})"

    def encode(self, payload: bytes) -> bytes:
        """Return ``payload`` stuffed, with its zero; `ValueError` above the limit."""
        check_size(payload, self.limit)
        if self.checksum is not None:
            payload = self.checksum.append(payload)
        stuffed: bytes = stuff(payload)
        return b"\0" + stuffed + b"\0" if self.leading else stuffed + b"\0"

    def decoder(self) -> ExpiringDecoder:
        """Return a decoder for one freshly opened stream."""
        plain = self.limit + (self.checksum.size if self.checksum else 0)
        longest = plain + plain // _BLOCK + 1
        return PacketDecoder(
            b"\0", self._unpack, limit=self.limit, longest=longest, checksum=self.checksum
        )

    def _unpack(self, packet: bytes) -> bytes | Garbage:
        try:
            unstuffed: bytes = unstuff(packet)
        except DecodeError:
            return Garbage(packet[: self.limit], "not COBS")
        return unstuffed
