"""The contract of every framing: payload to bytes, and a decoder for the way back.

A `Framing` is a value (a kind of wire); a `Decoder` is the memory of one open
wire. What a decoder returns depends on the stream alone and never on how it
was sliced, and what it remembers is bounded however long a board babbles.
(`gateway.framing.raw.Raw` is the one exception: there the slices are the frames.)

Where a wire tells the end of a frame by falling silent, the framing names that
`Framing.silence`, and its decoder has `ExpiringDecoder.expire`. Who reads the
wire and has a clock calls it; no decoder knows the time.
"""

from __future__ import annotations

from math import inf
from typing import Protocol, runtime_checkable

from gateway.framing.checksums import Checksum
from gateway.framing.frame import Frame, Garbage


class Decoder(Protocol):
    """Cuts one byte stream into frames."""

    def feed(self, data: bytes, /) -> list[Frame | Garbage]:
        """Return what ``data`` completes, in wire order; often nothing yet."""
        ...

    def reset(self) -> None:
        """Forget a half-read frame: the stream was broken off here."""
        ...


@runtime_checkable
class ExpiringDecoder(Decoder, Protocol):
    """A decoder to whom silence says something."""

    def expire(self) -> list[Frame | Garbage]:
        """Return what the silence of the wire completes, or condemns, here.

        To be called once the wire has been silent for `Framing.silence`
        seconds; a second time in a row returns nothing.
        """
        ...


class Framing(Protocol):
    """A way to tell where a payload ends."""

    @property
    def silence(self) -> float | None:
        """Seconds of silence that end a frame; None where silence means nothing."""
        ...

    def encode(self, payload: bytes, /) -> bytes:
        """Return the bytes that carry ``payload``; `ValueError` where none can."""
        ...

    def decoder(self) -> Decoder:
        """Return a decoder for one freshly opened stream."""
        ...


def check_limit(limit: int) -> None:
    """Raise `ValueError` where ``limit`` leaves no room for a payload."""
    if limit < 1:
        raise ValueError(f"a framing needs a limit of at least 1 byte, not {limit}")


def check_silence(silence: float | None) -> None:
    """Raise `ValueError` where ``silence`` is no time that can pass."""
    if silence is not None and not 0 < silence < inf:
        raise ValueError(f"a silence lasts some seconds, not {silence}")


def check_overlapping(overlapping: bool, checksum: Checksum | None) -> None:
    """Raise `ValueError` where frames are to overlap and no checksum tells which are frames."""
    if overlapping and checksum is None:
        raise ValueError("overlapping frames are told by their checksum, and there is none")


def check_size(payload: bytes, limit: int) -> None:
    """Raise `ValueError` where ``payload`` is longer than ``limit`` bytes."""
    if len(payload) > limit:
        raise ValueError(f"a payload of {len(payload)} bytes; the limit is {limit}")


def too_long(raw: bytes, limit: int) -> Garbage:
    """Return the garbage that a frame of more than ``limit`` bytes is."""
    return Garbage(raw[:limit], f"longer than {limit} bytes")
