"""Every framing in the shapes it is used in, each with the noise that it promises to get over.

A specimen says how a frame is embedded: what clears the noise before it (bytes,
or the silence of the wire), and which bytes settle what still waits behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

from gateway.framing import (
    CheckedLine,
    Cobs,
    Delimited,
    Fixed,
    Framing,
    LengthPrefixed,
    Line,
    Raw,
    Silent,
    Slip,
    checksums,
)

LIMIT = 40
QUIET = 0.01
ANY = bytes(range(256))
TEXT = bytes(value for value in ANY if value not in b"\r\n")
SWITCHED_ON = ", overlapping"
UNMARKED = bytes(value for value in ANY if value not in b"\x02\x03\xaaU")


@dataclass(frozen=True)
class Specimen:
    """One framing and its promise."""

    name: str
    framing: Framing
    payload: bytes = ANY
    """Bytes that payloads are made of."""
    sizes: tuple[int, int] = (1, LIMIT)
    noise: bytes = ANY
    """Bytes that noise is made of; mutated frames count as noise only where these are `ANY`."""
    marks: bytes = b"\x00\xff"
    """Bytes that noise is often made of, being those that mean something."""
    clear: bytes | None = b""
    """What ends noise before a frame; None for silence."""
    settle: bytes | None = b""
    """What decides about everything before it; None for silence."""
    by_chance: bool = False
    """Whether noise may take a frame's place whose checksum is right by chance.

    That is rarer with more bits, but never rarer than one byte: a frame that lost
    its last byte is completed by the next one's first, once in 256 times.
    """
    sliced: bool = True
    """Whether slices mean nothing to it."""

    def __str__(self) -> str:
        return self.name

    @property
    def overlapping(self) -> bool:
        """Whether every stretch that is a valid frame comes out, and none takes another's place."""
        return getattr(self.framing, "overlapping", False)

    @property
    def stream(self) -> str:
        """What its inputs depend on: they are the same with the switch off and on."""
        return self.name.removesuffix(SWITCHED_ON)

    @property
    def bound(self) -> int:
        """Bytes that its decoder may keep, whatever comes: the longest frame, and its noise."""
        return 3 * LIMIT + 32

    def make_payload(self, random: Random) -> bytes:
        """Return a payload of this framing that its encoder takes."""
        smallest, largest = self.sizes
        while True:
            size = smallest + int(random.random() * (largest - smallest + 1))
            drawn = some_of(self.payload, size, random)
            if encodable(self.framing, drawn):
                return drawn

    def make_noise(self, random: Random) -> bytes:
        """Return up to some 40 bytes that are no frame on purpose."""
        kind = int(random.random() * (4 if self.noise == ANY else 2))
        if kind > 1:
            return mutated(self.framing.encode(self.make_payload(random)), random)
        size = int(random.random() * LIMIT)
        return some_of(self.few if kind else self.noise, size, random)

    @cached_property
    def few(self) -> bytes:
        """Those of `marks` that noise may hold."""
        return bytes(value for value in self.marks if value in self.noise) or self.noise


