r"""Frame payloads by their length: an optional start mark, the length, the payload, a checksum.

``size`` bytes of length in ``order``; ``extra`` is what the length counts
besides the payload (2 where it includes a CRC-16, say). The checksum covers
the payload, or from the ``length`` or the ``start`` mark on.

Resynchronisation: with a checksum every frame in any noise is found, once the
frame that a false start pretends to be is complete, at the latest ``limit`` and
a few bytes later, or after ``silence`` seconds where that is given. Only noise
with a checksum that is right by chance (1 in 256 tries for 8 bits, in 65,536
for 16) can take a frame's place. So can a frame that has lost its last byte,
whatever the checksum, where the next one happens to begin with that byte. With
a start mark and no checksum the promise holds for noise in which the mark does
not occur. With neither nothing is promised after a lost byte, unless there is a
``silence``, which begins a new frame.

``overlapping=True`` leaves no frame out: such a false one comes as well, and so does
every frame that shares bytes with it, or is carried in it, in the order in which they
end (`gateway.framing.overlapping_decoder`, which says what that costs). It is for
drivers that judge each frame by what it says and would rather refuse one than
miss one: with 8 bits of checksum one in 256 places where a frame could begin looks
like one, within healthy frames too.

A byte of noise can cost one checksum over ``limit`` bytes, and without a start
mark it does: choose a limit no larger than the board's longest frame.

Refused by `LengthPrefixed.encode`: more than ``limit`` bytes. An empty
payload is a frame like another.
"""

from __future__ import annotations

from typing import Literal

from gateway.framing.checksums import Checksum, Order
from gateway.framing.framing import (
    ExpiringDecoder,
    check_limit,
    check_overlapping,
    check_silence,
    check_size,
)
from gateway.framing.overlapping_decoder import OverlappingDecoder
from gateway.framing.scanning_decoder import ScanningDecoder
from gateway.framing.shape import NONE, UNKNOWN, Shape

Covered = Literal["payload", "length", "start"]


class LengthPrefixed:
    r"""Frames that say how long they are.

    >>> from gateway.framing import checksums
    >>> framing = LengthPrefixed(limit=64, start=b"\xaa", checksum=checksums.CRC16_CCITT)
    >>> framing.encode(b"V10")
    b'\xaa\x03V10 \x05'
    >>> decoder = framing.decoder()
    >>> decoder.feed(b"\xaa\x02oops" + framing.encode(b"V10"))
    [Garbage(raw=b'\xaa\x02oops', reason='wrong checksum'), Frame(payload=b'V10')]

    Here the first frame has lost its last byte, and the second begins with the same:

    >>> stream = bytes.fromhex("02 01 02") + bytes.fromhex("03 0a 0b 0c 21")
    >>> LengthPrefixed(16, checksum=checksums.SUM8).decoder().feed(stream)
    [Frame(payload=b'\x01\x02')]
    >>> LengthPrefixed(16, checksum=checksums.SUM8, overlapping=True).decoder().feed(stream)
    [Frame(payload=b'\x01\x02'), Frame(payload=b'\n\x0b\x0c')]
    """

    def __init__(
        self,
        limit: int = 255,
        *,
        start: bytes = b"",
        size: Literal[1, 2, 4] = 1,
        order: Order = "big",
        extra: int = 0,
        checksum: Checksum | None = None,
        covers: Covered = "payload",
        silence: float | None = None,
        overlapping: bool = False,
    ) -> None:
        """Allow payloads up to ``limit`` bytes; `ValueError` where the length cannot say so.

        ``overlapping`` hands on frames that share bytes as well, which takes a checksum.
        """
        check_limit(limit)
        check_silence(silence)
        check_overlapping(overlapping, checksum)
        if extra < 0 or limit + extra >= 1 << 8 * size:
            raise ValueError(
                f"{size} bytes of length cannot say {limit} and {extra} more; "
                f"choose a smaller limit or a larger size"
            )
        self.limit = limit
        self.start = start
        self.size = size
        self.order: Order = order
        self.extra = extra
        self.checksum = checksum
        self.covers = covers
        self.silence = silence
        self.overlapping = overlapping

    def __repr__(self) -> str:
        return (
            f"LengthPrefixed(limit={self.limit}, start={self.start!r}, size={self.size}, "
            f"order={self.order!r}, extra={self.extra}, checksum={self.checksum}, "
            f"covers={self.covers!r}, silence={self.silence}, overlapping={self.overlapping})"
        )

    @property
    def covered_from(self) -> int:
        """Where in a frame the checksum begins to count."""
        return {"start": 0, "length": len(self.start), "payload": len(self.start) + self.size}[
            self.covers
        ]

    def encode(self, payload: bytes) -> bytes:
        """Return the frame around ``payload``; `ValueError` above the limit."""
        check_size(payload, self.limit)
        length = (len(payload) + self.extra).to_bytes(self.size, self.order)
        frame = self.start + length + payload
        if self.checksum is not None:
            frame += self.checksum.trailer(frame[self.covered_from :])
        return frame

    def decoder(self) -> ExpiringDecoder:
        """Return a decoder for one freshly opened stream."""
        shape = LengthPrefixedShape(self)
        return OverlappingDecoder(shape) if self.overlapping else ScanningDecoder(shape)


class LengthPrefixedShape(Shape):
    """Header, payload and checksum, as the header says."""

    def __init__(self, framing: LengthPrefixed) -> None:
        self._checksum = framing.checksum
        self._order: Order = framing.order
        self._extra = framing.extra
        self._length_at = len(framing.start)
        self._payload_at = self._length_at + framing.size
        self._covered_from = framing.covered_from
        self._trailer = 0 if framing.checksum is None else framing.checksum.size
        longest = self._payload_at + framing.limit + self._trailer
        super().__init__(framing.start, limit=framing.limit, longest=longest)

    def measure(self, held: bytes, at: int) -> int:
        """Return header, payload and checksum together."""
        payload_at = at + self._payload_at
        if len(held) < payload_at:
            return UNKNOWN
        said = int.from_bytes(held[at + self._length_at : payload_at], self._order)
        length = said - self._extra
        if not 0 <= length <= self.limit:
            return NONE
        return self._payload_at + length + self._trailer

    def unpack(self, candidate: bytes) -> bytes | None:
        """Return the payload where the checksum is right."""
        if self._checksum is None:
            return candidate[self._payload_at :]
        if self._checksum.strip(candidate[self._covered_from :]) is None:
            return None
        return candidate[self._payload_at : -self._trailer]

    @property
    def misfit(self) -> str:
        """A length that no frame has."""
        return f"longer than {self.limit} bytes"
