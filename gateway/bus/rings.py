"""Rings in shared memory: what a full socket has no room for, from one OS process to another.

Ten letters fit into a socket (net.unix.max_dgram_qlen), and each costs two system calls. A
writer that finds it full borrows a ring, a buffer of `SLOTS` letters that it alone writes
and its reader alone reads, and puts the letters there, without a system call, until its
reader has caught up with it.

Order and sleep are the socket's still. The first letter since a ring was borrowed **opens** it,
and is taken by nobody before its **bell** was read, a datagram that lies in the socket behind
all that was written before. Those that follow need a bell where their reader has caught up, and
may have left. Whoever has emptied a ring looks once more, `QUIET` later, before it relies on the
next bell: a letter that another core wrote in that very moment may not have been visible.

Where cores may see memory change in another order, as on a Pi, a slot says which letter it
holds, and is signed for its reader (CRC-32); until all of it is there it is not taken.

The rings are made before the first fork. A byte of a file is locked by whoever has borrowed
one, so that the kernel gives it back when its borrower dies. What a reader that died left in
its rings is taken out by its boss, like what it left in its sockets.

Refused: letters of more than `LETTER` bytes, which go by the socket.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import threading
from collections.abc import Iterator
from functools import cache
from time import monotonic, sleep
from weakref import WeakSet, WeakValueDictionary
from zlib import crc32

from gateway.bus.ledger import GARBAGE, TAKEN_IN, Counts
from gateway.errors import ProtocolError
from gateway.mail.codec import BROKEN, decode, unpack
from gateway.mail.message import Message

SLOTS = 64
"""Letters that a ring holds: more would have others wait too long behind them."""

LETTER = 1024
"""Bytes of the largest letter that a ring takes."""

KEEPS_ORDER = os.uname().machine in {"x86_64", "i686"}
"""Whether each core sees what another one wrote in the order in which that was written."""

RINGS = 16
"""Rings of one application; who gets none waits for room in the socket."""

VISIBLE = 0.0002
"""Seconds after which each core sees what another one wrote before: it takes some nanoseconds."""

QUIET = 0.001
"""Seconds after which an empty ring is looked at once more: longer, and as epoll counts them."""

ENDED_WITHIN = 1.0
"""Seconds within which a reader that is gone has been taken stock of."""

AT_IT = 0.05
"""Seconds for which a reader may have a ring in its hands: taking 64 letters takes 100 us."""

TENURE = 0.05
"""Seconds within which whoever takes stock of a ring has it for itself: borrowing takes 50 us."""

FEW, SHORT = 4, 8
"""Letters that one bell should be good for, and how often in a row it may be good for fewer.

