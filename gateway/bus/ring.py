"""A ring in shared memory: letters from one OS process to one mailbox, without a system call.

One thread at a time writes into it, and one reads. The first letter since it was borrowed
(`gateway.bus.rings`) **opens** it, and is taken by nobody before its **bell** was read, a
datagram that lies in the reader's socket behind all that was written there before. Those that
follow need a bell where their reader has caught up, and may have left. Whoever has emptied a
ring looks once more, `QUIET` later, before it relies on the next bell: a letter that
another core wrote in that very moment may not have been visible.

Where cores may see memory change in another order, as on a Pi, a slot says which letter it
holds, and is signed for its reader (CRC-32); until all of it is there it is not taken.

Refused: letters of more than `LETTER` bytes, which go by the socket.
"""

from __future__ import annotations

import os
from time import monotonic, sleep
from zlib import crc32

from gateway.bus.attempts import Attempts
from gateway.bus.lanes import NO_RECEIPTS, Receipts
from gateway.bus.ledger import GARBAGE, TAKEN_IN, Counts
from gateway.errors import ProtocolError
from gateway.mail.codec import BROKEN, decode, unpack
from gateway.mail.message import Message

SLOTS = 64
"""Letters that a ring holds: more would have others wait too long behind them."""

LETTER = 1024
"""Bytes of the largest letter that a ring takes."""

VISIBLE = 0.0002
"""Seconds after which each core sees what another one wrote before: it takes some nanoseconds."""

QUIET = 0.001
"""Seconds after which an empty ring is looked at once more: longer, and as epoll counts them."""

ENDED_WITHIN = 1.0
"""Seconds within which a reader that is gone has been taken stock of."""

AT_IT = 0.05
"""Seconds for which a reader may have a ring in its hands: taking 64 letters takes 100 us."""

FEW, SHORT = 4, 8
"""Letters that one bell should be good for, and how often in a row it may be good for fewer.

After that the ring is no gain, and is given back.
"""

NOT_IN = -1
"""What `RingWriter.put` returns for a letter that it did not take."""

LOOKS = 100
"""How often a slot is looked at whose content does not fit what it says, before it is garbage."""

# Words of 64 bits. Writer and reader write to cache lines of their own.
_HEAD, _BELLED, _TENURE = 0, 1, 2
_TAIL, _WANTED, _ENDED = 8, 9, 10
# By the tenure: who read a ring before may be late in saying that it is not at it any more.
_BUSY, _BUSIES = 12, 4
_STATES = 64
# Bytes.
_READER, NAME, _DATA = 128, 128, 1024
SIZE = _DATA + SLOTS * LETTER

# What a slot's word says: size, whether it opens, which letter it is, and the checksum.
_SIZES, _OPENS, _NUMBER, _NUMBERS, _SUM = 0x7FF, 0x800, 12, 0xFFFFF, 32

_ENDING, _OVER, _DISPUTED = 1, 2, 3


Packed = bytes | bytearray
"""A letter as it lies in a ring."""


class Ring:
    """What both ends of one ring share."""

    __slots__ = ("_data", "_event", "_reader", "_words", "number")

    def __init__(self, number: int, memory: memoryview, event: int) -> None:
        self.number = number
        self._event = event
        self._words = memory.cast("Q")
        self._reader = memory[_READER : _READER + NAME]
        self._data = memory[_DATA:]

    def is_for(self, reader: bytes) -> bool:
        """Whether letters in it are for the mailbox whose socket is called ``reader``."""
        return bytes(self._reader) == reader.ljust(NAME, b"\0")

    def is_free_for(self, reader: bytes) -> bool:
        """Whether nothing lies in it that somebody may still take; it is nobody's this moment."""
        words = self._words
        tail, ended = words[_TAIL], words[_ENDED]
        if ended == _OVER:
            return True
        if ended != _DISPUTED:
            if words[_HEAD] <= tail:
                return True
            # Its borrower was killed before its bell lay in the socket, so that `send` never
            # returned. One that was killed right after it has a bell there.
            unheard = words[_STATES + tail % SLOTS] & _OPENS and words[_BELLED] <= tail
            if not unheard or self.is_for(reader):
                return False
        # The one that it was for may have heard that bell.
        return not words[self._busy()]

    @property
    def unread(self) -> int | None:
        """The number of the letter that is taken next; None where there is none."""
        tail = self._words[_TAIL]
        return tail if self._words[_HEAD] > tail else None

    def _busy(self) -> int:
        """Return which word says that the reader of this tenure is at it."""
        return _BUSY + self._words[_TENURE] % _BUSIES


