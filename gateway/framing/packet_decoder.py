"""Packets between marks that never occur within one: what COBS, SLIP and plain delimiters share.

Nothing between two marks is no packet and no noise. A packet that is too long
becomes one `Garbage` the moment that is certain, and the rest of it is skipped
unread, so that a board without marks costs ``longest`` bytes of memory.

After any noise the first mark brings the decoder back in step: the packet that
the noise ran into is lost with it, every later one is read.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.framing.checksums import Checksum
from gateway.framing.frame import Frame, Garbage
from gateway.framing.framing import too_long

Unpack = Callable[[bytes], bytes | Garbage]
"""Takes off what was done to a packet so that no mark is in it; the checksum stays."""


class PacketDecoder:
    """Cuts a stream at ``mark``, has ``unpack`` look at what is between, and checks that.

    ``longest`` is what a packet of ``limit`` payload bytes can take on the
    wire; raw bytes in a `Garbage` are never more than ``limit``.
    """

    def __init__(
        self,
        mark: bytes,
        unpack: Unpack,
        *,
        limit: int,
        longest: int,
        checksum: Checksum | None = None,
    ) -> None:
        self._mark = mark
        self._unpack = unpack
        self._limit = limit
        self._longest = longest
        self._checksum = checksum
        self._overlap = len(mark) - 1  # bytes of a mark that may have come already
        self._tail = b""
        self._skipping = False  # inside a packet that was condemned already

    def feed(self, data: bytes, /) -> list[Frame | Garbage]:
        """Return the frames and the noise that ``data`` completes, in wire order."""
        packets = (self._tail + data).split(self._mark)
        tail = packets.pop()
        events: list[Frame | Garbage] = []
        for packet in packets:
            if self._skipping:
                self._skipping = False
            elif len(packet) > self._longest:
                events.append(too_long(packet, self._limit))
            elif packet:
                events.append(self._judge(packet))
        if not self._skipping and len(tail) > self._longest + self._overlap:
            events.append(too_long(tail, self._limit))
            self._skipping = True
        if self._skipping:
            tail = tail[-self._overlap :] if self._overlap else b""
        self._tail = tail
        return events

    def _judge(self, packet: bytes) -> Frame | Garbage:
        unpacked = self._unpack(packet)
        if isinstance(unpacked, Garbage):
            return unpacked
        payload: bytes | None = unpacked
        if self._checksum is not None:
            payload = self._checksum.strip(unpacked)
        if payload is None:
            return Garbage(packet[: self._limit], "wrong checksum")
        if len(payload) > self._limit:
            return too_long(packet, self._limit)
        return Frame(payload)

    def expire(self) -> list[Frame | Garbage]:
        """Give up a packet whose mark did not come: the next byte begins another."""
        tail, skipping = self._tail, self._skipping
        self.reset()
        if skipping or not tail:
            return []
        return [Garbage(tail[: self._limit], "broken off by silence")]

    def reset(self) -> None:
        """Forget a half-read packet."""
        self._tail = b""
        self._skipping = False