After that the ring is no gain, and is given back.
"""

NOT_IN = -1
"""What `RingWriter.put` returns for a letter that it did not take."""

LOOKS = 100
"""How often a slot is looked at whose content does not fit what it says, before it is garbage."""

# Words of 64 bits. Writer and reader write to cache lines of their own.
_HEAD, _BELLED = 0, 1
_TAIL, _WANTED, _ENDED, _BUSY = 8, 9, 10, 11
_STATES = 64
# Bytes.
_READER, _READER_SIZE, _DATA = 128, 128, 1024
_SIZE = _DATA + SLOTS * LETTER

# What a slot's word says: size, whether it opens, which letter it is, and the checksum.
_SIZES, _OPENS, _NUMBER, _NUMBERS, _SUM = 0x7FF, 0x800, 12, 0xFFFFF, 32

_ENDING, _OVER = 1, 2


class _Ring:
    """What both ends of one ring share."""

    __slots__ = ("_data", "_event", "_reader", "_words", "number")

    def __init__(self, number: int, memory: memoryview, event: int) -> None:
        self.number = number
        self._event = event
        self._words = memory.cast("Q")
        self._reader = memory[_READER : _READER + _READER_SIZE]
        self._data = memory[_DATA:]

    def is_for(self, reader: bytes) -> bool:
        """Whether letters in it are for the mailbox whose socket is called ``reader``."""
        return bytes(self._reader) == reader.ljust(_READER_SIZE, b"\0")


class RingWriter(_Ring):
    """A ring that was borrowed, to be written to by one thread at a time."""

    __slots__ = (
        "__weakref__",
        "_head",
        "_is_signed",
        "_last_bell",
        "_limit",
        "_opened",
        "_seed",
        "_short",
        "largest",
        "owes",
    )

    def __init__(
        self, number: int, memory: memoryview, event: int, reader: bytes, *, is_signed: bool
    ) -> None:
        super().__init__(number, memory, event)
        self.largest = LETTER
        """Bytes of the largest letter that it takes; 0 in a fork, whose parent borrowed it."""
        self.owes = False
        """Whether a letter may lie there of which its reader was not told."""
        self._is_signed = is_signed
        self._seed = crc32(reader)
        words = self._words
        self._head = words[_TAIL] = words[_HEAD] = max(words[_HEAD], words[_TAIL])
        words[_WANTED] = words[_ENDED] = words[_BUSY] = words[_BELLED] = 0
        self._reader[:] = reader.ljust(_READER_SIZE, b"\0")
        self._limit = self._head + SLOTS
        self._last_bell = self._head
        self._opened = -1
        self._short = 0

    @property
    def is_empty(self) -> bool:
        """Whether its reader has taken everything."""
        return self._words[_TAIL] >= self._head

    @property
    def is_worthwhile(self) -> bool:
        """Whether several letters went by one bell, not long ago."""
        return self._short < SHORT

    @property
    def has_ended(self) -> bool:
        """Whether its reader is gone, or about to be."""
        return self._words[_ENDED] != 0

    def put(self, letter: bytes) -> int | None:
        """Put ``letter`` in; return None where that is all, else what is to be done.

        `NOT_IN` where it has no room or is too large; its number where it is in, and its reader is
        to be told, or gone.
        """
        words, number, size = self._words, self._head, len(letter)
        if number >= self._limit or not 0 < size <= self.largest:
            return NOT_IN
        slot = number % SLOTS
        start = slot * LETTER
        self._data[start : start + size] = letter
        words[slot + _STATES] = self._sign(number, letter) if self._is_signed else size
        self._head = words[_HEAD] = number + 1
        # Its reader may have left since, thinking that this was all.
        return number if words[_TAIL] >= number or words[_ENDED] else None

    def open(self, letter: bytes) -> int:
        """Put ``letter`` in as the first since this ring was borrowed; return its number."""
        number = self._head
        slot = number % SLOTS
        self._data[slot * LETTER : slot * LETTER + len(letter)] = letter
        self._words[_STATES + slot] = self._sign(number, letter) | _OPENS
        self._head = self._words[_HEAD] = number + 1
        self._opened = number
        return number

    def make_room(self) -> bool:
        """See how far its reader is; tell whether there is room."""
        self._limit = self._words[_TAIL] + SLOTS
        return self._head < self._limit

    def _sign(self, number: int, letter: bytes) -> int:
        return crc32(letter, self._seed) << _SUM | (number & _NUMBERS) << _NUMBER | len(letter)

    def rung(self, number: int) -> None:
        """Note that the bell of letter ``number`` lies in the socket."""
        self._words[_BELLED] = number + 1
        self.owes = False
        self._short = self._short + 1 if number - self._last_bell < FEW else 0
        self._last_bell = number
        if not self.is_worthwhile:
            # Whoever writes next is to think again.
            self._limit = 0

    def is_taken(self, number: int) -> bool:
        """Whether the reader, or whoever took stock of it, has letter ``number``."""
        return self._words[_TAIL] > number

    def is_unheard(self, number: int) -> bool:
        """Whether letter ``number`` opened the ring, and its bell never lay in the socket."""
        return self._opened == number and self._words[_BELLED] <= number

    @property
    def last(self) -> int:
        """The number of the letter that was put in last."""
        return self._head - 1

    def take_back(self, number: int) -> bool:
        """Take letter ``number`` out again, the last; tell whether it was still there.

        Where its reader stands still with the ring in its hands nobody knows: it may come
        although it is said to be taken back, and the ring is good for nothing more.
        """
        words = self._words
        if not self.is_unheard(number) and words[_ENDED] != _OVER:
            # As one that opens it is not taken, unless its reader is at it this moment.
            words[number % SLOTS + _STATES] |= _OPENS
            deadline = monotonic() + AT_IT
            sleep(VISIBLE)
            while words[_BUSY] and monotonic() < deadline:
                sleep(VISIBLE)
            if words[_BUSY]:
                self.largest = 0
                return not self.is_taken(number)
        if self.is_taken(number):
            return False
        self._head = words[_HEAD] = number
        return True

    def abandon(self) -> None:
        """Take out what was put in, where no bell was ever rung."""
        if not self._words[_BELLED]:
            self._head = self._words[_HEAD] = self._words[_TAIL]

    def owe(self) -> None:
        """Note that a bell may be missing; whoever writes next is to make up for it."""
        self.owes, self._limit = True, 0

    def lapse(self) -> None:
        """Be of no use any more: its parent's, in a fork, or closed."""
        self.largest, self._event = 0, -1

    def await_end(self) -> None:
        """Wait until stock was taken of a reader that is gone."""
        deadline = monotonic() + ENDED_WITHIN
        while self._words[_ENDED] != _OVER and monotonic() < deadline:
            sleep(QUIET)

    def want_room(self) -> None:
        """Have the descriptor told once its reader has made room."""
        self._words[_WANTED] = 1

    def was_told(self) -> None:
        """Have the descriptor readable no more."""
        with contextlib.suppress(OSError, ValueError):
            os.eventfd_read(self._event)

    def fileno(self) -> int:
        """The descriptor that is readable when there is room again; -1 where it is closed."""
        return self._event


