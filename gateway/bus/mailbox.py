"""The bounded queue that one process reads.

Letters come in by reference from the threads of the same OS process (`deliver`)
and as datagrams from the others. Nobody receives on a thread of their own:
**whoever waits, reads** (`gateway.bus.leading`), and sorts what it read into
the lanes (`gateway.bus.lanes`).

Where every letter comes by, the lock is taken and given back by name: that is twice
as fast as a ``with`` block.

Refused: letters to a closed mailbox or for another incarnation
(`RecipientGoneError`), letters that found no room before their deadline
(`MailboxFullError`), a letter from the reader to itself when full, which
could only deadlock.
"""

from __future__ import annotations

import contextlib
import select
import socket
from _thread import LockType, allocate_lock, get_ident
from collections import deque
from collections.abc import Callable
from math import inf

from gateway.bus.lanes import Call, Lanes, Order, Policy, Turn, Waiting
from gateway.bus.leading import Lead, WatchCallback, release
from gateway.bus.ledger import (
    ACCEPTED,
    BOUNCED,
    DELIVERED,
    EXPIRED,
    GARBAGE,
    LOST,
    PASSED_ON,
    REFUSED,
    TAKING,
    Balance,
    Counts,
)
from gateway.bus.wire import Inlet
from gateway.clock import Clock
from gateway.errors import (
    CallTimeoutError,
    ExpiredError,
    GatewayError,
    MailboxFullError,
    ProtocolError,
    RecipientGoneError,
)
from gateway.mail.message import Message, error_in

LOOK_EVERY = 64
"""Letters in a row after which the descriptors are looked at, whatever else waits."""

HANDOVER = 0.01
"""Seconds that a reader who has no time gives the leader to read what lies there."""

DRAIN = 16
"""Letters that one wake-up takes from a socket at the most."""

SINGLES = 15
"""Letters that are read one at a time, at the most, before somebody looks for more."""

BUFFER = 128 * 1024
"""Bytes that are kept for what a datagram may hold."""


