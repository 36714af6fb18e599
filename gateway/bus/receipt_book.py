"""The letters with a receipt that a reader holds, kept where they outlive it.

What a forked reader has taken out of its sockets and rings, and not handed out yet, lies in its
memory alone, and is lost where it is killed. Of letters whose writers asked for a **receipt** it
notes who wrote them, and in which thread, in a file that it maps into its memory, beside its
sockets: one book for all mailboxes of its OS process. Whoever takes stock of a dead reader
(`gateway.bus.office`) finds there whom to tell.

The file is made for the first such letter, and is as long as the most of them that were held at a
time: who never gets one has none. Where there is no room for it the letters are read all the same,
and a warning says that of those nobody would be told.

A letter is noted before it is queued, and struck out once it was handed out or its bounce has
left, with one store each that counts, so that a reader that is killed anywhere leaves no more than
one that is in doubt. It is noted again while it waits for a thread of its process's callbacks
(`gateway.process.callback_threads`). Any thread may note and strike out, and a signal's handler
may raise anywhere: whoever notes a letter once more writes where it stands already.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Iterator
from struct import Struct
from threading import RLock
from time import monotonic

from msgspec.structs import replace

from gateway.bus.shortage import SHORT, short_for
from gateway.bus.wire import INLINE, Folder
from gateway.errors import ProtocolError, reason_of
from gateway.mail.codec import decode, encode
from gateway.mail.message import Message

log = logging.getLogger(__name__)

_SIZE = Struct("<I")
"""What stands before each letter: its size in bytes, 0 where the place is free."""

PLACES = {"receipts": 256, "longer-receipts": 2048, "longest-receipts": INLINE + _SIZE.size}
"""Bytes of each place by the kind of file: nearly all fit into the first."""

AT_FIRST = 16 * 1024
"""Bytes of a file at first, or one place; each time that it is full it is made twice as long."""

KEPT = 4 * AT_FIRST
"""Bytes of a file that is kept although nothing is noted there; a longer one is given back."""

AGAIN = 1.0
"""Seconds after which room is looked for again where there was none."""

QUIET = 60.0
"""Seconds for which it is not said once more that there is none."""


class ReceiptBook:
    """What the readers of one OS process hold; ``name`` is that of its first mailbox's socket."""

    __slots__ = ("_files", "_lock", "_said", "places")

    def __init__(self, folder: Folder, name: str) -> None:
        self.places: dict[str, tuple[_Places, int]] = {}
        """Where each letter is noted, by its id."""
        # A signal's handler may read while its thread is in here.
        self._lock = RLock()
        self._files = [_Places(folder, f"{name}.{kind}", size) for kind, size in PLACES.items()]
        self._said = -QUIET

    def note(self, message: Message, *, quietly: bool = False) -> None:
        """Note ``message``, which was asked a receipt for; twice is fine.

        For who holds no lock, unless ``quietly``: it may be logged that there is no room.
        """
        # What is told of it: never what it says.
        stub = encode(replace(message, body=None, body_type="", headers=None))
        id, places = message.message_id, self.places
        try:
            with self._lock:
                if id not in places:
                    file = next(each for each in self._files if len(stub) <= each.longest)
                    # No handler gets in between where a place is taken and where it is known.
                    for places[id] in file.taken():
                        break
                file, place = places[id]
                file.write(place, stub)
        except OSError as error:
            if not quietly and monotonic() - self._said >= QUIET:
                self._said = monotonic()
                log.warning(
                    "who asked %r for a receipt is not told should it be killed: %s",
                    message.recipient,
                    _what_is_short(error),
                )

    def strike(self, id: str) -> None:
        """Strike the letter ``id`` out; one that is not noted is fine."""
        with self._lock:
            found = self.places.get(id)
            if found is not None:
                file, place = found
                # First: from here on it is not there.
                file.clear(place)
                # Nothing of ours is called in between, and so no handler.
                del self.places[id]
                file.free.append(place)
                file.give_back()


class _Places:
    """A file of places of the same size; whoever calls holds its book's lock."""

    __slots__ = ("_folder", "_memory", "_name", "_short", "_size", "free", "longest")

    def __init__(self, folder: Folder, name: str, size: int) -> None:
        self.longest = size - _SIZE.size
        self._folder = folder
        self._name = name
        self._size = size
        self.free: list[int] = []
        """The places that may be taken."""
        self._memory: mmap.mmap | None = None
        self._short: tuple[float, OSError] | None = None

    def taken(self) -> Iterator[tuple[_Places, int]]:
        """Return what gives a free place; raise `OSError` where none is to be had."""
        if not self.free:
            self._lengthen()
        # As C has it, which no handler interrupts.
        return zip((self,), iter(self.free.pop, None), strict=False)

    def write(self, place: int, stub: bytes) -> None:
        """Write ``stub`` into ``place``."""
        memory = self._memory
        if memory is not None:
            memory[place + _SIZE.size : place + _SIZE.size + len(stub)] = stub
            # Last: from here on it is there.
            _SIZE.pack_into(memory, place, len(stub))

    def clear(self, place: int) -> None:
        """Have nothing stand in ``place``."""
        if self._memory is not None:
            _SIZE.pack_into(self._memory, place, 0)

    def give_back(self) -> None:
        """Remove the file where it is long, and nothing stands there."""
        length = 0 if self._memory is None else len(self._memory)
        if length > KEPT and len(self.free) * self._size >= length:
            self._memory = None
            self.free.clear()
            self._folder.unlink(self._name)

    def _lengthen(self) -> None:
        if self._short is not None and monotonic() - self._short[0] < AGAIN:
            raise OSError(*self._short[1].args)
        before = 0 if self._memory is None else len(self._memory)
        after = 2 * before or max(self._size, AT_FIRST // self._size * self._size)
        try:
            # What was mapped before is let go of: it is the same file.
            memory = self._folder.map(self._name, after)
        except OSError as error:
            self._short = monotonic(), OSError(*error.args)
            raise
        if self._memory is None or len(self._memory) < after:
            # Otherwise a signal's handler was faster.
            self._memory = memory
            self.free.extend(range(after - self._size, before - self._size, -self._size))


def noted(folder: Folder, name: str) -> Iterator[Message]:
    """Return what a reader that is gone held of letters with a receipt; remove its book."""
    for kind, size in PLACES.items():
        try:
            content = folder.take(f"{name}.{kind}")
        except OSError as error:
            log.error(
                "who asked %s for a receipt is not told that it died: %s",
                name,
                _what_is_short(error),
            )
            continue
        for place in range(0, len(content) - size + 1, size):
            start = place + _SIZE.size
            (length,) = _SIZE.unpack_from(content, place)
            if length:
                try:
                    yield decode(content[start : start + length])
                except ProtocolError:
                    log.error("the book of receipts %s holds what is no letter", name)


def _what_is_short(error: OSError) -> str:
    known = SHORT.get(error.errno or 0)
    return reason_of(error if known is None else short_for(known, "the book of receipts"))
