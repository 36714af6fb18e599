"""The contract of every framing: payload to bytes, and a decoder for the way back.

A `Framing` is a value (a kind of wire); a `Decoder` is the memory of one open
wire. What a decoder returns depends on the stream alone and never on how it
was sliced, and what it remembers is bounded however long a board babbles.
"""

from __future__ import annotations

from typing import Protocol

from gateway.framing.frame import Frame, Garbage


class Decoder(Protocol):
    """Cuts one byte stream into frames."""

    def feed(self, data: bytes, /) -> list[Frame | Garbage]:
        """Return what ``data`` completes, in wire order; often nothing yet."""
        ...

    def reset(self) -> None:
        """Forget a half-read frame: the stream was broken off here."""
        ...


class Framing(Protocol):
    """A way to tell where a payload ends."""

    def encode(self, payload: bytes, /) -> bytes:
        """Return the bytes that carry ``payload``; `ValueError` where none can."""
        ...

    def decoder(self) -> Decoder:
        """Return a decoder for one freshly opened stream."""
        ...
