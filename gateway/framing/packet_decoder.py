"""Packets between marks that never occur within one: what COBS, SLIP and plain delimiters share.

Nothing between two marks is no packet and no noise. A packet that is too long
becomes one `Garbage` the moment that is certain, and the rest of it is skipped
unread, so that a board without marks costs ``longest`` bytes of memory.

After any noise the first mark brings the decoder back in step: the packet that
the noise ran into is lost with it, every later one is read.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.framing.frame import Frame, Garbage
from gateway.framing.framing import too_long

Judge = Callable[[bytes], Frame | Garbage]
"""Says what a whole packet, marks taken off, is worth."""


class PacketDecoder:
    """Cuts a stream at ``mark`` and has ``judge`` look at what is between.

    ``longest`` is what a packet of ``limit`` payload bytes can take on the
    wire; raw bytes in a `Garbage` are never more than ``limit``.
    """

    def __init__(self, mark: bytes, judge: Judge, *, limit: int, longest: int) -> None:
        self._mark = mark
        self._judge = judge
        self._limit = limit
        self._longest = longest
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
