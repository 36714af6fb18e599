"""The bounded queue that one process reads.

Letters come in by reference from the threads of the same OS process (`deliver`)
and as datagrams from the others, which whoever waits reads (`gateway.bus.intake`).
Replies go to who waits for them (`gateway.bus.reply_waits`), the rest comes in its order.

A signal's handler may raise anywhere in here, and is to leave neither the lock taken, nor the
mailbox without a leader, nor a letter that nobody has been told of: locks are held in ``with``
blocks, which no handler gets in front of, and whatever is raised leads to `Intake._step_back`.
The letter that its reader is being handed may be lost with it, counted as delivered.

Refused: letters to a closed mailbox or for another incarnation
(`RecipientGoneError`), letters that found no room before their deadline
(`MailboxFullError`), a letter from the reader to itself when full, which
could only deadlock.
"""

from __future__ import annotations

import socket
from _thread import allocate_lock, get_ident
from collections.abc import Callable
from functools import partial
from math import inf
from time import sleep

from gateway.bus.carrying import carried
from gateway.bus.intake import HANDOVER, LOOK_EVERY
from gateway.bus.lanes import NO_RECEIPTS, Lanes, Order, Policy, Receipts, Waiting
from gateway.bus.leading import Lead, Standing, release
from gateway.bus.ledger import (
    BOUNCED,
    DELIVERED,
    EXPIRED,
    HANDED_OUT,
    PASSED_ON,
    REFUSED,
    TAKING,
    Balance,
    Counts,
)
from gateway.bus.reply_waits import ReplyWaits
from gateway.bus.reserve import Reserve
from gateway.bus.rings import Rings
from gateway.clock import Clock
from gateway.errors import (
    ExpiredError,
    GatewayError,
    MailboxFullError,
    RecipientGoneError,
)
from gateway.mail.message import Message

READ = (DELIVERED, HANDED_OUT, PASSED_ON, EXPIRED, BOUNCED)
"""The counts of letters that were read, whatever became of them."""

LOOKS, LOOK = 50, 0.0002
"""How often a ledger that does not balance is looked at again, and after how many seconds."""


