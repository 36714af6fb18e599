"""What a decoder hands back: a `Frame`, or the `Garbage` between frames.

Noise on a wire is no error here but a value, so that whoever reads can count
it and go on. Nothing in this folder moves a byte or reads a clock.
"""

from __future__ import annotations

import msgspec


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One whole, checked frame; ``payload`` without end mark and checksum."""

    payload: bytes


class Garbage(msgspec.Struct, frozen=True, gc=False):
    """Bytes that make no frame.

    ``raw`` is what they began with, never more than the framing's limit;
    ``reason`` says in a few words what is wrong with them.
    """

    raw: bytes
    reason: str
