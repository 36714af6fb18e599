"""The outlet to a mailbox whose writers wait: what its socket has no room for goes by a ring.

See `gateway.bus.ring`. As long as letters come so fast that a ring is a gain all of them go
there, in their order; replies, bounces and control never do.

Several threads may write at once, one at a time into the ring. Where one of them has written
to the socket as another one borrowed the ring, nobody knows which is first: then the ring is
given back as soon as it is empty.
"""

from __future__ import annotations

import os
import select
from _thread import get_ident
from time import monotonic, sleep

from gateway.bus.carrying import carried
from gateway.bus.patience import Patience
from gateway.bus.ring import LETTER, NOT_IN, QUIET, Packed, RingWriter
from gateway.bus.rings import Rings
from gateway.bus.wire import (
    ANNOUNCEMENT,
    BELL,
    DEAD,
    FORESEEN,
    Folder,
    Outlet,
    no_unicode,
    pack,
    socket_name,
)
from gateway.errors import MailboxFullError, RecipientGoneError
from gateway.mail.codec import encode_into
from gateway.mail.message import Message

LONGEST = 0.05
"""Seconds after which a writer that waits looks by itself whether there is room."""

TURN = 0.01
"""Seconds for which whoever has no time waits for a thread that is just writing.

Who has waited that long is the next one; before, whoever comes by may be.
"""

SOON, LATER = 0.0001, 0.005
"""Seconds after which whoever waits for another thread looks again, at first and in the end."""