class Mailbox(ReplyWaits):
    """One process's mail: any thread may `deliver` and `wait_for`, its owner does `get`.

    ``size`` is in letters. ``sockets`` are the bound mail and urgent sockets,
    which the mailbox owns from here on; without them only this OS process can
    write to it. ``control`` sees control mail first, on whatever thread read
    it, and says whether that was all. ``undeliverable`` gets the letters that
    were accepted and not handed out, as those that became too old; a reader who
    answers every letter puts its own there. ``counts`` is the row of the ledger,
    where others see it too. ``reserve`` lends a descriptor where there is none left.
    ``receipts`` is where whoever takes stock of a reader that was killed finds whom to tell.
    """

    def __init__(
        self,
        name: str,
        incarnation: int = 1,
        *,
        clock: Clock,
        size: int = 256,
        order: Order = "fifo",
        policy: Policy = "block",
        sockets: tuple[socket.socket, socket.socket] | None = None,
        control: Callable[[Message], bool] | None = None,
        undeliverable: Callable[[Message, GatewayError], None] | None = None,
        counts: Counts | None = None,
        lead: Lead | None = None,
        rings: Rings | None = None,
        reserve: Reserve | None = None,
        receipts: Receipts = NO_RECEIPTS,
    ) -> None:
        if size < 1:
            raise ValueError(f"a mailbox holds at least one letter, not {size}")
        lanes = Lanes(size, order, policy, counts, receipts)
        super().__init__(
            name, incarnation, clock, lanes, sockets or (), control, lead, rings, reserve
        )
        self.undeliverable = undeliverable

    # Writing

    def deliver(self, message: Message, timeout: float = 5.0) -> None:
        """Take ``message`` in by reference, within ``timeout`` seconds."""
        kind = message.kind
        if kind == "control" and self._is_obeyed(message):
            return
        lead, lanes = self._lead, self._lanes
        waiting: Waiting | None = None
        dropped: Message | None = None
        wake = False
        try:
            with self._lock:
                if self.closed or (message.incarnation != self.incarnation and message.incarnation):
                    lanes.counts[REFUSED] += 1
                    raise RecipientGoneError(f"{self.name!r} is gone")
                if kind == "letter":
                    if lanes.waiting or len(lanes.letters) >= lanes.size:
                        waiting, dropped = self._when_full(message)
                    else:
                        lanes.push_letter(message)
                elif kind == "publication":
                    lanes.push_publication(message)
                else:
                    call = lanes.push_urgent(message)
                    if call is not None:
                        call.end()
                wake, lead.asleep = lead.asleep, False
            # Not under the lock: the woken thread wants that first of all.
            if wake:
                lead.strike()
        except BaseException as error:
            # A signal's handler may have raised: it is in there, perhaps, and nobody was told.
            if wake or lead.asleep or not isinstance(error, GatewayError):
                self._take_back(message)
                self._step_back(None)
            raise
        if waiting is not None and not waiting.taken:
            try:
                self._wait_for_room(waiting, timeout)
            except BaseException:
                self._take_back(message)
                raise
        elif dropped is not None and self.undeliverable is not None:
            self.undeliverable(dropped, MailboxFullError("it gave way to a newer letter"))

    def _when_full(self, message: Message) -> tuple[Waiting | None, Message | None]:
        """Return ``message`` as one that waits, or the letter that gave way to it."""
        lanes = self._lanes
        if lanes.policy == "drop_oldest":
            # Its reader may have made room since.
            dropped = None if len(lanes.letters) < lanes.size else lanes.drop_oldest()
            lanes.push_letter(message)
            return None, dropped
        if lanes.policy == "reject":
            lanes.counts[REFUSED] += 1
            raise MailboxFullError(f"{self.name!r} is full with {lanes.size} letters")
        if get_ident() == self._owner:
            lanes.counts[REFUSED] += 1
            raise MailboxFullError(
                f"{self.name!r} is full with {lanes.size} letters, and it is its own reader"
                " who writes: handle mail first"
            )
        turn = allocate_lock()
        turn.acquire()
        waiting = Waiting(message, turn)
        lanes.waiting.append(waiting)
        # Its reader may have made room meanwhile, and seen nobody here who wants it.
        lanes.let_in()
        return waiting, None

    def _wait_for_room(self, waiting: Waiting, timeout: float) -> None:
        deadline = self._monotonic() + timeout
        letter = carried()
        letter.when_off(partial(self._withdraw, waiting))
        while True:
            waiting.lock.acquire(True, max(0.0, deadline - self._monotonic()))
            with self._lock:
                if waiting.taken:
                    return
                if self.closed:
                    self._lanes.counts[REFUSED] += 1
                    raise RecipientGoneError(f"{self.name!r} is gone")
                if letter.is_off or self._monotonic() >= deadline:
                    self._lanes.counts[REFUSED] += 1
                    if waiting in self._lanes.waiting:
                        self._lanes.waiting.remove(waiting)
                    break
        raise MailboxFullError(
            f"{self.name!r} stayed full with {self._lanes.size} letters for {timeout:g} s:"
            " its reader is slow or stuck"
        )

    def _withdraw(self, waiting: Waiting) -> None:
        """Have a letter that was called off wait no longer, unless it is in; wake who waits."""
        with self._lock:
            if not waiting.taken and waiting in self._lanes.waiting:
                self._lanes.waiting.remove(waiting)
                release(waiting.lock)

    def _take_back(self, message: Message) -> None:
        """Have a letter wait no longer whose writer was interrupted.

        One that was let in meanwhile stays: its reader may have it in its hands.
        """
        with self._lock:
            for waiting in self._lanes.waiting:
                if waiting.message is message:
                    self._lanes.waiting.remove(waiting)
                    break

    # Reading

    def get(self, timeout: float | None = 0.0) -> Message | None:
        """Return the next letter; None where none came within ``timeout`` seconds.

        For one thread at a time, the owner. A ``timeout`` of None waits for as
        long as it takes. `wake` and `close` end the wait. Descriptors under `watch`
        are served here, on the caller's thread.
        """
        # What is usual is spelled out here, since every call costs: a letter lies here
        # already, and is not the first in a row, or it comes and nobody else waits. `_get`
        # does the rest.
        lead, lanes, place = self._lead, self._lanes, self._place
        letters = lanes.fifo
        message: Message | None = None
        alone = False
        try:
            if letters and not lanes.beside and 0 < self._in_a_row < LOOK_EVERY:
                # Counted first: in between no signal's handler gets in.
                lanes.counts[HANDED_OUT] += 1
                try:
                    message = letters.popleft()
                except IndexError:
                    # It gave way to a newer one, or the mailbox was closed.
                    lanes.counts[HANDED_OUT] -= 1
                else:
                    if lanes.noted:
                        lanes.receipts.strike(message.message_id)
                    if lanes.waiting:
                        with self._lock:
                            lanes.let_in()
                    if message.expiry is None:
                        self._in_a_row += 1
                        return message
                    return self._get(
                        message, inf if timeout is None else self._monotonic() + timeout
                    )
            self._owner = get_ident()
            if timeout is not None and timeout < 0.0:
                timeout = 0.0
            if self._in_a_row >= LOOK_EVERY:
                self._look()
            message = None
            if letters is not None and not (
                letters or lanes.beside or lead.leader or self._poked or self._ready or self.closed
            ):
                # Without the lock: no other thread gets in where nothing is called.
                lead.leader = place
                lead.asleep = alone = True
                lead.readers += 1
            else:
                with self._lock:
                    message = lanes.pop()
            if message is not None and (
                message.expiry is None or message.expiry > self._monotonic()
            ):
                self._in_a_row += 1
                return message
            monotonic = self._monotonic
            deadline = inf if timeout is None else monotonic() + timeout
            if alone:
                read = self._listen(timeout)
                # Without the lock, as above.
                if not (lead.followers or lanes.beside or lanes.waiting or self.closed) and (
                    letters if read is None else read.kind == "letter" and not letters
                ):
                    lead.leader = None
                    lead.asleep = False
                    lead.readers -= 1
                    if read is None:
                        assert letters is not None
                        lanes.counts[HANDED_OUT] += 1
                        message = letters.popleft()
                        if lanes.noted:
                            lanes.receipts.strike(message.message_id)
                    else:
                        self._source.held = None
                        lanes.counts[PASSED_ON] += 1
                        lanes.counts[TAKING] = 0
                        message = read
                        if lanes.noted:
                            lanes.receipts.strike(message.message_id)
                else:
                    with self._lock:
                        # First: without the lead others read, and need no lock to take it.
                        if read is not None:
                            self._sort(read)
                        lead.leave(place)
                        message = lanes.pop()
                    if self.closed:
                        self._end()
                if message is not None and (message.expiry is None or message.expiry > monotonic()):
                    self._in_a_row = 1
                    return message
                if timeout == 0 and not (message or self._poked or self._ready or self.closed):
                    return None
            return self._get(message, deadline)
        except BaseException:
            self._step_back(place if alone else None)
            raise

    def _get(self, message: Message | None, deadline: float) -> Message | None:
        """Go on where `get` met with something unusual, ``message`` or nothing so far."""
        return self._in_line(lambda place: self._get_at(place, message, deadline))

    def _get_at(self, place: Standing, message: Message | None, deadline: float) -> Message | None:
        lead, lanes = self._lead, self._lanes
        last_look = made_way = is_served = False
        read: Message | None = None
        while True:
            if message is not None:
                self._in_a_row += 1
                if message.expiry is None or message.expiry > self._monotonic():
                    return message
                with self._lock:
                    lanes.expire()
                if self.undeliverable is not None:
                    self.undeliverable(message, ExpiredError("too old when its turn came"))
            with self._lock:
                # In this order: see `get`.
                if read is not None:
                    self._sort(read)
                    read = None
                lead.leave(place)
                message = lanes.pop()
                is_over = self.closed
                if message is None and not is_over:
                    if last_look:
                        return None
                    if self._poked:
                        self._poked = False
                        return None
                    is_served = bool(self._ready)
                    if not is_served:
                        lead.enter(place)
            if is_over:
                self._end()
                if message is None:
                    return None
            if message is not None:
                continue
            if is_served:
                self._serve()
                continue
            left = deadline - self._monotonic()
            follows = lead.leader is not place
            if left <= 0 and follows and not made_way and self._mail_lies_there():
                # Who follows reads nothing: the leader does, now that a reader waits.
                made_way = True
                deadline += HANDOVER - left
                left = HANDOVER
            elif left <= 0:
                left, last_look = 0.0, True
            read = self._sleep(place, left if left < inf else None)

    def collect(self) -> list[Message]:
        """Return every letter that was written before this moment; for the reader alone.

        What a reader learns in another way, as of a death, may overtake the
        letters that lie in its sockets: whoever was killed had written them.
        """
        return self._in_line(self._collect)

    def _collect(self, place: Standing) -> list[Message]:
        lead, lanes = self._lead, self._lanes
        for _ in range(2):
            with self._lock:
                if self.closed:
                    return []
                lead.enter(place)
            # Where another thread leads it is woken, and reads while this one makes way.
            leads = lead.leader is place
            if leads:
                for inlet in self._inlets.values():
                    self._drain(inlet, lanes.size, lanes.size)
            else:
                self._sleep(place, HANDOVER)
            with self._lock:
                lead.leave(place)
            if leads:
                break
        with self._lock:
            found = list(iter(lanes.pop, None))
        if self.closed:
            self._end()
        return found

    def wake(self) -> None:
        """Make `get` return; waits for no lock, so that a signal handler may call it."""
        self._poked = True
        # Who holds the lock may be the thread that the handler interrupted; where it
        # is free it is taken, so that nothing is closed meanwhile.
        held = False
        try:
            # No handler gets in between what this calls and where it is stored.
            for taken in self._tries:
                held = taken
                break
            self._lead.wake_all()
        finally:
            if held:
                self._lock.release()

    def rouse(self) -> None:
        """Have the reader look up from `get`, where it is in there; on any thread."""
        if get_ident() != self._owner:
            self.wake()
        elif self._lead.readers:
            # It was told by control mail, which it reads as it waits.
            self._poked = True

    def own(self) -> None:
        """Say that this thread is the reader from now on, before it first calls `get`."""
        self._owner = get_ident()

    # For a reader that is never to wait here: an event loop

    def descriptors(self) -> tuple[int, int]:
        """Return what a loop watches: readable when `get`, when `read_replies` has work."""
        return self._lead.everything.fileno(), self._lead.replies.fileno()

    def arm(self) -> bool:
        """Have whatever comes next make the descriptor readable; False where `get` has work now.

        For a loop's thread that reads alone: no other may wait here.
        """
        with self._lock:
            if self._lanes.queued or self._poked or self._ready or self.closed or self._flowing:
                return False
            self._lead.asleep = True
            return True

    def turn_away(self) -> None:
        """Count a letter that was handed out as bounced: nobody wanted it, or it was refused."""
        with self._lock:
            self._lanes.turn_away()

    # Ending

    def close(self) -> list[Message]:
        """Take no more mail, end every wait; return the letters that nobody read.

        Twice is fine, and goes on where a signal's handler raised in the midst of the first.
        """
        with self._lock:
            self.closed = True
            left = self._lanes.empty()
            for waiting in self._lanes.waiting:
                release(waiting.lock)
            self._lanes.waiting.clear()
            self._fail(self._lanes.open_calls(), f"{self.name!r} itself was closed")
            self._lead.wake_all()
            left += self._close_descriptors()
        return left

    def progress(self) -> tuple[bool, int]:
        """Return whether somebody waits for mail, and a count that grows while it is read.

        For whoever watches the reader from another thread; takes no lock.
        """
        counts = self._lanes.counts
        read = sum(counts[each] for each in READ)
        return self._lead.readers > 0, read + self._served

    def statistics(self) -> Balance:
        """Return the ledger's balance at this moment."""
        with self._lock:
            for _ in range(LOOKS):
                found = self._lanes.balance()
                if found.is_balanced:
                    break
                # Its reader has counted a letter that it takes out as soon as it runs again.
                sleep(LOOK)
        return found

    @property
    def publications_dropped(self) -> int:
        """Publications that gave way to newer ones, since the reader was too slow."""
        return self._lanes.publications_dropped
