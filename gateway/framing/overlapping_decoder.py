"""Frames that share bytes: every stretch of the stream that is a valid frame is handed on.

For wires on which a lost frame is worse than one too many.
`gateway.framing.scanning_decoder` gives no byte to two frames, so that a frame by
chance (noise, or half a frame that the next one completes) costs the true one
that it runs into. Here each place where a frame could begin is a candidate by
itself, and none hides another.

Frames come in the order in which they end, each with its last byte, also where a
longer one around it has begun; of two that end with the same byte the longer one
comes first. What a payload carries and is a valid frame itself comes as well,
before the one around it.

Bytes that are in no frame are told as one `Garbage` a stretch, in wire order: before
the next frame where that is certain by then, and else, since what has begun
earlier may still claim them, up to one longest frame later, or with silence.

A byte costs one candidate, so one checksum over one longest frame, and no more
where the sender means harm: for 255 bytes of payload 7 µs with SUM8 or CRC-32, 36 µs
with a CRC that goes by a table (`gateway.framing.checksums`), which at 115200 baud is
a tenth and less than half of a core. `ScanningDecoder` pays as much for noise; here
frames pay it too, 5 and 20 µs a byte. With a start mark, where only the mark is a
candidate, they cost 0.1 and 0.2 µs a byte (``python -m benchmarks.framing``).
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from gateway.framing.frame import Frame, Garbage
from gateway.framing.noise import Noise
from gateway.framing.shape import NONE, UNKNOWN, Shape


class OverlappingDecoder:
    """Finds all frames of one shape, whichever others they overlap.

    Kept are at most the bytes of one longest frame, as many candidates of some 135
    bytes of memory, and one limit of noise. Places are counted from the stream's begin.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._noise = Noise(shape.limit)
        self._held = b""
        self._base = 0  # the place of the first byte held
        self._next = 0  # the first place where no candidate was looked for
        self._settled = 0  # the first place of which it is not known whether a frame has it
        self._open: list[tuple[int, int]] = []
        """Candidates as (end, begin) that have not all come, a heap: the next to end first."""
        self._begun: deque[tuple[int, int]] = deque()
        """The same as they begin; behind the first there may be some that have ended."""
        self._frames: list[tuple[int, int]] = []
        """Frames as (begin, end) that came and begin behind what is settled, a heap."""

    def feed(self, data: bytes, /) -> list[Frame | Garbage]:
        """Return the frames that ``data`` completes as they end, and the noise that it settles."""
        self._held += data
        arrived = self._base + len(self._held)
        events: list[Frame | Garbage] = []
        self._look(events)
        self._complete(arrived, events)
        # What began so long ago has ended.
        beyond = arrived - self._shape.longest
        self._settle(beyond, events)
        if beyond > self._base:
            self._held = self._held[beyond - self._base :]
            self._base = beyond
        return events

    def expire(self) -> list[Frame | Garbage]:
        """Condemn what is still incomplete; the frames in it came when they were whole."""
        events: list[Frame | Garbage] = []
        self._settle(self._base + len(self._held), events)
        self._noise.end(events)
        self.reset()
        return events

    def reset(self) -> None:
        """Forget half-read frames, and the noise before them."""
        self._held = b""
        self._base = self._next = self._settled = 0
        self._open.clear()
        self._begun.clear()
        self._frames.clear()
        self._noise.reset()

    def _look(self, events: list[Frame | Garbage]) -> None:
        """Open the candidates that begin in what has come."""
        shape, held, base = self._shape, self._held, self._base
        at = self._next - base
        while at < len(held):
            at = shape.find_start(held, at)
            if not held.startswith(shape.start, at):
                break
            length = shape.measure(held, at)
            if length == UNKNOWN:
                break
            if length != NONE:
                begin = base + at
                self._complete(begin, events)  # which keeps few open, however much is fed
                candidate = (begin + length, begin)
                heappush(self._open, candidate)
                self._begun.append(candidate)
            at += 1
        self._next = base + at

    def _complete(self, place: int, events: list[Frame | Garbage]) -> None:
        """Judge the candidates that end at ``place`` or before, in order of their ends."""
        while self._open and self._open[0][0] <= place:
            candidate = heappop(self._open)
            while self._begun and self._begun[0] <= candidate:
                self._begun.popleft()
            end, begin = candidate
            payload = self._shape.unpack(self._held[begin - self._base : end - self._base])
            if payload is None:
                continue
            certain = min(begin, self._begun[0][1]) if self._begun else begin
            self._settle(certain, events)
            if certain == begin:
                self._noise.end(events)
            heappush(self._frames, (begin, end))
            events.append(Frame(payload))

    def _settle(self, place: int, events: list[Frame | Garbage]) -> None:
        """Condemn what no frame has before ``place``; no candidate that began there is open."""
        while self._frames and self._frames[0][0] < place:
            begin, end = heappop(self._frames)
            self._condemn(begin, events)
            self._noise.end(events)
            self._settled = max(self._settled, end)
        self._condemn(place, events)

    def _condemn(self, place: int, events: list[Frame | Garbage]) -> None:
        if place > self._settled:
            at = self._settled - self._base
            self._noise.add(self._held[at : place - self._base], self._reason(at), events)
            self._settled = place

    def _reason(self, at: int) -> str:
        """Say why nothing in what is held begins ``at`` there."""
        shape, held = self._shape, self._held
        if not held.startswith(shape.start, at):
            is_half = shape.start.startswith(held[at:])
            return "broken off by silence" if is_half else "no start mark"
        length = shape.measure(held, at)
        if length == NONE:
            return shape.misfit
        is_whole = length != UNKNOWN and at + length <= len(held)
        return "wrong checksum" if is_whole else "broken off by silence"
