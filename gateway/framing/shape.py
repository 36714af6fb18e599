"""What a frame looks like from where it begins: how long it is, and whether it is one.

A `Shape` is what length-prefixed, fixed and start-marked framings differ in. How
a stream is searched with it is said by `gateway.framing.scanning_decoder` and
`gateway.framing.overlapping_decoder`, which give no byte to two frames and to as
many as hold it. A shape remembers nothing, so that one serves any number of wires.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

UNKNOWN, NONE = 0, -1
"""What `Shape.measure` says where it cannot tell yet, and where no frame is."""


class Shape(ABC):
    """Frames that begin with ``start``, which may be empty.

    A payload has at most ``limit`` bytes, and a frame at most ``longest``.
    """

    def __init__(self, start: bytes, *, limit: int, longest: int) -> None:
        self.start = start
        self.limit = limit
        self.longest = longest

    @abstractmethod
    def measure(self, held: bytes, at: int) -> int:
        """Return how long the candidate at ``at`` is, in bytes; `UNKNOWN` or `NONE`.

        More bytes behind it never change a length or a `NONE`. `UNKNOWN` is
        said only while less than ``longest`` bytes have come, and only where
        every later start is unknown as well.
        """

    @abstractmethod
    def unpack(self, candidate: bytes) -> bytes | None:
        """Return the payload of a whole candidate, or None where its checksum is wrong."""

    @property
    @abstractmethod
    def misfit(self) -> str:
        """Why `measure` says `NONE`, in a few words."""

    def find_start(self, held: bytes, at: int) -> int:
        """Return where a start mark is, or could be beginning at the very end."""
        start = self.start
        found = held.find(start, at)
        if found >= 0:
            return found
        for length in range(min(len(start) - 1, len(held) - at), 0, -1):
            if held.endswith(start[:length]):
                return len(held) - length
        return len(held)