class RingOutlet(Outlet):
    """Borrows a ring when its socket is full, and gives it back when that was no gain."""

    __slots__ = (
        "__weakref__",
        "_first",
        "_holder",
        "_is_known",
        "_is_mixed",
        "_opener",
        "_packed",
        "_reader",
        "_ring",
        "_rings",
    )

    def __init__(
        self, folder: Folder, name: str, incarnation: int, rings: Rings, patience: Patience | None
    ) -> None:
        super().__init__(folder, name, incarnation, patience)
        self._rings = rings
        self._reader = socket_name(name, incarnation, "mail")
        self._ring: RingWriter | None = None
        # Threads: whose turn it is, who is the next one, and who borrowed the ring. A turn is taken
        # without a call between look and note, so that neither another thread nor a signal's
        # handler gets in; a lock that is taken as a handler raises is given back by nobody.
        self._holder = self._first = self._opener = 0
        self._is_mixed = False
        # What whoever has the turn packs letters into: bytes of their own cost half as much again.
        self._packed = bytearray()
        # Whether what is raised is ours, and leaves no letter without its bell.
        self._is_known = False

    def __del__(self) -> None:
        if self._ring is not None:
            self._rings.give_back(self._ring)
        super().__del__()

    def deliver(self, message: Message, timeout: float = 5.0) -> None:
        """Hand ``message`` over within ``timeout`` seconds, behind what lies in the ring."""
        if message.kind != "letter":
            super().deliver(message, timeout)
            return
        if self._ring is not None:
            me, deadline, ring = get_ident(), 0.0, None
            self._is_known = False
            if self._holder == me:
                # Of a signal's handler, in the middle of another letter.
                super().deliver(message, timeout)
                return
            try:
                if self._holder or self._first:
                    deadline = monotonic() + timeout
                    self._await_turn(me, deadline, timeout)
                else:
                    self._holder = me
                ring = self._ring
                if ring is not None:
                    letter: Packed
                    if type(message.body) is bytes:
                        # It may be large, and is not packed before that is known.
                        letter = pack(message)
                    else:
                        letter = packed = self._packed
                        encode_into(message, packed)
                        if len(packed) > LETTER:
                            # It goes another way, and would keep its memory.
                            self._packed = bytearray()
                    due = NOT_IN if self._is_mixed else ring.put(letter)
                    if due is None:
                        return
                    deadline = deadline or monotonic() + timeout
                    if self._goes_by_ring(ring, letter, due, deadline, timeout):
                        return
            except UnicodeEncodeError as error:
                raise no_unicode(error) from error
            except BaseException:
                # As of a signal's handler, unless it is ours: it may have come before the bell.
                if ring is not None and not self._is_known:
                    ring.owe()
                raise
            finally:
                if self._holder == me:
                    self._holder = 0
            if deadline:
                timeout = max(0.0, deadline - monotonic())
        super().deliver(message, timeout)
        if self._ring is not None and self._opener != get_ident():
            self._is_mixed = True

    def _wait_for_room(self, message: Message, timeout: float, packed: bytes) -> None:
        fits = message.kind == "letter" and 0 < len(packed) <= LETTER
        deadline = monotonic() + timeout
        if not (fits and timeout > 0 and self._opened_with(packed, deadline, timeout)):
            super()._wait_for_room(message, max(0.0, deadline - monotonic()), packed)

    # Turns

    def _await_turn(self, me: int, deadline: float, timeout: float) -> None:
        """Take the turn as soon as no other thread writes into the ring, or raise."""
        try:
            # A loop in here would lead past the `finally` where a signal's handler raises as it
            # begins anew, on Python 3.13.0.
            self._stand_in_line(me, deadline, timeout)
        finally:
            if self._first == me:
                self._first = 0

    def _stand_in_line(self, me: int, deadline: float, timeout: float) -> None:
        long = monotonic() + TURN
        deadline, pause = max(deadline, long), SOON
        letter = carried()
        # Nor is anything made here, which might collect, and so call something.
        while self._holder or (self._first and self._first != me):
            now = monotonic()
            if now >= deadline or letter.is_off:
                raise self._as_full(timeout)
            if now >= long and not self._first:
                self._first, pause = me, SOON
            sleep(min(pause, deadline - now))
            pause = min(2 * pause, LATER)
        self._holder = me

    def lapse(self) -> None:
        """Begin anew in a child of os.fork(): whoever else had the turn is not there."""
        self._holder, self._first, self._ring, self._is_mixed = 0, 0, None, False

    # The way by the ring

    def _opened_with(self, letter: bytes, deadline: float, timeout: float) -> bool:
        """Borrow a ring and put ``letter`` in as the first; False where there is none."""
        self._rings.heed_forks(self)
        me, ring, self._is_known = get_ident(), None, False
        if self._holder == me:
            return False
        try:
            if self._holder or self._first:
                self._await_turn(me, deadline, timeout)
            else:
                self._holder = me
            ring = self._ring
            if ring is not None:
                # Of another thread, a moment ago.
                return self._goes_by_ring(ring, letter, NOT_IN, deadline, timeout)
            orphans: list[tuple[int, int]] = []
            ring = self._rings.borrow(self._reader, orphans)
            if ring is not None:
                self._ring, self._opener, self._is_mixed = ring, me, False
            for orphan in orphans:
                self._ring_for_the_dead(*orphan, deadline)
            if ring is not None:
                self._tell(ring, ring.open(letter), deadline, timeout)
            return ring is not None
        except BaseException:
            # What was given back is another's.
            if ring is not None and self._ring is ring:
                if ring.is_empty:
                    # Nobody was told that letters come this way.
                    self._give_back(ring)
                elif not self._is_known:
                    ring.owe()
            raise
        finally:
            if self._holder == me:
                self._holder = 0

    def _goes_by_ring(
        self, ring: RingWriter, letter: Packed, due: int, deadline: float, timeout: float
    ) -> bool:
        """Go on where `RingWriter.put` was not all; False for what is to go by the socket."""
        put: int | None = due
        while put == NOT_IN:
            if not ring.largest:
                # A fork has a copy of what its parent borrowed, and no right to use it.
                self._give_back(ring)
                return False
            if ring.owes:
                self._make_up(ring, deadline, timeout)
            leaves = self._is_mixed or not 0 < len(letter) <= LETTER
            if leaves or not ring.make_room():
                self._wait_in_ring(ring, deadline, timeout, until_empty=leaves)
            if leaves or (ring.is_empty and not ring.is_worthwhile):
                self._give_back(ring)
                return False
            put = ring.put(letter)
        if put is not None:
            self._tell(ring, put, deadline, timeout)
        return True

    def _give_back(self, ring: RingWriter) -> None:
        self._ring, self._is_mixed = None, False
        self._rings.give_back(ring)

    def _tell(self, ring: RingWriter, number: int, deadline: float, timeout: float) -> None:
        """Have the reader know of letter ``number``, which is in, or be told that it is gone."""
        if not ring.has_ended and not ring.is_taken(number):
            self._ring_bell(ring, number, deadline, timeout)
        if self._ring is ring and ring.has_ended:
            self._settle(ring, number)

    def _ring_for_the_dead(self, ring: int, number: int, deadline: float) -> None:
        """Ring for what somebody put in who was killed before the bell."""
        try:
            self._send_bell(ring, number, deadline)
        except OSError as error:
            # Whoever takes stock of a reader that is gone finds it.
            if error.errno is None:
                raise

    def _make_up(self, ring: RingWriter, deadline: float, timeout: float) -> None:
        """Ring the bell that an interruption kept from ringing; nothing goes in before."""
        try:
            is_told = ring.is_empty or self._send_bell(ring.number, ring.last, deadline)
        except OSError as error:
            if error.errno not in FORESEEN:
                raise
            if error.errno in DEAD:
                # Whoever takes stock of it finds what lies there.
                self._give_back(ring)
            raise self._as_known(error) from error
        if not is_told:
            raise self._full(timeout)
        ring.rung(ring.last)

    def _wait_in_ring(
        self, ring: RingWriter, deadline: float, timeout: float, *, until_empty: bool
    ) -> None:
        """Wait until there is room in the ring, or nothing at all."""
        # Its reader may not see at once that somebody waits: so it is not relied on.
        longest, letter = QUIET, carried()
        while ring.largest:
            if letter.is_off:
                raise self._full(timeout)
            ring.want_room()
            if ring.is_empty or (ring.make_room() and not until_empty):
                return
            if ring.has_ended:
                self._give_back(ring)
                raise RecipientGoneError(f"{self.name!r} is gone")
            left = deadline - monotonic()
            if left <= 0:
                raise self._full(timeout)
            self._patience.sleep(ring, min(left, longest), select.EPOLLIN)
            ring.was_told()
            longest = min(2 * longest, LONGEST)

    def _ring_bell(self, ring: RingWriter, number: int, deadline: float, timeout: float) -> None:
        """Have the reader look into the ring, in its turn; what it cannot be told is taken back."""
        try:
            is_sent = self._send_bell(ring.number, number, deadline, ring)
        except OSError as error:
            if error.errno in DEAD:
                self._settle(ring, number)
            # Without a number it is a signal's handler's: the letter is in, and a bell is owed.
            elif error.errno is None:
                raise
            elif ring.take_back(number):
                if error.errno not in FORESEEN:
                    raise
                raise self._as_known(error) from error
            return
        if is_sent:
            ring.rung(number)
        elif ring.take_back(number):
            raise self._full(timeout)

    def _send_bell(
        self, ring: int, number: int, deadline: float, told: RingWriter | None = None
    ) -> bool:
        """Wait until there is room for a bell; False where there was none before the deadline.

        False as well as soon as whoever is ``told`` has the letter.
        """
        bell = BELL.pack(ANNOUNCEMENT, ring, number)
        used, letter = self.socket_for("mail"), carried()
        while True:
            try:
                used.send(bell)
            except BlockingIOError:
                left = deadline - monotonic()
                if left <= 0 or letter.is_off or (told is not None and told.is_taken(number)):
                    return False
                self._patience.sleep(used, min(left, letter.longest))
                # As in `Outlet`: its reader is to make more room first.
                os.sched_yield()
            else:
                return True

    def _full(self, timeout: float) -> MailboxFullError:
        error = self._as_full(timeout)
        # The last thing before it is raised.
        self._is_known = True
        return error

    def _settle(self, ring: RingWriter, number: int) -> None:
        """Find out whether the last letter was counted with what its reader left, or raise."""
        if not ring.is_unheard(number):
            ring.await_end()
        was_there = ring.take_back(number)
        self._give_back(ring)
        if was_there:
            raise RecipientGoneError(f"{self.name!r} is gone")
