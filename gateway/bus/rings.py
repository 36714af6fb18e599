"""The rings of an application: what a full socket has no room for goes through them.

Ten letters fit into a socket (net.unix.max_dgram_qlen), and each costs two system calls. A
writer that finds it full borrows a ring (`gateway.bus.ring`), a buffer of `SLOTS` letters that it
alone writes and its reader alone reads, and puts the letters there until its reader has
caught up with it. Order and sleep are the socket's still.

The rings are made before the first fork. A byte of a file is locked by whoever has borrowed
one, so that the kernel gives it back when its borrower dies. What a reader that died left in
its rings is taken out by its boss, like what it left in its sockets.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading
from collections.abc import Callable
from functools import cache
from time import monotonic, sleep
from typing import Protocol
from weakref import WeakSet, WeakValueDictionary

from gateway.bus.ring import NAME, SIZE, VISIBLE, Ring, RingReader, RingWriter

KEEPS_ORDER = os.uname().machine in {"x86_64", "i686"}
"""Whether each core sees what another one wrote in the order in which that was written."""

RINGS = 16
"""Rings of one application; who gets none waits for room in the socket."""

TENURE = 0.05
"""Seconds within which whoever takes stock of a ring has it for itself: borrowing takes 50 us."""


class Heeding(Protocol):
    """What begins anew in a child of os.fork()."""

    def lapse(self) -> None:
        """Forget what other threads were about; called in the child, on its only thread."""


class Rings:
    """The rings of one application, made before its first fork. Thread-safe.

    Each OS process may borrow what no other has borrowed, and read what is for its mailboxes.
    """

    def __init__(self, rings: int = RINGS, *, is_signed: bool = not KEEPS_ORDER) -> None:
        self._is_signed = is_signed
        self._memory = memoryview(mmap.mmap(-1, rings * SIZE))
        # Locks of this kind belong to an OS process, and end with it.
        self._locks = os.memfd_create("gateway-rings", os.MFD_CLOEXEC)
        self._events = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(rings)]
        # A collected outlet gives its ring back wherever it is collected, in here as well.
        self._lock = threading.RLock()
        self._borrowed: WeakValueDictionary[int, RingWriter] = WeakValueDictionary()
        self._ending: set[int] = set()
        self._looked_at: list[Ring] = []
        self._heeding: WeakSet[Heeding] = WeakSet()

    def heed_forks(self, user: Heeding) -> None:
        """Have ``user.lapse()`` called in a child of os.fork()."""
        _heed_forks(self)
        self._heeding.add(user)

    def _lapse(self) -> None:
        """Begin anew in a child of os.fork(): what its parent borrowed is not the child's."""
        self._lock = threading.RLock()
        for ring in list(self._borrowed.values()):
            ring.lapse()
        self._borrowed.clear()
        self._ending.clear()
        for user in list(self._heeding):
            user.lapse()

    def borrow(
        self, reader: str, orphans: list[tuple[int, int]] | None = None
    ) -> RingWriter | None:
        """Return a ring to the mailbox whose socket is called ``reader``; None where none is free.

        It is yours until `give_back`, or until this OS process ends. Noted in ``orphans`` are
        the bells to be rung for letters to that mailbox whose writers are gone: ring and letter.
        """
        name = reader.encode()
        if len(name) > NAME:
            return None
        _heed_forks(self)
        found = None
        with self._lock:
            for number in range(len(self._events)):
                if number in self._borrowed or number in self._ending:
                    continue
                left = self._look(number)
                is_owed = left.unread is not None and left.is_for(name)
                if (found is not None and not is_owed) or not self._has_locked(number):
                    continue
                try:
                    if found is None and left.is_free_for(name):
                        found = self._begin(number, name)
                    elif is_owed and orphans is not None:
                        # Its reader may have taken it this moment.
                        unread = left.unread
                        if unread is not None:
                            orphans.append((number, unread))
                finally:
                    if number not in self._borrowed:
                        self._unlock(number)
        return found

    def _begin(self, number: int, reader: bytes) -> RingWriter | None:
        """Begin a tenure of a ring that is locked, and free; None where stock is taken of it."""
        # A signal's handler may have come first: no lock of this OS process keeps it out.
        if number in self._borrowed or not self._has_locked(self._tenure(number)):
            return None
        try:
            ring = RingWriter(*self._parts(number), reader, is_signed=self._is_signed)
            if not ring.largest:
                return None
            self._borrowed[number] = ring
            return ring
        finally:
            self._unlock(self._tenure(number))

    def give_back(self, ring: RingWriter) -> None:
        """Let others borrow ``ring``, as soon as its reader has taken everything."""
        with self._lock:
            if self._borrowed.get(ring.number) is ring:
                del self._borrowed[ring.number]
                self._unlock(ring.number)

    def ring_for(self, number: int, reader: str) -> RingReader | None:
        """Return the reader's end of a ring; None where it is none to the mailbox ``reader``."""
        if not 0 <= number < len(self._events):
            return None
        ring = RingReader(*self._parts(number), reader.encode(), is_signed=self._is_signed)
        return ring if ring.is_for(reader.encode()) else None

    def ending(self, reader: str, take_stock: Callable[[list[RingReader]], None]) -> None:
        """Offer every ring to a mailbox that is gone, for ``take_stock`` of them.

        What is put in from here on is refused; nobody borrows them meanwhile.
        """
        _heed_forks(self)
        # No context manager of Python's own: a handler that raises on the way into one, or out
        # of it, would leave the lock taken.
        with self._lock:
            found: list[RingReader] = []
            try:
                self._begin_to_end(reader, found)
                take_stock(found)
            finally:
                self._end(found)

    def _begin_to_end(self, reader: str, found: list[RingReader]) -> None:
        """Find the rings to ``reader``, and have writers refused there, lock held."""
        name = reader.encode()
        for number in range(len(self._events)):
            # Looked at twice: mostly there is none, and then no system call is made.
            if not self._look(number).is_for(name):
                continue
            if not self._has_locked(self._tenure(number), TENURE):
                # Whoever was stopped as it borrowed found nothing in there.
                continue
            ring = self.ring_for(number, reader)
            if ring is None or ring.is_over:
                self._unlock(self._tenure(number))
            else:
                # Such locks do not keep a signal's handler of this process from borrowing.
                self._ending.add(number)
                found.append(ring)
                ring.end(over=False)
        if found:
            # What was put in before is visible from here on, and whoever puts in
            # something later sees that this is the end.
            sleep(VISIBLE)

    def _end(self, found: list[RingReader]) -> None:
        """Have those be borrowed again of which stock was taken, lock held."""
        for ring in found:
            ring.end(over=True)
            self._unlock(self._tenure(ring.number))
            self._ending.discard(ring.number)

    def close(self) -> None:
        """Give the descriptors back."""
        descriptors = [self._locks, *self._events]
        self._locks, self._events = -1, []
        # What is collected later has nothing to give back, and the numbers are others'.
        for ring in list(self._borrowed.values()):
            ring.lapse()
        self._borrowed.clear()
        for descriptor in descriptors:
            os.close(descriptor)

    def _parts(self, number: int) -> tuple[int, memoryview, int]:
        memory = self._memory[number * SIZE : (number + 1) * SIZE]
        return number, memory, self._events[number]

    def _look(self, number: int) -> Ring:
        """Return a ring to look at, whoever it is for."""
        if not self._looked_at:
            # Not before: most OS processes never do.
            self._looked_at = [Ring(*self._parts(each)) for each in range(len(self._events))]
        return self._looked_at[number]

    def _tenure(self, number: int) -> int:
        """Return which byte is locked while a ring changes hands."""
        return len(self._events) + number

    def _unlock(self, byte: int) -> None:
        fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, byte)

    def _has_locked(self, byte: int, within: float = 0.0) -> bool:
        """Try to lock a byte for this OS process; tell whether that succeeded."""
        deadline = monotonic() + within
        while True:
            try:
                fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN, errno.ENOLCK):
                    raise
                if monotonic() >= deadline:
                    return False
                sleep(VISIBLE)
            else:
                return True


_in_use: WeakSet[Rings] = WeakSet()


def _heed_forks(rings: Rings) -> None:
    """Have what is borrowed of ``rings`` lapse in a child of os.fork()."""
    # No sooner: what runs after each fork costs every child memory of its own.
    _heed_forks_at_all()
    _in_use.add(rings)


@cache
def _heed_forks_at_all() -> None:
    os.register_at_fork(after_in_child=_lapse_all)


def _lapse_all() -> None:
    for rings in list(_in_use):
        rings._lapse()
