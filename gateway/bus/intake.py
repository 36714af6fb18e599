"""What lies in a mailbox's sockets is read by whoever waits for mail, and sorted.

Nobody receives on a thread of their own: **whoever waits, reads**
(`gateway.bus.leading`), and puts what it read into the lanes (`gateway.bus.lanes`).
Foreign descriptors are watched in the same sleep, and served by the mailbox's owner.

Refused, and counted as garbage: what is no letter. Sent back: one for whose body no descriptor
was left.
"""

from __future__ import annotations

import contextlib
import select
import socket
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable, Sequence
from itertools import repeat
from time import monotonic
from typing import TypeVar

from msgspec.structs import replace

from gateway.bus.inlet import Inlet, NoBodyError, new_buffer
from gateway.bus.lanes import NOWHERE, Lanes, Receipts, Source
from gateway.bus.leading import Lead, Place, Standing, WatchCallback
from gateway.bus.ledger import ACCEPTED, GARBAGE, LOST, TAKEN_IN, TAKING
from gateway.bus.reserve import Reserve
from gateway.bus.ring import QUIET, RingReader
from gateway.bus.rings import Rings
from gateway.bus.self_pipe import SelfPipe
from gateway.bus.wire import socket_name
from gateway.clock import Clock
from gateway.errors import GatewayError, MailboxFullError, ProtocolError, RecipientGoneError
from gateway.mail.message import Message, is_solicited

T = TypeVar("T")

LOOK_EVERY = 64
"""Letters in a row after which the descriptors are looked at, whatever else waits."""

HANDOVER = 0.01
"""Seconds that a reader who has no time gives the leader to read what lies there."""

DRAIN = 11
"""Letters that one wake-up takes from a socket at the most.

As many as one holds where net.unix.max_dgram_qlen is 10: looking for a twelfth in vain costs
as much as three.
"""

SINGLES = 15
"""Letters that are read one at a time, at the most, before somebody looks for more."""


