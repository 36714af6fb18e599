"""Frames found by trial: every place where one could begin is looked at, none twice.

How length-prefixed, fixed and start-marked framings search a stream. A candidate
begins with the start mark. Where it turns out to be no frame, only its first byte is
condemned, and the search goes on with its second: what a false start mark has
swallowed is given back and searched again, so that a true frame inside is
found. That costs at most one trial a byte, each over one frame's length.

No byte belongs to two frames; `gateway.framing.overlapping_decoder` is for
those who want that. Condemned bytes are told as one `Garbage` a stretch: before
the next frame, or the moment it is longer than the limit. A candidate of which
too little has come is waited for; silence, where the framing knows it, condemns
that as well.
"""

from __future__ import annotations

from gateway.framing.frame import Frame, Garbage
from gateway.framing.noise import Noise
from gateway.framing.shape import NONE, UNKNOWN, Shape


class ScanningDecoder:
    """Finds frames of one shape, each behind the one before."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._held = b""  # a candidate, or what may be the beginning of a start mark
        self._noise = Noise(shape.limit)

    def feed(self, data: bytes, /) -> list[Frame | Garbage]:
        """Return the frames and the noise that ``data`` completes, in wire order."""
        return self._scan(self._held + data, silent=False)

    def expire(self) -> list[Frame | Garbage]:
        """Condemn what is still incomplete, and search what it has swallowed."""
        events = self._scan(self._held, silent=True)
        self._noise.end(events)
        return events

    def reset(self) -> None:
        """Forget a half-read frame, and the noise before it."""
        self._held = b""
        self._noise.reset()

    def _scan(self, held: bytes, *, silent: bool) -> list[Frame | Garbage]:
        shape, noise = self._shape, self._noise
        at = 0
        events: list[Frame | Garbage] = []
        while at < len(held):
            begin = shape.find_start(held, at)
            if begin > at:
                noise.add(held[at:begin], "no start mark", events)
                at = begin
            length = shape.measure(held, at) if held.startswith(shape.start, at) else UNKNOWN
            if length == NONE:
                noise.add(held[at : at + 1], shape.misfit, events)
                at += 1
                continue
            if length == UNKNOWN or at + length > len(held):
                if not silent:
                    break
                noise.add(held[at : at + 1], "broken off by silence", events)
                at += 1
                continue
            payload = shape.unpack(held[at : at + length])
            if payload is None:
                noise.add(held[at : at + 1], "wrong checksum", events)
                at += 1
                continue
            noise.end(events)
            events.append(Frame(payload))
            at += length
        self._held = held[at:]
        return events
