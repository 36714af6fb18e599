r"""Frame payloads by SLIP: ``\xc0`` ends one, and is escaped within.

J. Romkey, RFC 1055 (1988). As its sample code does, the encoder writes an END
before the packet too, which flushes noise off the line; ``leading=False`` is
for boards that take that for an empty packet. An optional checksum goes behind
the payload before it is escaped. Where the RFC leaves a wrong escape alone, it
is garbage here: a packet with one was damaged.

Resynchronisation: any END brings the decoder back in step, so that a frame
with a leading one is read after any noise; a frame without one is lost where
noise ran into it, and every later one is read. Without a checksum most noise
between two ENDs is a frame.

Refused by `Slip.encode`: an empty payload without a checksum (receivers skip
it), more than ``limit`` bytes.
"""

from __future__ import annotations

from gateway.framing.checksums import Checksum
from gateway.framing.frame import Garbage
from gateway.framing.framing import ExpiringDecoder, check_limit, check_size
from gateway.framing.packet_decoder import PacketDecoder

END, ESC = b"\xc0", b"\xdb"
_ESCAPED_END, _ESCAPED_ESC = b"\xdb\xdc", b"\xdb\xdd"


class Slip:
    r"""SLIP frames whose payloads have 1 to ``limit`` bytes.

    >>> framing = Slip(limit=16, leading=False)
    >>> framing.encode(b"a\xc0b\xdb")
    b'a\xdb\xdcb\xdb\xdd\xc0'
    >>> decoder = framing.decoder()
    >>> decoder.feed(b"\xc0a\xdb")
    []
    >>> decoder.feed(b"\xdcb\xc0oops\xdb\xc0")
    [Frame(payload=b'a\xc0b'), Garbage(raw=b'oops\xdb', reason='wrong escape')]
    """

    silence: float | None = None

    def __init__(
        self, limit: int = 256, *, checksum: Checksum | None = None, leading: bool = True
    ) -> None:
        """Allow payloads up to ``limit`` bytes; `ValueError` below one."""
        check_limit(limit)
        self.limit = limit
        self.checksum = checksum
        self.leading = leading

    def __repr__(self) -> str:
        return f"Slip(limit={self.limit}, checksum={self.checksum}, leading={self.leading})"

    def encode(self, payload: bytes) -> bytes:
        """Return ``payload`` escaped, with its ENDs; `ValueError` where that is no packet."""
        check_size(payload, self.limit)
        if self.checksum is not None:
            payload = self.checksum.append(payload)
        elif not payload:
            raise ValueError("an empty payload makes an empty packet, which nobody reads")
        # The escape first, or it would escape the escapes of the others.
        escaped = payload.replace(ESC, _ESCAPED_ESC).replace(END, _ESCAPED_END)
        return (END if self.leading else b"") + escaped + END

    def decoder(self) -> ExpiringDecoder:
        """Return a decoder for one freshly opened stream."""
        longest = 2 * (self.limit + (self.checksum.size if self.checksum else 0))
        return PacketDecoder(
            END, self._unpack, limit=self.limit, longest=longest, checksum=self.checksum
        )

    def _unpack(self, packet: bytes) -> bytes | Garbage:
        if ESC not in packet:
            return packet
        if packet.count(ESC) != packet.count(_ESCAPED_END) + packet.count(_ESCAPED_ESC):
            return Garbage(packet[: self.limit], "wrong escape")
        return packet.replace(_ESCAPED_END, END).replace(_ESCAPED_ESC, ESC)