class RingReader(_Ring):
    """A ring that letters come from, for one thread at a time."""

    __slots__ = ("_is_left", "_is_signed", "_looks", "_quiet_since", "_rung", "_seed", "_tail")

    def __init__(
        self, number: int, memory: memoryview, event: int, reader: bytes, *, is_signed: bool
    ) -> None:
        super().__init__(number, memory, event)
        self._is_signed = is_signed
        self._seed = crc32(reader)
        self._tail = self._words[_TAIL]
        self._rung = -1
        self._looks = 0
        self._is_left = False
        self._quiet_since: float | None = None

    def hear(self, number: int) -> None:
        """Note the bell of letter ``number``."""
        self._tail = self._words[_TAIL]
        self._rung = number
        self._quiet_since = None

    def is_quiet(self, now: float) -> bool:
        """Whether it has been seen empty for long enough; ``now`` is in monotonic seconds."""
        if self.is_ready:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now
        return self._quiet_since is not None and now - self._quiet_since >= QUIET

    def rest(self, letters: list[Message], counts: Counts, taken: int) -> int:
        """Take all that is left by a reader that is gone, as `take` does.

        That is what was rung for, and what followed.
        """
        self._rung = self._words[_BELLED] - 1
        # By now it is visible, or will never be.
        self._is_left = True
        return self.take(letters, counts, taken, SLOTS)

    @property
    def is_over(self) -> bool:
        """Whether stock was taken of it already."""
        return self._words[_ENDED] == _OVER

    @property
    def is_ready(self) -> bool:
        """Whether there is a letter to be taken."""
        words, tail = self._words, self._tail
        if words[_HEAD] <= tail:
            return False
        if self._rung != tail and words[_STATES + tail % SLOTS] & _OPENS:
            return False
        # Last: it may be another's by now, whose first letter opens it, and lies there until then.
        return words[_TAIL] == tail

    def take(self, letters: list[Message], counts: Counts, taken: int, most: int) -> int:
        """Move up to ``most`` letters into ``letters``; return ``taken``, counted on.

        Each is counted as taken in, one at a time, so that no more than one is in doubt.
        """
        words = self._words
        words[_BUSY] = 1
        try:
            return self._take(letters, counts, taken, most) if self.is_ready else taken
        finally:
            words[_BUSY] = 0

    def _take(self, letters: list[Message], counts: Counts, taken: int, most: int) -> int:
        # One that opens is always the first.
        self._quiet_since = None
        words, data, is_signed = self._words, self._data, self._is_signed
        tail, head = self._tail, words[_HEAD]
        end = min(head, tail + most)
        while tail < end:
            slot = tail % SLOTS
            word = words[slot + _STATES]
            start = slot * LETTER
            letter = data[start : start + (word & _SIZES)]
            message = None
            if not is_signed or self._is_whole(tail, word, letter):
                self._looks = 0
                try:
                    message = unpack(letter)
                    if message.body_type:
                        message = decode(letter)
                except (*BROKEN, ProtocolError):
                    pass
            elif self._looks < LOOKS and not self._is_left:
                self._looks += 1
                break
            tail += 1
            words[_TAIL] = self._tail = tail
            if message is None:
                counts[GARBAGE] += 1
                self._looks = 0
            else:
                taken += 1
                counts[TAKEN_IN] = taken
                letters.append(message)
        if words[_WANTED] and head - tail <= SLOTS // 2:
            self._tell()
        return taken

    def _is_whole(self, number: int, word: int, letter: memoryview) -> bool:
        """Whether all that was written into a slot is visible by now, and may be taken."""
        said = (word >> _NUMBER & _NUMBERS) == number & _NUMBERS
        heard = not word & _OPENS or self._rung == number
        return said and heard and crc32(letter, self._seed) == word >> _SUM

    def end(self, *, over: bool) -> None:
        """Say that its reader is gone, and whether stock was taken, so that nothing more is."""
        self._words[_ENDED] = _OVER if over else _ENDING
        self._tell()

    def _tell(self) -> None:
        self._words[_WANTED] = 0
        os.eventfd_write(self._event, 1)