class RingWriter(Ring):
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
        """Bytes of the largest letter that it takes; 0 where it is another's."""
        self.owes = False
        """Whether a letter may lie there of which its reader was not told."""
        self._is_signed = is_signed
        self._seed = crc32(reader)
        words = self._words
        numbered = max(words[_HEAD], words[_TAIL])
        if self.unread is not None and words[_ENDED] not in {_OVER, _DISPUTED}:
            # Who may be taking that this moment, having heard a late bell, finds no more of it.
            words[_HEAD] = words[_TAIL]
            if self._stays(self._busy()):
                words[_ENDED] = _DISPUTED
                self.largest = 0
                return
        # A bell of the tenure before which is late, and whoever reads it still, meets no letter.
        self._head = words[_TAIL] = words[_HEAD] = numbered + 1
        words[_TENURE] += 1
        words[_WANTED] = words[_ENDED] = words[self._busy()] = words[_BELLED] = 0
        self._reader[:] = reader.ljust(NAME, b"\0")
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

    def put(self, letter: Packed) -> int | None:
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
        """Put ``letter``, which fits, in as the first since it was borrowed; return its number."""
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

    def _sign(self, number: int, letter: Packed) -> int:
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

        Where its reader stands still with the ring in its hands, and with this letter in
        particular, nobody knows: that one may come although it is said to be taken back.
        """
        words = self._words
        if self.is_taken(number):
            return False
        if not self.is_unheard(number) and words[_ENDED] != _OVER:
            # As one that opens it is not taken, unless its reader is at it this moment.
            state = number % SLOTS + _STATES
            words[state] |= _OPENS
            if self._stays(self._busy()) and not self.is_taken(number):
                # What is void is left out when its turn comes.
                words[state] = self._sign(number, b"") if self._is_signed else 0
                return True
        if self.is_taken(number):
            return False
        self._head = words[_HEAD] = number
        return True

    def _stays(self, busy: int) -> bool:
        """Wait until a reader does not have the ring in its hands; tell whether it stands still."""
        deadline = monotonic() + AT_IT
        sleep(VISIBLE)
        while self._words[busy] and monotonic() < deadline:
            sleep(VISIBLE)
        return self._words[busy] != 0

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
        try:
            if self._event >= 0:
                os.eventfd_read(self._event)
        except OSError as error:
            # Without a number it is a signal's handler's.
            if error.errno is None:
                raise

    def fileno(self) -> int:
        """The descriptor that is readable when there is room again; -1 where it is closed."""
        return self._event


class RingReader(Ring):
    """A ring that letters come from, for one thread at a time."""

    __slots__ = (
        "_at_it",
        "_failed",
        "_is_left",
        "_is_signed",
        "_looks",
        "_quiet_since",
        "_rung",
        "_seed",
        "_tail",
    )

    def __init__(
        self, number: int, memory: memoryview, event: int, reader: bytes, *, is_signed: bool
    ) -> None:
        super().__init__(number, memory, event)
        self._is_signed = is_signed
        self._seed = crc32(reader)
        self._tail, self._at_it = self._words[_TAIL], self._busy()
        self._rung = -1
        self._looks = 0
        # Which letter could not be unpacked, and how often.
        self._failed = Attempts()
        self._is_left = False
        self._quiet_since: float | None = None

    def hear(self, number: int) -> None:
        """Note the bell of letter ``number``: good for what was put in before as well."""
        self._tail, self._at_it = self._words[_TAIL], self._busy()
        # One that is late, of a letter that was taken long ago, takes nothing back.
        self._rung = max(self._rung, number)
        self._quiet_since = None

    def is_quiet(self, now: float) -> bool:
        """Whether it has been seen empty for long enough; ``now`` is in monotonic seconds."""
        if self.is_ready:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now
        return self._quiet_since is not None and now - self._quiet_since >= QUIET

    def rest(
        self,
        letters: list[Message],
        counts: Counts,
        taken: int,
        receipts: Receipts = NO_RECEIPTS,
    ) -> int:
        """Take all that is left by a reader that is gone, as `take` does.

        That is what was rung for, and what followed.
        """
        self._rung = self._words[_BELLED] - 1
        # By now it is visible, or will never be.
        self._is_left = True
        return self.take(letters, counts, taken, SLOTS, receipts)

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
        if self._rung < tail and words[_STATES + tail % SLOTS] & _OPENS:
            return False
        # Last: it may be another's by now, whose first letter opens it, and lies there until then.
        return words[_TAIL] == tail

    def take(
        self,
        letters: list[Message],
        counts: Counts,
        taken: int,
        most: int,
        receipts: Receipts = NO_RECEIPTS,
    ) -> int:
        """Move up to ``most`` letters into ``letters``; return ``taken``, counted on.

        Each is counted as taken in, one at a time, so that no more than one is in doubt, and
        those with a receipt are noted before.
        """
        if not self.is_ready:
            return taken
        words = self._words
        words[self._at_it] = 1
        try:
            # Its writer may have taken it back meanwhile.
            return self._take(letters, counts, taken, most, receipts) if self.is_ready else taken
        finally:
            words[self._at_it] = 0

    def _take(
        self, letters: list[Message], counts: Counts, taken: int, most: int, receipts: Receipts
    ) -> int:
        self._quiet_since = None
        words, data, is_signed = self._words, self._data, self._is_signed
        tail, head = self._tail, words[_HEAD]
        end = min(head, tail + most)
        while tail < end:
            slot = tail % SLOTS
            word = words[slot + _STATES]
            if word & _OPENS and self._rung < tail:
                # Its writer is taking it back.
                break
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
                except Exception:
                    # It is in its place still.
                    if not self._failed.are_over(tail):
                        raise
            elif self._looks < LOOKS and not self._is_left:
                self._looks += 1
                break
            if message is not None and message.receipt:
                receipts.note(message, quietly=self._is_left)
            tail += 1
            words[_TAIL] = self._tail = tail
            if message is None:
                # Void is what was taken back.
                counts[GARBAGE] += bool(word & _SIZES)
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
        return said and crc32(letter, self._seed) == word >> _SUM

    def end(self, *, over: bool) -> None:
        """Say that its reader is gone, and whether stock was taken, so that nothing more is."""
        self._words[_ENDED] = _OVER if over else _ENDING
        self._tell()

    def _tell(self) -> None:
        self._words[_WANTED] = 0
        os.eventfd_write(self._event, 1)
