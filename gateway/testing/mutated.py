"""Frames as a bad day brings them: made up, or right ones with something wrong.

Deterministic: the same `random.Random` gives the same frames. Half of them are
a real frame with a few things done to it, since noise alone never comes past
the first letter of a protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

_NASTY = (
    *(b"\0", b"\xff", b"\r", b"\n", b",", b" ", b"-", b"+", b".", b"%", b"*", b"_", b"e"),
    *(b"0", b"-1", b"1_0", b"99999999999999999999", b"1e999", b"nan", b"inf", b"0x10", b"1.5"),
    *(b"\xc3\x28", "٣".encode(), "²".encode(), b"\xed\xa0\x80"),
)
"""What parsers trip over: separators, numbers that are none, text that is no UTF-8."""

_LONGEST = 80
"""Bytes of the longest frame that is made up."""


def mutated_frames(random: Random, right: Sequence[bytes], count: int) -> Iterator[bytes]:
    """Yield ``count`` frames; ``right`` are real ones, as the board sends them."""
    pool = [frame for frame in right if frame] or [b"0"]
    for number in range(count):
        if number % 8 == 0:
            yield random.randbytes(random.randrange(_LONGEST))
        else:
            frame = random.choice(pool)
            for _ in range(random.choice((1, 1, 1, 2, 4))):
                frame = _mutated(random, frame, pool)
            yield frame


def _mutated(random: Random, frame: bytes, pool: Sequence[bytes]) -> bytes:
    """Return ``frame`` with one thing done to it."""
    at = random.randrange(len(frame) + 1)
    to = min(len(frame), at + random.randrange(1, 5))
    match random.randrange(7):
        case 0:  # a flipped bit
            if at == len(frame):
                return frame
            return frame[:at] + bytes([frame[at] ^ 1 << random.randrange(8)]) + frame[at + 1 :]
        case 1:  # bytes lost
            return frame[:at] + frame[to:]
        case 2:  # cut short
            return frame[:at]
        case 3:  # bytes twice
            return frame[:to] + frame[at:]
        case 4:  # two frames run into each other
            return frame[:at] + random.choice(pool)[random.randrange(4) :]
        case 5:  # something nasty put in
            return frame[:at] + random.choice(_NASTY) + frame[at:]
        case _:  # something nasty instead
            return frame[:at] + random.choice(_NASTY) + frame[to:]
