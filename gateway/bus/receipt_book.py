"""The letters with a receipt that a reader holds, kept where they outlive it.

What a forked reader has taken out of its sockets and rings, and not handed out yet, lies in its
memory alone, and is lost where it is killed. Of letters whose writers asked for a **receipt** it
notes who wrote them, and in which thread, in a file that it maps into its memory, beside its
sockets. Whoever takes stock of a dead reader (`gateway.bus.office`) finds there whom to tell.

The file is made for the first such letter, and is as long as the most of them that were held at a
time: who never gets one has none. Where there is no room for it the letters are read all the same,
and a warning says that of those nobody would be told.

A letter is noted before it is queued and struck out once it was handed out, with one store each
that counts, so that a reader that is killed anywhere leaves no more than one that is in doubt. It
is noted again while it waits for a thread of its process's callbacks
(`gateway.process.callback_threads`). Any thread may note and strike out.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Iterator
from struct import Struct
from threading import RLock

from msgspec.structs import replace

from gateway.bus.wire import INLINE, Folder
from gateway.errors import ProtocolError
from gateway.mail.codec import decode, encode
from gateway.mail.message import Message

log = logging.getLogger(__name__)

_SIZE = Struct("<I")
"""What stands before each letter: its size in bytes, 0 where the place is free."""

PLACES = {"receipts": 256, "long-receipts": INLINE + _SIZE.size}
"""Bytes of each place by the kind of file: nearly all fit into the first."""

AT_FIRST = 16 * 1024
"""Bytes of a file for short ones at first; each time that it is full it is made twice as long."""


class ReceiptBook:
    """What the reader of one mailbox holds; ``name`` is that of its socket."""

    __slots__ = ("_files", "_is_closed", "_is_short", "_lock", "places")

    def __init__(self, folder: Folder, name: str) -> None:
        self.places: dict[str, tuple[_Places, int]] = {}
        """Where each letter is noted, by its id."""
        # A signal's handler may read while its thread is in here.
        self._lock = RLock()
        self._files = [_Places(folder, f"{name}.{kind}", size) for kind, size in PLACES.items()]
        self._is_closed = self._is_short = False

    def note(self, message: Message) -> None:
        """Note ``message``, which was asked a receipt for; twice is fine."""
        # What is told of it: never what it says.
        stub = encode(replace(message, body=None, body_type="", headers=None))
        file = next(each for each in self._files if len(stub) <= each.longest)
        try:
            with self._lock:
                if not (self._is_closed or message.message_id in self.places):
                    self.places[message.message_id] = file, file.put(stub)
        except OSError as error:
            if not self._is_short:
                self._is_short = True
                log.warning(
                    "who asked %r for a receipt is not told should it be killed: %s",
                    message.recipient,
                    error,
                )
        else:
            self._is_short = False

    def strike(self, message: Message) -> None:
        """Strike ``message`` out; one that is not noted is fine."""
        found = self.places.pop(message.message_id, None)
        if found is not None:
            file, place = found
            file.clear(place)

    def close(self) -> None:
        """Remove the files, once everybody was told, and note nothing more; twice is fine."""
        with self._lock:
            self._is_closed = True
            for file in self._files:
                file.close()


class _Places:
    """A file of places of the same size."""

    __slots__ = ("_folder", "_free", "_memory", "_name", "_size", "longest")

    def __init__(self, folder: Folder, name: str, size: int) -> None:
        self.longest = size - _SIZE.size
        self._folder = folder
        self._name = name
        self._size = size
        self._free: list[int] = []
        self._memory: mmap.mmap | None = None

    def put(self, stub: bytes) -> int:
        """Write ``stub`` into a free place and return where; raise `OSError` where none is had."""
        memory = self._lengthened() if self._memory is None or not self._free else self._memory
        place = self._free.pop()
        memory[place + _SIZE.size : place + _SIZE.size + len(stub)] = stub
        # Last: from here on it is there.
        _SIZE.pack_into(memory, place, len(stub))
        return place

    def clear(self, place: int) -> None:
        """Have ``place`` free again."""
        if self._memory is not None:
            _SIZE.pack_into(self._memory, place, 0)
            self._free.append(place)

    def close(self) -> None:
        """Remove the file, where there is one."""
        if self._memory is not None:
            self._memory = None
            self._folder.unlink(self._name)

    def _lengthened(self) -> mmap.mmap:
        before = 0 if self._memory is None else len(self._memory)
        after = 2 * before or max(self._size, AT_FIRST // self._size * self._size)
        # What was mapped before is let go of by whoever still writes there: it is the same file.
        memory = self._folder.map(self._name, after)
        if self._memory is None or len(self._memory) < after:
            # Otherwise a signal's handler was faster.
            self._memory = memory
            self._free.extend(range(after - self._size, before - self._size, -self._size))
        return self._memory


def noted(folder: Folder, name: str) -> Iterator[Message]:
    """Return what a reader that is gone held of letters with a receipt; remove its book."""
    for kind, size in PLACES.items():
        try:
            content = folder.take(f"{name}.{kind}")
        except OSError as error:
            log.error("who asked %s for a receipt is not told that it died: %s", name, error)
            continue
        for place in range(0, len(content) - size + 1, size):
            start = place + _SIZE.size
            (length,) = _SIZE.unpack_from(content, place)
            if length:
                try:
                    yield decode(content[start : start + length])
                except ProtocolError:
                    log.error("the book of receipts %s holds what is no letter", name)
