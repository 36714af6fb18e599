"""Both ends of a ring, and of a mailbox that is written to by rings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gateway.bus.ledger import empty_row
from gateway.bus.mailbox import Mailbox
from gateway.bus.ring import SLOTS, RingReader, RingWriter
from gateway.bus.ring_outlet import RingOutlet
from gateway.bus.rings import Rings
from gateway.mail.codec import encode
from gateway.mail.message import Message

READER = "worker.1"

ANOTHER = -1
"""A thread that is none of ours."""

Make = Callable[..., Message]
Boxes = Callable[..., Mailbox]
Outlets = Callable[..., RingOutlet]
Flowing = Callable[[RingOutlet, Mailbox], int]
Waiting = Callable[[], tuple[RingOutlet, Any]]


@contextmanager
def taking_stock(rings: Rings, reader: str = READER) -> Iterator[list[RingReader]]:
    """Do what `Rings.ending` does, for as long as the ``with`` lasts."""
    found: list[RingReader] = []
    with rings._lock:
        try:
            rings._begin_to_end(reader, found)
            yield found
        finally:
            rings._end(found)


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


def drained(target: Mailbox, timeout: float = 0.0) -> list[Any]:
    """Return the bodies of what comes until nothing has come for ``timeout`` seconds."""
    return [letter.body for letter in iter(lambda: target.get(timeout), None)]


def received(target: Mailbox, many: int) -> list[Any]:
    """Return the bodies of the next ``many`` letters."""
    found = [target.get(10.0) for _ in range(many)]
    return [letter and letter.body for letter in found]


def filled(out: RingOutlet, letter: Make) -> int:
    """Fill the socket, and no more; return how many letters that took."""
    count = 0
    while out.try_send(letter(body=count), "mail"):
        count += 1
    return count


def deliver_many(out: RingOutlet, letter: Make, many: int) -> None:
    for number in range(many):
        out.deliver(letter(body=number), 30.0)