class Rings:
    """The rings of one application, made before its first fork. Thread-safe.

    Each OS process may borrow what no other has borrowed, and read what is for its mailboxes.
    """

    def __init__(self, rings: int = RINGS, *, is_signed: bool = not KEEPS_ORDER) -> None:
        self._is_signed = is_signed
        self._memory = memoryview(mmap.mmap(-1, rings * _SIZE))
        # Locks of this kind belong to an OS process, and end with it.
        self._locks = os.memfd_create("gateway-rings", os.MFD_CLOEXEC)
        self._events = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(rings)]
        # A collected outlet gives its ring back wherever it is collected, in here as well.
        self._lock = threading.RLock()
        self._borrowed: WeakValueDictionary[int, RingWriter] = WeakValueDictionary()

    def _lapse(self) -> None:
        """Begin anew in a child of os.fork(): what its parent borrowed is not the child's."""
        self._lock = threading.RLock()
        for ring in list(self._borrowed.values()):
            ring.lapse()
        self._borrowed.clear()

    def borrow(
        self, reader: str, orphans: list[tuple[int, int]] | None = None
    ) -> RingWriter | None:
        """Return a ring to the mailbox whose socket is called ``reader``; None where none is free.

        It is yours until `give_back`, or until this OS process ends. Noted in ``orphans`` are
        the bells to be rung for letters to that mailbox whose writers are gone: ring and letter.
        """
        name = reader.encode()
        if len(name) > _READER_SIZE:
            return None
        with self._lock:
            for number in range(len(self._events)):
                if number in self._borrowed or not self._has_locked(number):
                    continue
                ring = None
                if self._has_locked(self._tenure(number)):
                    if self._is_free(number, name):
                        ring = RingWriter(*self._parts(number), name, is_signed=self._is_signed)
                    elif orphans is not None:
                        orphans += self._orphans(number, name)
                    self._unlock(self._tenure(number))
                if ring is not None:
                    _heed_forks(self)
                    self._borrowed[number] = ring
                    return ring
                if number not in self._borrowed:
                    self._unlock(number)
        return None

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

    @contextlib.contextmanager
    def ending(self, reader: str) -> Iterator[list[RingReader]]:
        """Offer every ring to a mailbox that is gone, so that stock is taken of them.

        What is put in from here on is refused; nobody borrows them meanwhile.
        """
        found: list[RingReader] = []
        with self._lock:
            try:
                for number in range(len(self._events)):
                    # Looked at twice: mostly there is none, and then no system call is made.
                    if not self._is_for(number, reader.encode()):
                        continue
                    if not self._has_locked(self._tenure(number), TENURE):
                        # Whoever was stopped as it borrowed found nothing in there.
                        continue
                    ring = self.ring_for(number, reader)
                    if ring is None or ring.is_over:
                        self._unlock(self._tenure(number))
                    else:
                        found.append(ring)
                        ring.end(over=False)
                if found:
                    # What was put in before is visible from here on, and whoever puts in
                    # something later sees that this is the end.
                    sleep(VISIBLE)
                yield found
            finally:
                for ring in found:
                    ring.end(over=True)
                    self._unlock(self._tenure(ring.number))

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
        memory = self._memory[number * _SIZE : (number + 1) * _SIZE]
        return number, memory, self._events[number]

    def _is_for(self, number: int, reader: bytes) -> bool:
        return _Ring(*self._parts(number)).is_for(reader)

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

    def _is_free(self, number: int, reader: bytes) -> bool:
        """Whether nothing lies in a ring that somebody may still take."""
        ring = _Ring(*self._parts(number))
        words = ring._words
        tail = words[_TAIL]
        if words[_HEAD] <= tail or words[_ENDED] == _OVER:
            return True
        # Its borrower was killed before its bell lay in the socket, so that `send` never returned.
        # One that was killed right after it has a bell there; another reader pays no heed to it.
        unheard = words[_STATES + tail % SLOTS] & _OPENS and words[_BELLED] <= tail
        return bool(unheard) and not ring.is_for(reader)

    def _orphans(self, number: int, reader: bytes) -> list[tuple[int, int]]:
        """Return the bell for what lies in a ring that nobody has borrowed any more."""
        ring = _Ring(*self._parts(number))
        return [(number, ring._words[_TAIL])] if ring.is_for(reader) else []


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