class Intake:
    """The sockets of one mailbox, the lanes that they are sorted into, and who sleeps on them.

    ``sockets`` are bound, for mail and for what is urgent, or none; they are closed in the
    end. ``control`` sees control mail first, on whatever thread read it, and says
    whether that was all.

    A `Mailbox` has no more than 30 attributes, its owner's included: those CPython keeps beside
    the object, and finds at once (``SHARED_KEYS_MAX_SIZE``).
    """

    undeliverable: Callable[[Message, GatewayError], None] | None = None
    """Gets the letters that were accepted, and not handed out."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        clock: Clock,
        lanes: Lanes,
        sockets: Sequence[socket.socket],
        control: Callable[[Message], bool] | None,
        lead: Lead | None,
        rings: Rings | None = None,
        reserve: Reserve | None = None,
    ) -> None:
        self.name = name
        self.incarnation = incarnation
        self._mail_name = socket_name(name, incarnation, "mail")
        self.closed = False
        self._monotonic = clock.monotonic
        self._control = control
        self._lock = allocate_lock()
        # Takes the lock where it is free, for who must not wait.
        self._tries = map(self._lock.acquire, repeat(False))
        self._lanes = lanes
        self._poked = False
        self._ready: deque[tuple[int, int]] = deque()
        self._in_a_row = 0
        # Descriptors whose callbacks run, one within the other.
        self._serving: list[int] = []
        self._singles = self._apart = 0
        self._served = 0
        self._rings = rings
        # Those that letters come from, or came from a moment ago.
        self._flowing: list[RingReader] = []
        # By descriptor: what the leader is told is ready.
        self._inlets: dict[int, Inlet] = {}
        if sockets:
            heard = None if rings is None else self._hear
            # Each has a buffer of its own, in which lies what it holds.
            self._inlets = {
                used.fileno(): Inlet(used, new_buffer(), heard=heard, reserve=reserve)
                for used in sockets
            }
        mail_fd, self._urgent_fd = list(self._inlets) or (-1, -1)
        self._mail_inlet = self._inlets.get(mail_fd)
        self._lead = lead or Lead(mail_fd, self._urgent_fd)
        # Where a reader stands whom nobody is before.
        self._place = Standing(reads=True)
        # Where what is being sorted came from.
        self._source: Source = NOWHERE
        # What was found as it was closed, until somebody is told of it.
        self._left: list[Message] = []
        # Whether something was raised while a letter was held: nobody is told of that one any more.
        self._is_torn = False

    def hear_signals(self, self_pipe: SelfPipe) -> None:
        """Have whoever waits here on the main thread hear of signals; call before anybody does."""
        self._lead.hear_signals(self_pipe)

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
        fd, events = self._ready[0]
        del self._ready[0]
        try:
            self._serving.append(fd)
            self._served += 1
            callback = self._lead.watching(fd)
            if callback is not None:
                callback(events)
        finally:
            self._serving.pop()
            with self._lock:
                if not self.closed:
                    self._lead.rearm(fd)

    def _sleep(self, place: Place, timeout: float | None) -> Message | None:
        """Sleep behind the leader, or as the leader: see `_listen`."""
        if self._lead.leader is place:
            return self._listen(timeout)
        assert place.lock is not None
        place.lock.acquire(True, -1 if timeout is None else timeout)
        return None

    def _listen(self, timeout: float | None) -> Message | None:
        """Sleep as the leader, and read what is there.

        A letter that comes alone is returned, and is to be sorted in as soon
        as the lock is held: the leader needs it in a moment.
        """
        lead = self._lead
        self._in_a_row = 0
        read = None
        if self._is_torn:
            self._go_on()
            timeout = 0.0
        if not lead.readers:
            found = lead.replies.poll(timeout, 16)
        elif not self._flowing:
            found = lead.everything.poll(timeout, 16)
        else:
            found = self._poll_beside_rings(timeout)
        for fd, events in found:
            inlet = self._inlets.get(fd)
            if inlet is not None:
                if read is not None:
                    with self._lock:
                        self._sort(read)
                    read = None
                if fd == self._urgent_fd and (len(found) > 1 or self._flowing):
                    # All that was told before a letter was written is obeyed before that is
                    # handled; one at a time, the second order would come after it.
                    self._drain(inlet, DRAIN)
                else:
                    read = self._read(inlet)
            elif fd == lead.signals:
                lead.note_signal()
            elif fd != lead.event:
                self._ready.append((fd, events))
        return read

    def _step_back(self, place: Place | None) -> None:
        """Undo what a thread in its ``place`` has begun: something was raised in the midst of it.

        A signal's handler may raise wherever something is called. What this thread has taken for
        others they get, and who might wait for it is woken and looks once more.
        """
        lead, lanes = self._lead, self._lanes
        with self._lock:
            if place is not None and lead.leader is place:
                lanes.take_in()
            self._is_torn = any(inlet.held is not None for inlet in self._inlets.values())
            if place is not None:
                lead.leave(place)
            lanes.end_calls()
            lead.wake_all()
            if not self.closed:
                lanes.let_in()
                # What was told to be ready may have been forgotten on the way.
                lead.rearm_all({*self._serving, *(fd for fd, _ in list(self._ready))})
        if self.closed:
            self._end()

    def _in_line(self, act: Callable[[Standing], T]) -> T:
        """Have a reader do ``act`` in a place of its own, which it leaves whatever is raised."""
        place = Standing(reads=True)
        try:
            # No loop in here: see `_drain`.
            return act(place)
        except BaseException:
            self._step_back(place)
            raise

    def _go_on(self) -> None:
        """Read what was held as something was raised: nobody is told once more that it is there."""
        self._is_torn = False
        for inlet in self._inlets.values():
            if inlet.held is not None:
                self._drain(inlet, 1)

    def _look(self) -> None:
        """Read and serve what is ready although letters wait: a flood must not hide it."""
        self._in_line(self._look_from)
        self._in_a_row = 0
        for _ in range(len(self._ready)):
            self._serve()

    def _look_from(self, place: Place) -> None:
        lead = self._lead
        for _ in range(2):
            with self._lock:
                if self.closed:
                    break
                lead.enter(place)
            leads = lead.leader is place
            read = self._sleep(place, 0.0 if leads else HANDOVER)
            with self._lock:
                if read is not None:
                    self._sort(read)
                lead.leave(place)
            if leads:
                break
        if self.closed:
            self._end()

    def _mail_lies_there(self) -> bool:
        if self._mail_inlet is None:
            return False
        if any(ring.is_ready for ring in self._flowing):
            return True
        poller = select.poll()
        poller.register(self._mail_inlet.fd, select.POLLIN)
        return bool(poller.poll(0))

    # What the leader reads

    def _read(self, inlet: Inlet) -> Message | None:
        """Read one letter and return it; in times when there are more, sort them all in.

        Looking for a second one in vain costs as much as reading one: the more often
        that happens the longer it is put off.
        """
        lanes = self._lanes
        if not self._singles:
            most = room = DRAIN
            if inlet is self._mail_inlet:
                room = lanes.size - len(lanes.letters)
                most = self._share(room)
            crowd = self._drain(inlet, most, room) > 1
            # Not where the urgent ones come first: those are found by looking alone.
            alone = not crowd and lanes.fifo is not None
            self._apart = min(2 * self._apart + 1, SINGLES) if alone else 0
            self._singles = self._apart
            return None
        self._singles -= 1
        # Whoever is killed from here on leaves a letter that is counted nowhere.
        lanes.counts[TAKING] = 1
        self._source = inlet
        try:
            message = inlet.receive()
        except ProtocolError as error:
            self._account_for(error)
            message = None
        if message is None or (message.kind == "control" and self._is_obeyed(message)):
            inlet.held = None
            lanes.counts[TAKING] = 0
            if message is None and self._flowing and inlet is self._mail_inlet:
                # It was a bell.
                room = lanes.size - len(lanes.letters)
                self._drain(inlet, self._share(room), room)
            return None
        if message.receipt and message.kind == "letter":
            lanes.receipts.note(message)
        return message

    def _share(self, room: int) -> int:
        """Return how many letters to read from a socket, so that rings have as much room."""
        # Where there is but one place it is read one at a time now and then: see `SINGLES`.
        return min(DRAIN, room // 2 if self._flowing else room)

    def _drain(self, inlet: Inlet, most: int, room: int = 0) -> int:
        """Read and sort in up to ``most`` letters; return how many there were.

        Behind those of the mail socket come those in rings, up to ``room`` in all.
        """
        self._source = inlet
        self._lanes.counts[TAKING] = 1
        try:
            # No loop in here: on Python 3.13.0 it would lead past the `finally` where a signal's
            # handler raises as it begins anew.
            return self._read_into(self._lanes.drained, inlet, most, room)
        finally:
            if self._lanes.drained:
                with self._lock:
                    self._lanes.take_in()
            self._lanes.counts[TAKING] = 0

    def _read_into(self, letters: list[Message], inlet: Inlet, most: int, room: int) -> int:
        lanes, receive = self._lanes, inlet.receive
        counts = lanes.counts
        # Nobody else drains meanwhile, so that this count needs no lock.
        found, taken = 0, lanes.taken_in
        while found < most:
            try:
                message = receive()
            except ProtocolError as error:
                self._account_for(error)
                found += 1
                continue
            if message is None:
                break
            found += 1
            if message.kind == "letter":
                if message.receipt:
                    lanes.receipts.note(message)
                inlet.held = None
                taken += 1
                counts[TAKEN_IN] = taken
                letters.append(message)
            elif message.kind == "control" and self._is_obeyed(message):
                inlet.held = None
            else:
                with self._lock:
                    self._sort(message)
                counts[TAKING] = 1
        if self._flowing and inlet is self._mail_inlet:
            flowing = self._flowing
            for ring in flowing:
                taken = ring.take(letters, counts, taken, room - len(letters), lanes.receipts)
            # Each is the first in its turn: one that is never empty leaves no room to others.
            first = flowing[0]
            del flowing[0]
            flowing.append(first)
            found = max(found, len(letters))
        return found

    def _account_for(self, error: ProtocolError) -> None:
        """Count what could not be read; send back a letter whose body found no descriptor."""
        if not isinstance(error, NoBodyError):
            self._lanes.counts[GARBAGE] += 1
            return
        letter = error.letter
        with self._lock:
            self._lanes.push_unread(letter)
        if self.undeliverable is not None and is_solicited(letter):
            self.undeliverable(replace(letter, receipt=True), error.reason)

    # Rings

    def _hear(self, number: int, letter: int) -> None:
        """Take letters from a ring from here on, as its bell says; it may be heard in vain."""
        # Those that are others' by now make way.
        mail_name = self._mail_name.encode()
        self._flowing = [ring for ring in self._flowing if ring.is_for(mail_name)]
        for ring in self._flowing:
            if ring.number == number:
                ring.hear(letter)
                return
        rings = self._rings
        found = None if rings is None else rings.ring_for(number, self._mail_name)
        if found is not None:
            found.hear(letter)
            self._flowing.append(found)

    def _poll_beside_rings(self, timeout: float | None) -> list[tuple[int, int]]:
        """Read what lies in rings, and sleep as the leader where nothing does."""
        poll, lanes, inlet = self._lead.everything.poll, self._lanes, self._mail_inlet
        assert inlet is not None
        room = lanes.size - len(lanes.letters)
        if room <= 0:
            return poll(0.0, 16)
        flows = any(ring.is_ready for ring in self._flowing)
        if flows and self._drain(inlet, self._share(room), room):
            return poll(0.0, 16)
        now = monotonic()
        self._flowing = [ring for ring in self._flowing if not ring.is_quiet(now)]
        if self._flowing:
            # What another core has just written may not be visible yet.
            timeout = QUIET if timeout is None else min(QUIET, timeout)
        return poll(timeout, 16)

    def _is_obeyed(self, message: Message) -> bool:
        """Hand control mail to who sees it first; tell whether that was all."""
        return self._control is not None and self._control(message)

    def _sort(self, message: Message) -> None:
        """Put what came from a socket into its lane, lock held."""
        lanes, source = self._lanes, self._source
        if message.kind == "letter":
            lanes.push_letter(message, source)
        elif message.kind == "publication":
            lanes.push_publication(message, source)
        else:
            try:
                call = lanes.push_urgent(message, source)
            except MailboxFullError:
                lanes.drop_unread()
            else:
                if call is not None:
                    call.end()
        lanes.counts[TAKING] = 0

    @property
    def receipts(self) -> Receipts:
        """Where letters with a receipt are noted that would be lost with this OS process."""
        return self._lanes.receipts

    def obey_also(self, control: Callable[[Message], bool]) -> None:
        """Have ``control`` see control mail as well, before who sees it already."""
        before = self._control
        self._control = (
            control if before is None else lambda message: control(message) or before(message)
        )

    def _end(self) -> None:
        """Close what is open of a closed mailbox once nobody leads, and give up what lies there.

        Whoever closed it as another thread led was not told of that.
        """
        with self._lock:
            left = self._close_descriptors()
            if self._lead.leader is None:
                left += self._lanes.empty()
        if self.undeliverable is not None:
            for message in left:
                error = RecipientGoneError(f"{self.name!r} ended before it read this")
                self.undeliverable(message, error)

    def _close_descriptors(self) -> list[Message]:
        """Close what is open, lock held, once nobody leads; return what lay in the sockets."""
        if self._lead.leader is not None:
            return []
        left = self._left
        # Not all of them where a signal's handler has raised in here before.
        inlets = [inlet for inlet in self._inlets.values() if inlet.is_open]
        for inlet in inlets:
            # First: a bell that came after this would ring for nobody.
            inlet.refuse()
        if self._rings is not None and self._inlets:
            self._rings.ending(self._mail_name, lambda ending: self._take_rest(inlets, ending))
        else:
            self._take_rest(inlets, [])
        self._inlets = {}
        self._flowing = []
        self._lead.close()
        self._left = []
        return left

    def _take_rest(self, inlets: list[Inlet], ending: list[RingReader]) -> None:
        """Take out what lies in sockets, which are closed, and in rings: lost with the reader.

        What its boss told it, such as to end, is no letter.
        """
        lanes, left = self._lanes, self._left
        counts = lanes.counts
        for inlet in inlets:
            for message in inlet.rest():
                if message is None:
                    counts[GARBAGE] += 1
                elif message.kind != "control":
                    if message.receipt:
                        # This OS process may end before anybody is told.
                        lanes.receipts.note(message, quietly=True)
                    counts[ACCEPTED] += 1
                    counts[LOST] += 1
                    left.append(message)
            inlet.close()
        counts[TAKING] = 1
        for ring in ending:
            before = len(left)
            lanes.taken_in = ring.rest(left, counts, lanes.taken_in, lanes.receipts)
            counts[LOST] += len(left) - before
        counts[TAKING] = 0
