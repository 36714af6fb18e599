r"""Frames of one fixed size, with an optional start mark and an optional checksum.

``size`` counts the payload; mark and checksum come on top, and the checksum
covers the payload.

Resynchronisation: as in `gateway.framing.length_prefixed`: with a checksum
every frame in any noise is found, with a start mark alone where the noise does
not hold it. With neither, one lost byte shifts all that follows until the wire
is silent for ``silence`` seconds, where that is given. ``overlapping=True`` has a
false frame cost no true one, as there (`gateway.framing.overlapping_decoder`).

Refused by `Fixed.encode`: a payload of any other size.
"""

from __future__ import annotations

from gateway.framing.checksums import Checksum
from gateway.framing.framing import ExpiringDecoder, check_limit, check_overlapping, check_silence
from gateway.framing.overlapping_decoder import OverlappingDecoder
from gateway.framing.scanning_decoder import ScanningDecoder
from gateway.framing.shape import Shape


class Fixed:
    r"""Frames whose payloads have exactly ``size`` bytes.

    >>> from gateway.framing import checksums
    >>> framing = Fixed(2, start=b"U", checksum=checksums.SUM8)
    >>> framing.encode(b"\x01\x02")
    b'U\x01\x02\x03'
    >>> framing.decoder().feed(b"noise U" + framing.encode(b"\x01\x02"))
    [Garbage(raw=b'no', reason='no start mark'), Frame(payload=b'\x01\x02')]
    """

    def __init__(
        self,
        size: int,
        *,
        start: bytes = b"",
        checksum: Checksum | None = None,
        silence: float | None = None,
        overlapping: bool = False,
    ) -> None:
        """Take payloads of ``size`` bytes; `ValueError` below one.

        ``overlapping`` hands on frames that share bytes as well, which takes a checksum.
        """
        check_limit(size)
        check_silence(silence)
        check_overlapping(overlapping, checksum)
        self.size = size
        self.start = start
        self.checksum = checksum
        self.silence = silence
        self.overlapping = overlapping

    def __repr__(self) -> str:
        return (
            f"Fixed({self.size}, start={self.start!r}, checksum={self.checksum}, "
            f"silence={self.silence}, overlapping={self.overlapping})"
        )

    @property
    def limit(self) -> int:
        """Bytes of the longest payload, and of the shortest."""
        return self.size

    def encode(self, payload: bytes) -> bytes:
        """Return the frame around ``payload``; `ValueError` for any other size."""
        if len(payload) != self.size:
            raise ValueError(f"a payload of {len(payload)} bytes; each has {self.size} here")
        frame = self.start + payload
        return frame if self.checksum is None else frame + self.checksum.trailer(payload)

    def decoder(self) -> ExpiringDecoder:
        """Return a decoder for one freshly opened stream."""
        shape = FixedShape(self)
        return OverlappingDecoder(shape) if self.overlapping else ScanningDecoder(shape)


class FixedShape(Shape):
    """Mark, payload and checksum, each time as long."""

    def __init__(self, framing: Fixed) -> None:
        self._checksum = framing.checksum
        self._payload_at = len(framing.start)
        trailer = 0 if framing.checksum is None else framing.checksum.size
        longest = self._payload_at + framing.size + trailer
        super().__init__(framing.start, limit=framing.size, longest=longest)

    def measure(self, held: bytes, at: int) -> int:
        """Return that of every frame."""
        return self.longest

    def unpack(self, candidate: bytes) -> bytes | None:
        """Return the payload where the checksum is right."""
        payload = candidate[self._payload_at :]
        return payload if self._checksum is None else self._checksum.strip(payload)

    @property
    def misfit(self) -> str:
        """Never said: every size fits."""
        return "of another size"