class Mailbox:
    """One process's mail: any thread may `deliver` and `wait_for`, its owner does `get`.

    ``size`` is in letters. ``sockets`` are the bound mail and urgent sockets,
    which the mailbox owns from here on; without them only this OS process can
    write to it. ``control`` sees control mail first, on whatever thread read
    it, and says whether that was all. ``undeliverable`` gets the letters that
    were accepted and became too old; a reader who answers every letter puts
    its own there. ``counts`` is the row of the ledger, where others see it too.
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
    ) -> None:
        if size < 1:
            raise ValueError(f"a mailbox holds at least one letter, not {size}")
        self.name = name
        self.incarnation = incarnation
        self.closed = False
        self._clock = clock
        self._monotonic = clock.monotonic
        self._control = control
        self.undeliverable = undeliverable
        self.on_gone: Callable[[str, int], None] | None = None
        """Is told of every life that is over, on whatever thread learns of it."""
        self._lock = allocate_lock()
        self._lanes = Lanes(size, order, policy, counts)
        self._owner = 0
        self._poked = False
        self._ready: deque[tuple[int, int]] = deque()
        self._in_a_row = 0
        self._singles = self._apart = 0
        self._served = 0
        buffer = bytearray(BUFFER if sockets else 0)
        # By descriptor: what the leader is told is ready.
        self._inlets = {used.fileno(): Inlet(used, buffer) for used in sockets or ()}
        self._mail_fd, self._urgent_fd = list(self._inlets) or (-1, -1)
        self._mail_inlet = self._inlets.get(self._mail_fd)
        self._lead = lead or Lead(self._mail_fd, self._urgent_fd)

    # Writing

    def deliver(self, message: Message, timeout: float = 5.0) -> None:
        """Take ``message`` in by reference, within ``timeout`` seconds."""
        kind = message.kind
        if kind == "control" and self._is_obeyed(message):
            return
        lock, lanes = self._lock, self._lanes
        waiting: Waiting | None = None
        dropped: Message | None = None
        lock.acquire()
        try:
            if self.closed or (message.incarnation != self.incarnation and message.incarnation):
                lanes.counts[REFUSED] += 1
                raise RecipientGoneError(f"{self.name!r} is gone")
            if kind == "letter":
                if lanes.count >= lanes.size:
                    waiting, dropped = self._when_full(message)
                else:
                    lanes.push_letter(message)
            elif kind == "publication":
                lanes.push_publication(message)
            else:
                call = lanes.push_urgent(message)
                if call is not None:
                    call.end()
            lead = self._lead
            wake, lead.asleep = lead.asleep, False
        finally:
            lock.release()
        # Not under the lock: the woken thread wants that first of all.
        if wake:
            lead.strike()
        if waiting is not None:
            self._wait_for_room(waiting, timeout)
        elif dropped is not None and self.undeliverable is not None:
            self.undeliverable(dropped, MailboxFullError("it gave way to a newer letter"))

    def _when_full(self, message: Message) -> tuple[Waiting | None, Message | None]:
        """Return ``message`` as one that waits, or the letter that gave way to it."""
        lanes = self._lanes
        if lanes.policy == "drop_oldest":
            dropped = lanes.drop_oldest()
            lanes.push_letter(message)
            return None, dropped
        if lanes.policy == "reject":
            lanes.counts[REFUSED] += 1
            raise MailboxFullError(f"{self.name!r} is full with {lanes.count} letters")
        if get_ident() == self._owner:
            lanes.counts[REFUSED] += 1
            raise MailboxFullError(
                f"{self.name!r} is full with {lanes.count} letters, and it is its own reader"
                " who writes: handle mail first"
            )
        turn = allocate_lock()
        turn.acquire()
        waiting = Waiting(message, turn)
        lanes.waiting.append(waiting)
        return waiting, None

    def _wait_for_room(self, waiting: Waiting, timeout: float) -> None:
        waiting.lock.acquire(True, max(0.0, timeout))
        with self._lock:
            if waiting.taken:
                return
            self._lanes.counts[REFUSED] += 1
            if self.closed:
                raise RecipientGoneError(f"{self.name!r} is gone")
            self._lanes.waiting.remove(waiting)
        raise MailboxFullError(
            f"{self.name!r} stayed full with {self._lanes.size} letters for {timeout:g} s:"
            " its reader is slow or stuck"
        )

    # Reading

    def get(self, timeout: float | None = 0.0) -> Message | None:
        """Return the next letter; None where none came within ``timeout`` seconds.

        A ``timeout`` of None waits for as long as it takes. `wake` and
        `close` end the wait. Descriptors under `watch` are served here, on
        the caller's thread.
        """
        self._owner = get_ident()
        if timeout is not None and timeout < 0.0:
            timeout = 0.0
        if self._in_a_row >= LOOK_EVERY:
            self._look()
        # What is usual is spelled out here, since every call costs: a letter lies
        # here already, or it comes and nobody else waits. `_get` does the rest.
        lock, lead, lanes = self._lock, self._lead, self._lanes
        lock.acquire()
        try:
            alone = not (lanes.queued or lead.held or self._poked or self._ready or self.closed)
            if alone:
                lead.held = lead.asleep = True
                lead.readers += 1
            else:
                message = lanes.pop()
        finally:
            lock.release()
        if alone:
            monotonic = self._monotonic
            deadline = inf if timeout is None else monotonic() + timeout
            read = self._listen(timeout, reader=True)
            lock.acquire()
            try:
                if lead.followers:
                    lead.leave(None, reader=True)
                else:
                    lead.held = lead.asleep = False
                    lead.readers -= 1
                if read is not None and read.kind == "letter":
                    message = lanes.pass_on(read)
                else:
                    if read is not None:
                        self._sort(read)
                    message = lanes.pop()
            finally:
                lock.release()
            if message is not None and (
                message.expiry is None or message.expiry > self._clock.time()
            ):
                return message
            if timeout == 0 and not (message or self._poked or self._ready or self.closed):
                return None
            return self._get(message, deadline)
        if message is not None and (message.expiry is None or message.expiry > self._clock.time()):
            self._in_a_row += 1
            return message
        return self._get(message, inf if timeout is None else self._monotonic() + timeout)

    def _get(self, message: Message | None, deadline: float) -> Message | None:
        """Go on where `get` met with something unusual, ``message`` or nothing so far."""
        lead, lanes = self._lead, self._lanes
        lined_up = last_look = made_way = False
        turn: LockType | None = None
        read: Message | None = None
        while True:
            if message is not None:
                self._in_a_row += 1
                if message.expiry is None or message.expiry > self._clock.time():
                    return message
                with self._lock:
                    lanes.expire()
                if self.undeliverable is not None:
                    self.undeliverable(message, ExpiredError("too old when its turn came"))
            with self._lock:
                if lined_up:
                    lined_up = False
                    lead.leave(turn, reader=True)
                if read is not None:
                    self._sort(read)
                    read = None
                message = lanes.pop()
                if message is not None:
                    continue
                if self.closed:
                    self._close_descriptors()
                    return None
                if last_look:
                    return None
                if self._poked:
                    self._poked = False
                    return None
                if not self._ready:
                    turn = lead.enter(reader=True)
                    lined_up = True
            if not lined_up:
                self._serve()
                continue
            left = deadline - self._monotonic()
            if left <= 0 and turn is not None and not made_way and self._mail_lies_there():
                # Who follows reads nothing: the leader does, now that a reader waits.
                made_way = True
                deadline += HANDOVER - left
                left = HANDOVER
            elif left <= 0:
                left, last_look = 0.0, True
            read = self._sleep(turn, left if left < inf else None, reader=True)

    def collect(self) -> list[Message]:
        """Return every letter that was written before this moment; for the reader alone.

        What a reader learns in another way, as of a death, may overtake the
        letters that lie in its sockets: whoever was killed had written them.
        """
        lead, lanes = self._lead, self._lanes
        with self._lock:
            if self.closed:
                return []
            turn = lead.enter(reader=True)
        # Where another thread leads it is woken, and reads while this one makes way.
        try:
            if turn is None:
                for inlet in self._inlets.values():
                    self._drain(inlet, lanes.size)
            else:
                turn.acquire(True, HANDOVER)
        finally:
            with self._lock:
                lead.leave(turn, reader=True)
        with self._lock:
            return list(iter(lanes.pop, None))

    def wait_for(self, message: Message, timeout: float, *, known: Call | None = None) -> Message:
        """Return the reply to ``message``; other mail stays in its order.

        Raises `CallTimeoutError` after ``timeout`` seconds, the error that a
        bounce tells of, and `RecipientGoneError` as soon as the recipient is
        known to be dead. ``known`` is the call where it is open already, and
        is to stay so.
        """
        lock, lead, lanes, monotonic = self._lock, self._lead, self._lanes, self._monotonic
        if timeout < 0.0:
            timeout = 0.0
        deadline = monotonic() + timeout
        lock.acquire()
        try:
            call = known or lanes.open_call(message)
            leads = not (lead.held or call.reply or call.error or self.closed)
            if leads:
                lead.held = lead.asleep = True
        finally:
            lock.release()
        try:
            if leads:
                # What is usual, as in `get`: nobody else waits, and the reply comes next.
                read = self._listen(timeout, reader=False)
                lock.acquire()
                try:
                    if read is not None:
                        self._sort(read)
                    reply = call.reply
                    if reply is not None and not (lead.followers or self.closed):
                        lead.held = lead.asleep = leads = False
                        if known is None:
                            lanes.close_call(message.message_id)
                finally:
                    lock.release()
                if not leads and reply is not None and reply.kind == "reply":
                    return reply
            self._wait_for(call, deadline, leads)
        except BaseException:
            if known is None:
                self.close_call(call)
            raise
        if known is None:
            self.close_call(call)
        return self.outcome(call, timeout)

    def wait_on(self, call: Call, timeout: float) -> Message:
        """Return the reply to what `open_call` noted, as `wait_for` does; the call stays open.

        For one thread at a time.
        """
        return self.wait_for(call.message, timeout, known=call)

    def _wait_for(self, call: Call, deadline: float, leads: bool) -> None:
        """Wait for the end of ``call``, where `wait_for` met with something unusual.

        ``leads`` says whether this thread leads already.
        """
        lead, lanes = self._lead, self._lanes
        turn: LockType | None = None
        read: Message | None = None
        last_look = False
        while True:
            with self._lock:
                if read is not None:
                    self._sort(read)
                if call.reply is not None or last_look or self.closed:
                    if leads or turn is not None:
                        lead.leave(turn, reader=False)
                    if self.closed:
                        self._close_descriptors()
                    return
                if leads:
                    # It leads on. Were the lead to be handed on and taken again, this
                    # thread and a reader that follows would wake each other for ever.
                    lead.asleep = True
                    if lanes.queued or self._ready:
                        for follower in lead.followers:
                            release(follower)
                else:
                    if turn is not None:
                        lead.leave(turn, reader=False)
                    turn = call.lock = lead.enter(reader=False)
                    leads = turn is None
            left = deadline - self._monotonic()
            # Whoever died may have answered first: the reply lies in the socket then.
            last_look = left <= 0 or call.error is not None
            read = self._sleep(turn, 0.0 if last_look else left, reader=False)

    def outcome(self, call: Call, timeout: float) -> Message:
        """Return the reply that ended ``call``, or raise why there is none after ``timeout`` s."""
        if call.reply is not None:
            if call.reply.kind == "bounce":
                raise error_in(call.reply)
            return call.reply
        if call.error is not None:
            raise call.error
        if self.closed:
            raise RecipientGoneError(f"{self.name!r} itself was closed")
        asked = call.message
        raise CallTimeoutError(
            f"{asked.recipient!r} did not answer {asked.subject!r} within {timeout:.3g} s"
        )

    def fail_calls(self, name: str, incarnation: int) -> None:
        """End every wait for a reply of ``name``'s life ``incarnation``: it died."""
        with self._lock:
            self._fail(self._lanes.end_of_life(name, incarnation), f"{name!r} died")
        if self.on_gone is not None:
            self.on_gone(name, incarnation)

    def wake(self) -> None:
        """Make `get` return; waits for no lock, so that a signal handler may call it."""
        self._poked = True
        # Who holds the lock may be the thread that the handler interrupted; where it
        # is free it is taken, so that nothing is closed meanwhile.
        held = self._lock.acquire(blocking=False)
        try:
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
        """Say that this thread is the reader, before it first calls `get`."""
        self._owner = get_ident()

    def _fail(self, calls: list[Call], why: str) -> None:
        for call in calls:
            call.error = RecipientGoneError(f"{why} before it answered {call.message.subject!r}")
            call.end()
        if calls and self._lead.asleep:
            self._lead.strike()

    # For a reader that is never to wait here: an event loop

    def descriptors(self) -> tuple[int, int]:
        """Return what a loop watches: readable when `get`, when `read_replies` has work."""
        return self._lead.everything.fileno(), self._lead.replies.fileno()

    def arm(self) -> bool:
        """Have whatever comes next make the descriptor readable; False where `get` has work now.

        For a loop's thread that reads alone: no other may wait here.
        """
        with self._lock:
            if self._lanes.queued or self._poked or self._ready or self.closed:
                return False
            self._lead.asleep = True
            return True

    def read_replies(self) -> None:
        """Read what lies in the urgent socket; mail stays where it holds up its own writers."""
        lead = self._lead
        with self._lock:
            if lead.event < 0 or lead.held:
                return
            lead.held = True
        try:
            for fd, _ in lead.replies.poll(0, 2):
                if fd in self._inlets:
                    self._drain(self._inlets[fd], LOOK_EVERY)
        finally:
            with self._lock:
                lead.held = False
                if self._lanes.queued and lead.asleep:
                    # A getter is armed, and what it waits for lies in no socket any more.
                    lead.strike()
                if lead.followers:
                    # Who came meanwhile leads now.
                    release(lead.followers[0])
                if self.closed:
                    self._close_descriptors()

    def unread_replies(self) -> int:
        """Return the descriptor of what `read_replies` reads; -1 where another thread does."""
        return -1 if self._lead.held or not self._inlets else self._urgent_fd

    def open_call(self, message: Message, turn: Turn) -> Call:
        """Note that the reply to ``message`` is waited for; ``turn`` is released when it ends."""
        with self._lock:
            call = self._lanes.open_call(message)
            call.turn = turn
        return call

    def give_up(self, call: Call) -> None:
        """End ``call`` before its time: this process itself ends, and waits no longer."""
        with self._lock:
            if call.reply is None and call.error is None:
                self._fail([call], f"{self.name!r} itself ended")

    def make_lock(self) -> LockType:
        """Return a lock for threads that wait beside the mail."""
        return allocate_lock()

    def expect(self, message: Message) -> None:
        """Note, before ``message`` leaves, that its reply will be waited for.

        Otherwise it may be here before anybody waits, and whoever reads the mail meanwhile
        is handed it as a letter. `wait_for` or `open_call` follows, or `expect_no_more`.
        """
        if get_ident() == self._owner:
            # Nobody but this thread takes mail out.
            return
        with self._lock:
            self._lanes.open_call(message)

    def expect_no_more(self, message: Message) -> None:
        """Take back what `expect` noted of a letter that could not leave."""
        with self._lock:
            self._lanes.close_call(message.message_id)

    def close_call(self, call: Call) -> None:
        """Forget a call; a reply that comes later is dropped."""
        with self._lock:
            self._lanes.close_call(call.message.message_id)

    def obey_also(self, control: Callable[[Message], bool]) -> None:
        """Have ``control`` see control mail as well, before who sees it already."""
        before = self._control
        self._control = (
            control if before is None else lambda message: control(message) or before(message)
        )

    # Foreign descriptors

    def watch(self, fd: int, callback: WatchCallback, events: int = select.EPOLLIN) -> None:
        """Call ``callback(events)`` on the owner's thread, in `get`, whenever ``fd`` is ready.

        Call `unwatch` before ``fd`` is closed. Watching again changes the events.
        """
        with self._lock:
            if not self.closed:
                self._lead.watch(fd, callback, events)

    def unwatch(self, fd: int) -> None:
        """Watch ``fd`` no longer; one that is not watched is fine."""
        with self._lock:
            # What is still to be served must not meet whoever gets the number next.
            for found in [each for each in list(self._ready) if each[0] == fd]:
                with contextlib.suppress(ValueError):
                    self._ready.remove(found)
            if not self.closed:
                self._lead.unwatch(fd)

    def interrupt(self) -> None:
        """Have `get` return when this callback has: for a `watch` callback, on its thread.

        What `wake` does for the others, without a system call.
        """
        self._poked = True

    def _serve(self) -> None:
        fd, events = self._ready.popleft()
        self._served += 1
        callback = self._lead.watching(fd)
        if callback is None:
            return
        try:
            callback(events)
        finally:
            with self._lock:
                if not self.closed:
                    self._lead.rearm(fd)

    def _sleep(
        self, turn: LockType | None, timeout: float | None, *, reader: bool
    ) -> Message | None:
        """Sleep behind the leader, or as the leader: see `_listen`."""
        if turn is None:
            return self._listen(timeout, reader=reader)
        try:
            turn.acquire(True, -1 if timeout is None else timeout)
        except BaseException:
            with self._lock:
                self._lead.leave(turn, reader=reader)
            raise
        return None

    def _listen(self, timeout: float | None, *, reader: bool) -> Message | None:
        """Sleep as the leader, and read what is there.

        A letter that comes alone is returned, and is to be sorted in as soon
        as the lock is held: the leader needs it in a moment.
        """
        lead = self._lead
        self._in_a_row = 0
        read = None
        try:
            for fd, events in (lead.everything if lead.readers else lead.replies).poll(timeout, 16):
                inlet = self._inlets.get(fd)
                if inlet is not None:
                    if read is not None:
                        with self._lock:
                            self._sort(read)
                    read = self._read(inlet)
                elif fd != lead.event:
                    self._ready.append((fd, events))
        except BaseException:
            with self._lock:
                lead.leave(None, reader=reader)
            raise
        return read

    def _look(self) -> None:
        """Read and serve what is ready although letters wait: a flood must not hide it."""
        lead = self._lead
        for _ in range(2):
            with self._lock:
                if self.closed:
                    return
                turn = lead.enter(reader=True)
            read = self._sleep(turn, 0.0 if turn is None else HANDOVER, reader=True)
            with self._lock:
                lead.leave(turn, reader=True)
                if read is not None:
                    self._sort(read)
            if turn is None:
                break
        self._in_a_row = 0
        for _ in range(len(self._ready)):
            self._serve()

    def _mail_lies_there(self) -> bool:
        if self._mail_fd < 0:
            return False
        poller = select.poll()
        poller.register(self._mail_fd, select.POLLIN)
        return bool(poller.poll(0))

    # What the leader reads

    def _read(self, inlet: Inlet) -> Message | None:
        """Read one letter and return it; in times when there are more, sort them all in.

        Looking for a second one in vain costs as much as reading one: the more often
        that happens the longer it is put off.
        """
        lanes = self._lanes
        if not self._singles:
            room = DRAIN
            if inlet is self._mail_inlet:
                room = min(DRAIN, lanes.size - lanes.count)
            crowd = self._drain(inlet, room) > 1
            self._apart = 0 if crowd else min(2 * self._apart + 1, SINGLES)
            self._singles = self._apart
            return None
        self._singles -= 1
        # Whoever is killed from here on leaves a letter that is counted nowhere.
        lanes.counts[TAKING] = 1
        try:
            message = inlet.read()
        except ProtocolError:
            lanes.counts[GARBAGE] += 1
            message = None
        if message is None or (message.kind == "control" and self._is_obeyed(message)):
            lanes.counts[TAKING] = 0
            return None
        return message

    def _drain(self, inlet: Inlet, room: int) -> int:
        """Read and sort in up to ``room`` letters; return how many there were."""
        lock, counts = self._lock, self._lanes.counts
        found = 0
        while found < room:
            counts[TAKING] = 1
            try:
                message = inlet.read()
            except ProtocolError:
                counts[GARBAGE] += 1
                found += 1
                continue
            if message is None:
                break
            found += 1
            if message.kind == "control" and self._is_obeyed(message):
                continue
            lock.acquire()
            try:
                self._sort(message)
            finally:
                lock.release()
        counts[TAKING] = 0
        return found

    def _is_obeyed(self, message: Message) -> bool:
        """Hand control mail to who sees it first; tell whether that was all."""
        return self._control is not None and self._control(message)

    def _sort(self, message: Message) -> None:
        """Put what came from a socket into its lane, lock held."""
        lanes = self._lanes
        if message.kind == "letter":
            lanes.push_letter(message)
        elif message.kind == "publication":
            lanes.push_publication(message)
        else:
            try:
                call = lanes.push_urgent(message)
            except MailboxFullError:
                lanes.drop_unread()
            else:
                if call is not None:
                    call.end()
        lanes.counts[TAKING] = 0

    def turn_away(self) -> None:
        """Count a letter that was handed out as bounced: nobody wanted it, or it was refused."""
        with self._lock:
            self._lanes.turn_away()

    # Ending

    def close(self) -> list[Message]:
        """Take no more mail, end every wait; return the letters that nobody read."""
        with self._lock:
            if self.closed:
                return []
            self.closed = True
            left = self._lanes.empty()
            for waiting in self._lanes.waiting:
                release(waiting.lock)
            self._lanes.waiting.clear()
            self._fail(self._lanes.open_calls(), f"{self.name!r} itself was closed")
            self._lead.wake_all()
            left += self._close_descriptors()
        return left

    def _close_descriptors(self) -> list[Message]:
        """Close what is open, lock held, once nobody leads; return what lay in the sockets."""
        if self._lead.held:
            return []
        counts = self._lanes.counts
        left: list[Message] = []
        for inlet in self._inlets.values():
            for message in inlet.rest():
                if message is None:
                    counts[GARBAGE] += 1
                else:
                    left.append(message)
            inlet.close()
        self._inlets = {}
        counts[ACCEPTED] += len(left)
        counts[LOST] += len(left)
        self._lead.close()
        return left

    def progress(self) -> tuple[bool, int]:
        """Return whether somebody waits for mail, and a count that grows while it is read.

        For whoever watches the reader from another thread; takes no lock.
        """
        counts = self._lanes.counts
        read = counts[DELIVERED] + counts[PASSED_ON] + counts[EXPIRED] + counts[BOUNCED]
        return self._lead.readers > 0, read + self._served

    def statistics(self) -> Balance:
        """Return the ledger's balance at this moment."""
        with self._lock:
            return self._lanes.balance()

    @property
    def publications_dropped(self) -> int:
        """Publications that gave way to newer ones, since the reader was too slow."""
        return self._lanes.publications_dropped