def some_of(alphabet: bytes, size: int, random: Random) -> bytes:
    """Return ``size`` random bytes, each from ``alphabet``."""
    repeated = (alphabet * (256 // len(alphabet) + 1))[:256]
    return random.randbytes(size).translate(repeated)


def encodable(framing: Framing, payload: bytes) -> bool:
    """Say whether ``framing`` can carry ``payload``."""
    try:
        framing.encode(payload)
    except ValueError:
        return False
    return True


def mutated(frame: bytes, random: Random) -> bytes:
    """Return ``frame`` with one to three things done to it that a wire does."""
    raw = bytearray(frame)
    for _ in range(1 + int(random.random() * 3)):
        if not raw:
            break
        at = int(random.random() * len(raw))
        DAMAGES[int(random.random() * len(DAMAGES))](raw, at, random)
    return bytes(raw)


def _flip(raw: bytearray, at: int, random: Random) -> None:
    raw[at] ^= 1 << int(random.random() * 8)


def _lose(raw: bytearray, at: int, random: Random) -> None:
    del raw[at : at + 1 + int(random.random() * 4)]


def _insert(raw: bytearray, at: int, random: Random) -> None:
    raw.insert(at, int(random.random() * 256))


def _repeat(raw: bytearray, at: int, random: Random) -> None:
    raw[at:at] = raw[at : at + 1 + int(random.random() * 8)]


def _cut_off(raw: bytearray, at: int, random: Random) -> None:
    del raw[at:]


def _miss_the_beginning(raw: bytearray, at: int, random: Random) -> None:
    del raw[:at]


DAMAGES: list[Callable[[bytearray, int, Random], None]] = [
    _flip,
    _lose,
    _insert,
    _repeat,
    _cut_off,
    _miss_the_beginning,
]

FILLER = b"\xff" * (LIMIT + 16)
"""Nothing begins with it, and it is longer than any frame."""


def with_overlapping(specimen: Specimen) -> Specimen:
    """Return ``specimen`` with the switch on, which leaves nothing to chance."""
    framing = type(specimen.framing)(**{**vars(specimen.framing), "overlapping": True})
    return replace(specimen, name=specimen.name + SWITCHED_ON, framing=framing, by_chance=False)


SPECIMENS = [
    Specimen("line", Line(LIMIT), TEXT, marks=b"\r\n\n", clear=b"\n"),
    Specimen("checked line", CheckedLine(LIMIT), TEXT, marks=b"\r\n*0", clear=b"\n"),
    Specimen("cobs", Cobs(LIMIT), clear=b"\0", marks=b"\0\1\2\xff"),
    Specimen(
        "cobs, leading, crc-16",
        Cobs(LIMIT, checksum=checksums.CRC16_CCITT, leading=True),
        marks=b"\0\1\2\xff",
    ),
    Specimen("slip", Slip(LIMIT), marks=b"\xc0\xdb\xdc\xdd"),
    Specimen(
        "slip, crc-32",
        Slip(LIMIT, checksum=checksums.CRC32, leading=False),
        clear=b"\xc0",
        marks=b"\xc0\xdb\xdc\xdd",
    ),
    Specimen(
        "length, start mark, crc-32",
        LengthPrefixed(LIMIT, start=b"\xaaU", size=2, checksum=checksums.CRC32, covers="length"),
        sizes=(0, LIMIT),
        marks=b"\xaaU\0\1\x10\x28",
        settle=FILLER,
        by_chance=True,
    ),
    Specimen(
        "length, crc-32",
        LengthPrefixed(LIMIT, checksum=checksums.CRC32, extra=4),
        sizes=(0, LIMIT),
        marks=b"\4\5\x10\x2c",
        settle=FILLER,
        by_chance=True,
    ),
    Specimen(
        "length, start mark, crc-16, silence",
        LengthPrefixed(LIMIT, start=b"\xaa", checksum=checksums.CRC16_MODBUS, silence=QUIET),
        marks=b"\xaa\1\x28",
        settle=None,
        by_chance=True,
    ),
    Specimen(
        "length, start mark",
        LengthPrefixed(LIMIT, start=b"\xaa"),
        noise=UNMARKED,
        settle=FILLER,
    ),
    Specimen("length, silence", LengthPrefixed(LIMIT, silence=QUIET), marks=b"\1\x28", clear=None),
    Specimen("fixed, silence", Fixed(8, silence=QUIET), sizes=(8, 8), clear=None),
    Specimen(
        "fixed, crc-32",
        Fixed(8, checksum=checksums.CRC32),
        sizes=(8, 8),
        settle=FILLER,
        by_chance=True,
    ),
    Specimen(
        "fixed, start mark, crc-8, silence",
        Fixed(8, start=b"U", checksum=checksums.CRC8, silence=QUIET),
        sizes=(8, 8),
        marks=b"U",
        settle=None,
        by_chance=True,
    ),
    Specimen("fixed, start mark", Fixed(8, start=b"\xaaU"), sizes=(8, 8), noise=UNMARKED),
    Specimen("delimited", Delimited(b"\r\n", limit=LIMIT), marks=b"\r\n", clear=b"\r\n"),
    Specimen(
        "delimited, start mark",
        Delimited(b"\x03", start=b"\x02", limit=LIMIT),
        sizes=(0, LIMIT),
        marks=b"\2\3",
    ),
    Specimen(
        "delimited, start mark, crc-16",
        Delimited(b"\x10\x03", start=b"\x10\x02", limit=LIMIT, checksum=checksums.CRC16_XMODEM),
        marks=b"\x10\2\3",
        settle=FILLER,
        by_chance=True,
    ),
    Specimen(
        "silent, crc-16",
        Silent(QUIET, limit=LIMIT, checksum=checksums.CRC16_MODBUS),
        clear=None,
        settle=None,
    ),
    Specimen("silent", Silent(QUIET, limit=LIMIT), clear=None, settle=None),
    Specimen("raw", Raw(LIMIT), sliced=False),
]

SPECIMENS += [with_overlapping(each) for each in SPECIMENS if each.by_chance]
