"""No framing: whatever one read brings is a frame.

For wires that keep their own packets, such as a USB endpoint, and for boards
whose bytes are only looked at. On a serial line the slices are those of the
operating system and mean nothing. More than ``limit`` bytes at a time become
several frames.

Resynchronisation: there is nothing to be out of step with.

Refused by `Raw.encode`: nothing at all, and more than ``limit`` bytes.
"""

from __future__ import annotations

from gateway.framing.frame import Frame, Garbage
from gateway.framing.framing import Decoder, check_limit, check_size


class Raw:
    """Frames of 1 to ``limit`` bytes, as they are read.

    >>> decoder = Raw(limit=4).decoder()
    >>> decoder.feed(b"one"), decoder.feed(b""), decoder.feed(b"three")
    ([Frame(payload=b'one')], [], [Frame(payload=b'thre'), Frame(payload=b'e')])
    """

    silence: float | None = None

    def __init__(self, limit: int = 4096) -> None:
        """Allow payloads up to ``limit`` bytes; `ValueError` below one."""
        check_limit(limit)
        self.limit = limit

    def __repr__(self) -> str:
        return f"Raw(limit={self.limit})"

    def encode(self, payload: bytes) -> bytes:
        """Return ``payload``; `ValueError` where there is none, or too much."""
        check_size(payload, self.limit)
        if not payload:
            raise ValueError("an empty payload is no byte at all, which nobody reads")
        return payload

    def decoder(self) -> Decoder:
        """Return a decoder for one freshly opened stream."""
        return RawDecoder(self.limit)


class RawDecoder:
    """Hands on what it is fed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def feed(self, data: bytes, /) -> list[Frame | Garbage]:
        """Return ``data`` as a frame, or as several where it is long."""
        limit = self._limit
        return [Frame(data[at : at + limit]) for at in range(0, len(data), limit)]

    def reset(self) -> None:
        """Do nothing: nothing is remembered."""
