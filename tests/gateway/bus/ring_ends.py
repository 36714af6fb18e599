"""Both ends of a ring, for tests of one ring and of all of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from gateway.bus.ledger import empty_row
from gateway.bus.ring import SLOTS, RingReader, RingWriter
from gateway.bus.rings import Rings
from gateway.mail.codec import encode
from gateway.mail.message import Message

READER = "worker.1"

Make = Callable[..., Message]


def borrowed(rings: Rings, reader: str = READER) -> RingWriter:
    ring = rings.borrow(reader)
    assert ring is not None
    return ring


def reader_of(rings: Rings, ring: RingWriter, reader: str = READER) -> RingReader:
    found = rings.ring_for(ring.number, reader)
    assert found is not None
    return found


def taken(reader: RingReader, most: int = SLOTS) -> list[Any]:
    letters: list[Message] = []
    reader.take(letters, empty_row(), 0, most)
    return [letter.body for letter in letters]


def left_in(ending: list[RingReader]) -> list[Any]:
    letters: list[Message] = []
    for ring in ending:
        ring.rest(letters, empty_row(), 0)
    return [letter.body for letter in letters]


def packed(letter: Make, body: Any) -> bytes:
    return encode(letter(body=body))


def in_a_child(act: Callable[[], Any]) -> int:
    """Return the exit status of a child of os.fork() that does ``act``: 0 where it is true."""
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            status = 0 if act() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
