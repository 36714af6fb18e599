r"""Frame payloads by an end mark of any bytes, and an optional start mark and silence.

``end`` may be ``\r``, ``\x03`` or ``OK\r\n``. With a ``start`` mark there may be
a checksum, which follows the end mark and covers payload and end mark, as the
block check character of ISO 1745 and IEC 62056-21 does. Nothing is escaped.

Resynchronisation: with a start mark every frame in any noise is found, also
where the noise ends in half a frame, since a start mark always begins anew;
with a checksum only noise that has a right one by chance is believed, and takes a
frame's place where its checksum runs into that; with ``overlapping=True`` it takes none
(`gateway.framing.overlapping_decoder`). Without a start mark the frame that noise ran
into is lost with it, and every later one is read. ``silence`` seconds without a byte
give up what has no end yet, so that noise before a pause costs no frame behind it.

Refused by `Delimited.encode`: a mark within the payload or across its edges,
more than ``limit`` bytes, an empty payload without a start mark. Refused at
once: marks that overlap, since noise before a frame could then end within its
start mark, and a checksum without a start mark.
"""

from __future__ import annotations

from gateway.framing.checksums import Checksum
from gateway.framing.framing import (
    ExpiringDecoder,
    check_limit,
    check_overlapping,
    check_silence,
    check_size,
)
from gateway.framing.overlapping_decoder import OverlappingDecoder
from gateway.framing.packet_decoder import PacketDecoder
from gateway.framing.scanning_decoder import ScanningDecoder
from gateway.framing.shape import NONE, UNKNOWN, Shape


class Delimited:
    r"""Frames up to an end mark, whose payloads have up to ``limit`` bytes.

    >>> framing = Delimited(b"\r", limit=16)
    >>> framing.decoder().feed(framing.encode(b"T21.5") + b"T2")
    [Frame(payload=b'T21.5')]
    >>> marked = Delimited(b"\x03", start=b"\x02", limit=16)
    >>> marked.encode(b"T21.5")
    b'\x02T21.5\x03'
    >>> marked.decoder().feed(b"oops\x02T2\x02T21.5\x03")
    [Garbage(raw=b'oops\x02T2', reason='no start mark'), Frame(payload=b'T21.5')]
    """

    def __init__(
        self,
        end: bytes,
        *,
        start: bytes = b"",
        limit: int = 256,
        checksum: Checksum | None = None,
        silence: float | None = None,
        overlapping: bool = False,
    ) -> None:
        """Allow payloads up to ``limit`` bytes; `ValueError` for marks that cannot work.

        ``overlapping`` hands on frames that share bytes as well, which takes a checksum.
        """
        check_limit(limit)
        check_silence(silence)
        check_overlapping(overlapping, checksum)
        if not end:
            raise ValueError("an end mark has at least 1 byte; Silent has frames without")
        if start and (start in end or any(start.startswith(end[at:]) for at in range(len(end)))):
            raise ValueError(
                f"the end mark {end!r} and the start mark {start!r} overlap; "
                f"Slip has one mark for both"
            )
        if checksum is not None and not start:
            raise ValueError("a checksum needs a start mark here; Cobs and Slip need none")
        self.end = end
        self.start = start
        self.limit = limit
        self.checksum = checksum
        self.silence = silence
        self.overlapping = overlapping

    def __repr__(self) -> str:
        return (
            f"Delimited({self.end!r}, start={self.start!r}, limit={self.limit}, "
            f"checksum={self.checksum}, silence={self.silence}, overlapping={self.overlapping})"
        )

    def encode(self, payload: bytes) -> bytes:
        """Return ``payload`` between its marks; `ValueError` where they would not be seen."""
        check_size(payload, self.limit)
        if not payload and not self.start:
            raise ValueError("an empty payload without a start mark, which nobody reads")
        body = payload + self.end
        frame = self.start + body
        if body.find(self.end) < len(payload) or (self.start and frame.find(self.start, 1) >= 0):
            raise ValueError(f"a mark within the payload {payload[:40]!r}")
        return frame if self.checksum is None else frame + self.checksum.trailer(body)

    def decoder(self) -> ExpiringDecoder:
        """Return a decoder for one freshly opened stream."""
        if self.start:
            shape = DelimitedShape(self)
            return OverlappingDecoder(shape) if self.overlapping else ScanningDecoder(shape)
        return PacketDecoder(self.end, bytes, limit=self.limit, longest=self.limit)


class DelimitedShape(Shape):
    """From a start mark to the next end mark, and the checksum behind that."""

    def __init__(self, framing: Delimited) -> None:
        self._end = framing.end
        self._checksum = framing.checksum
        self._payload_at = len(framing.start)
        self._trailer = 0 if framing.checksum is None else framing.checksum.size
        self._marked = self._payload_at + framing.limit + len(framing.end)
        super().__init__(framing.start, limit=framing.limit, longest=self._marked + self._trailer)

    def measure(self, held: bytes, at: int) -> int:
        """Return marks, payload and checksum together."""
        # Nothing beyond the longest frame is looked at, so that the verdict
        # is the same whether or not it has come yet.
        beyond = at + self._marked
        end = held.find(self._end, at + self._payload_at, beyond)
        again = held.find(self.start, at + 1, beyond if end < 0 else end + len(self._end))
        if again >= 0:
            return NONE
        if end >= 0:
            return end - at + len(self._end) + self._trailer
        return NONE if len(held) >= beyond else UNKNOWN

    def unpack(self, candidate: bytes) -> bytes | None:
        """Return the payload where the checksum is right."""
        body: bytes | None = candidate[self._payload_at :]
        if self._checksum is not None and body is not None:
            body = self._checksum.strip(body)
        return None if body is None else body[: -len(self._end)]

    @property
    def misfit(self) -> str:
        """No end mark where one should have been."""
        return "no end mark"
