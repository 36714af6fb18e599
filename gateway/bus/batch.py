"""Letters by the hundred, packed into one row of a table: what a vault consists of."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from gateway.bus.spool_file import Fate, Spooled
from gateway.errors import ProtocolError

BATCH = 1024
"""Letters of a batch, at the most."""

BATCH_BYTES = 256 << 10
"""Bytes of a batch, before it is packed; one large letter may be more."""


class Packed(msgspec.Struct, array_like=True):
    """A letter in a batch, whose place says its number."""

    subject: str
    letter: bytes


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Packed]).decode
unpack_subjects = msgspec.msgpack.Decoder(list[str]).decode


class Row(NamedTuple):
    """A batch as it lies on flash; ``newest`` is when it was stored, in seconds since 1970."""

    letter_count: int
    newest: float
    subjects: bytes
    letters: bytes


class Batch:
    """What is remembered of a batch while it lies on flash."""

    def __init__(self, count: int, newest: float, subjects: Iterable[str]) -> None:
        self.count = count
        self.newest = newest
        self.subjects = Counter(set(subjects))
        self.done: dict[int, Fate | None] = {}
        """The places that are done with, and what became of those that have not arrived."""
        self.taken: set[int] = set()
        """The places of letters that somebody had taken before they were stored here."""

    @property
    def is_done(self) -> bool:
        """Tell whether nothing of it is wanted any more."""
        return len(self.done) == self.count

    def give_up(self, fate: Fate) -> None:
        """All that has not arrived meets ``fate``."""
        for place in range(self.count):
            self.done.setdefault(place, fate)


def parts(letters: Sequence[Spooled]) -> Iterator[Sequence[Spooled]]:
    """Cut ``letters`` into batches."""
    begin = size = 0
    for index, letter in enumerate(letters):
        if index > begin and (index - begin >= BATCH or size + len(letter.letter) > BATCH_BYTES):
            yield letters[begin:index]
            begin, size = index, 0
        size += len(letter.letter)
    if begin < len(letters):
        yield letters[begin:]


def packed(letters: Sequence[Spooled], now: float) -> Row:
    """Return ``letters`` as one batch."""
    subjects = sorted({letter.subject for letter in letters})
    content = _pack([Packed(each.subject, each.letter) for each in letters])
    return Row(len(letters), now, _pack(subjects), zlib.compress(content, 1))


def unpack(letters: bytes) -> list[Packed]:
    """Return what `packed` gave; `ProtocolError` where it is spoilt."""
    try:
        return _unpack(zlib.decompress(letters))
    except (zlib.error, msgspec.MsgspecError) as error:
        raise ProtocolError(f"a batch is spoilt: {error}") from error
