"""The queues of one mailbox and the calls that are open in it; no I/O, no lock.

Three lanes. *Urgent* carries replies, bounces and control. *Mail* is bounded;
writers that found it full leave their letter in ``waiting``, and each letter
that is taken out lets the first of them in. *Publications* are bounded and
drop the oldest, what is retained for last (`gateway.bus.conflation`). Urgent
goes first; mail and publications take turns, so that neither starves the other.

A reply whose letter has an open call goes to that call and nowhere else. One
whose call was closed (the caller gave up) is dropped and counted. Any other
reply is ordinary mail, and is remembered for a while in case somebody asks.

Whoever calls holds the mailbox's lock, but for two. Its reader counts a letter as handed out,
takes it from ``fifo`` without the lock, and then looks whether somebody waits for the room
(`Lanes.let_in`). So whoever else takes from there may find it empty, and whoever lines up
before it looks once more. Who waits for a reply opens its call (`Lanes.note_call`), and
takes that, without the lock where it waits alone. Either has to be right between any two
calls of those who hold the lock.
"""

from __future__ import annotations

import contextlib
from _thread import LockType
from collections import deque
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from gateway.bus.conflation import dispensable
from gateway.bus.ledger import (
    ACCEPTED,
    BOUNCED,
    DELIVERED,
    DROPPED,
    EXPIRED,
    HANDED_OUT,
    LOST,
    PASSED_ON,
    REFUSED,
    Balance,
    Counts,
    balance,
    empty_row,
)
from gateway.errors import MailboxFullError
from gateway.mail.message import Message, is_solicited

Order = Literal["fifo", "priority"]
Policy = Literal["block", "reject", "drop_oldest"]
"""What becomes of a letter that finds a mailbox full: it waits, it is refused, or it goes
in and the oldest one goes out."""

K = TypeVar("K")
T = TypeVar("T")

REMEMBERED = 256
"""Replies without a call that are remembered at the most, and lives that are over."""

CLOSED = 4096
"""Calls that were given up and are remembered at the most, so that a late answer is known."""

UNREAD_REPLIES = 4
"""Times its size that a mailbox holds of replies for which nobody waits.

Of bounces that are for who waits alone it holds its size: they leave room for the others."""


class Source(Protocol):
    """Where a letter came from, as a socket, and where it stays until it is in a lane."""

    held: Any
    """What stays there; None from the moment that it is queued."""


class _Nowhere:
    held = None


NOWHERE: Source = _Nowhere()
"""The source of what a thread of this OS process has handed over."""


class Receipts(Protocol):
    """What is held of letters with a receipt, for whoever takes stock of a reader that died."""

    places: dict[str, Any]
    """Where each is noted, by its id; empty most of the time."""

    def note(self, message: Message, *, quietly: bool = False) -> None:
        """Note a letter that comes from elsewhere, before it is queued; twice is fine.

        For who holds no lock, unless ``quietly``: it may be logged that there is no room.
        """
        ...

    def strike(self, id: str) -> None:
        """Strike out a letter that was handed out, or whose bounce has left, by its id."""
        ...


class _NoReceipts:
    """Of a reader that dies with the memory of whoever takes stock of it."""

    def __init__(self) -> None:
        self.places: dict[str, Any] = {}

    def note(self, message: Message, *, quietly: bool = False) -> None:
        pass

    def strike(self, id: str) -> None:
        pass


NO_RECEIPTS: Receipts = _NoReceipts()


class Turn(Protocol):
    """What is released to wake whoever waits: a thread's lock, or the like of it on a loop."""

    def release(self) -> None:
        """Wake it; a `RuntimeError` says that it is awake, or gone."""
        ...


class Call(msgspec.Struct, eq=False):
    """A letter whose reply somebody waits for."""

    message: Message
    reply: Message | None = None
    gone: str = ""
    """Why there will be none: who was asked is dead."""
    lock: LockType | None = None
    """What the waiting thread sleeps on while another one leads."""
    reads = False
    """Who waits for a reply reads no mail: see `gateway.bus.leading.Place`."""
    turn: Turn | None = None
    """What is released besides when it ends, where nobody need wait at all."""

    def end(self) -> None:
        """Wake whoever waits."""
        for turn in (self.lock, self.turn):
            if turn is not None:
                with contextlib.suppress(RuntimeError):
                    turn.release()


class Waiting:
    """A letter before a full mailbox, and the lock its writer sleeps on."""

    __slots__ = ("lock", "message", "taken")

    def __init__(self, message: Message, lock: LockType) -> None:
        self.message = message
        self.lock = lock
        self.taken = False


class ByPriority:
    """Letters in a queue for each priority; they are taken out under the mailbox's lock alone."""

    __slots__ = ("queues",)

    def __init__(self) -> None:
        self.queues: tuple[deque[Message], ...] = (deque(), deque(), deque())
        """One for each priority, the most urgent first."""

    def queue_for(self, message: Message) -> deque[Message]:
        """Return where a letter goes; a priority that is none is the last."""
        return self.queues[message.priority if 0 <= message.priority <= 2 else 2]

    def foremost(self) -> deque[Message]:
        """Return the most urgent queue that has a letter."""
        for queue in self.queues:
            if queue:
                return queue
        return self.queues[0]

    def last(self) -> deque[Message]:
        """Return the least urgent queue that has a letter."""
        return next((queue for queue in self.queues[::-1] if queue), self.queues[0])

    def __len__(self) -> int:
        return sum(map(len, self.queues))


class Lanes:
    """What waits in one mailbox."""

    __slots__ = (
        "_closed_calls",
        "_ended_lives",
        "_publications",
        "_publications_next",
        "_unclaimed",
        "_urgent",
        "beside",
        "calls",
        "counts",
        "drained",
        "fifo",
        "letters",
        "noted",
        "policy",
        "publications_dropped",
        "receipts",
        "size",
        "taken_in",
        "waiting",
    )

    def __init__(
        self,
        size: int,
        order: Order,
        policy: Policy = "block",
        counts: Counts | None = None,
        receipts: Receipts = NO_RECEIPTS,
    ) -> None:
        self.size = size
        self.taken_in = 0
        """Of those that the ledger counts as taken in: all that have come to a lane."""
        self.policy = policy
        self.counts = empty_row() if counts is None else counts
        self.receipts = receipts
        self.noted = receipts.places
        """Those of the letters that are to be struck out when they are taken out."""
        self.publications_dropped = 0
        """Of what the ledger counts as dropped: publications that gave way to newer ones."""
        self.waiting: deque[Waiting] = deque()
        self.beside = 0
        """What waits beside the letters: replies and the like, and publications."""
        self.calls: dict[str, Call] = {}
        """Those that are open, by the id of the letter."""
        self.drained: list[Message] = []
        """What came from sockets and rings, is counted as taken in, and is to be queued."""
        self.letters: deque[Message] | ByPriority
        self.fifo: deque[Message] | None = None
        """The letters, where the first come is the first."""
        if order == "fifo":
            self.letters = self.fifo = deque()
        else:
            self.letters = ByPriority()
        self._urgent: deque[Message] = deque()
        self._publications: deque[Message] = deque()
        self._publications_next = False
        self._closed_calls: dict[str, None] = {}
        self._ended_lives: dict[tuple[str, int], None] = {}
        self._unclaimed: dict[str, Message] = {}

    @property
    def queued(self) -> int:
        """Letters in all lanes."""
        return len(self.letters) + self.beside

    def push_letter(self, message: Message, source: Source = NOWHERE) -> None:
        """Queue a letter; the caller has seen to it that there is room."""
        queue = self.fifo
        if queue is None:
            queue = self._queue_for(message)
        # In this order: its reader may take it out, and count that, at once.
        source.held = None
        self.counts[ACCEPTED] += 1
        queue.append(message)

    def take_in(self) -> None:
        """Queue what was drained, and is counted already."""
        drained, many = self.drained, len(self.drained)
        if self.fifo is not None:
            self.drained = []
            self.taken_in += many
            self.fifo.extend(drained)
            return
        while drained:
            message = drained[0]
            queue = self._queue_for(message)
            del drained[0]
            self.taken_in += 1
            queue.append(message)

    def _queue_for(self, message: Message) -> deque[Message]:
        letters = self.letters
        return letters.queue_for(message) if isinstance(letters, ByPriority) else letters

    def drop_oldest(self) -> Message | None:
        """Take the oldest of the least urgent letters out, counted as dropped; return it.

        None where its reader has taken them all meanwhile.
        """
        letters, counts = self.letters, self.counts
        queue = letters.last() if isinstance(letters, ByPriority) else letters
        # Counted before it is taken out: in between no signal's handler gets in.
        counts[DROPPED] += 1
        try:
            message = queue.popleft()
        except IndexError:
            counts[DROPPED] -= 1
            return None
        if self.noted:
            self.receipts.strike(message.message_id)
        return message

    def push_publication(self, message: Message, source: Source = NOWHERE) -> None:
        """Queue a publication, at the cost of an older one where there is no room."""
        counts, queued = self.counts, self._publications
        if len(queued) >= self.size:
            # Mostly what is retained is rare, and the oldest goes.
            at = dispensable(queued, message) if queued[0].retain else 0
            self.publications_dropped += 1
            counts[DROPPED] += 1
            if at is None:
                source.held = None
                counts[ACCEPTED] += 1
                return
            self.beside -= 1
            del queued[at]
        source.held = None
        counts[ACCEPTED] += 1
        self.beside += 1
        queued.append(message)

    def push_urgent(self, message: Message, source: Source = NOWHERE) -> Call | None:
        """Queue a reply, a bounce or control; return the call that it ends, if any.

        Raises `MailboxFullError` where nobody has read replies for long.
        """
        counts = self.counts
        asked = message.in_reply_to
        if asked is not None:
            call = self.calls.get(asked)
            if call is not None and call.reply is None:
                source.held = None
                counts[PASSED_ON] += 1
                call.reply = message
                return call
            if call is not None or asked in self._closed_calls:
                source.held = None
                counts[ACCEPTED] += 1
                counts[DROPPED] += 1
                return None
        unread = len(self._urgent)
        if unread >= self.size and (
            unread >= self.size * UNREAD_REPLIES or not is_solicited(message)
        ):
            source.held = None
            counts[REFUSED] += 1
            raise MailboxFullError("its reader has left too many replies unread")
        source.held = None
        counts[ACCEPTED] += 1
        self.beside += 1
        self._urgent.append(message)
        return None

    def push_unread(self, message: Message) -> None:
        """Count what came without its body: a letter is sent back, anything else is dropped."""
        # In this order: whoever is killed in between has lost it.
        self.counts[ACCEPTED] += 1
        if message.kind == "letter":
            self.counts[BOUNCED] += 1
        else:
            self.counts[DROPPED] += 1
            self.publications_dropped += message.kind == "publication"

    def drop_unread(self) -> None:
        """Count a reply as dropped that came from afar and was refused: nobody can be told."""
        self.counts[REFUSED] -= 1
        self.counts[ACCEPTED] += 1
        self.counts[DROPPED] += 1

    def pop(self) -> Message | None:
        """Return what its reader is to read next, counted as handed out, or None."""
        # Counted before it is taken out: in between no signal's handler gets in.
        counts = self.counts
        if self.beside and (self._urgent or self._publications_next or not self.letters):
            if self._urgent:
                self.beside -= 1
                counts[HANDED_OUT] += 1
                message = self._urgent.popleft()
                if message.in_reply_to is not None:
                    _remember(self._unclaimed, message.in_reply_to, message)
            else:
                self._publications_next = False
                self.beside -= 1
                counts[HANDED_OUT] += 1
                message = self._publications.popleft()
        elif self.letters:
            self._publications_next = True
            queue = self.letters.foremost() if isinstance(self.letters, ByPriority) else self.fifo
            assert queue is not None
            counts[HANDED_OUT] += 1
            message = queue.popleft()
            if self.noted:
                self.receipts.strike(message.message_id)
            if self.waiting:
                self.let_in()
        else:
            return None
        return message

    def let_in(self) -> None:
        """Queue letters of writers that wait, the first come first, while there is room."""
        # More than fits may have come from a socket; that goes first.
        while self.waiting and len(self.letters) < self.size:
            first = self.waiting[0]
            queue = self._queue_for(first.message)
            # First: a writer that is woken too early looks again, one that is not sleeps on.
            with contextlib.suppress(RuntimeError):
                first.lock.release()
            del self.waiting[0]
            first.taken = True
            self.counts[ACCEPTED] += 1
            queue.append(first.message)

    def expire(self) -> None:
        """Take back that the letter popped last was delivered: it is too old."""
        self.counts[DELIVERED] -= 1
        self.counts[EXPIRED] += 1

    def turn_away(self) -> None:
        """Take back that a letter was delivered: its reader sent it back."""
        self.counts[DELIVERED] -= 1
        self.counts[BOUNCED] += 1

    # Calls

    def note_call(self, call: Call, lock: LockType) -> bool:
        """Open ``call`` without the mailbox's ``lock``; False where `open_call` has to follow.

        That is where something may be known of its letter.
        """
        message = call.message
        asked, recipient = message.message_id, message.recipient
        if asked in self.calls:
            return False
        # In this order: whoever has the lock by now may have looked for it before it was there;
        # what those left who had it before is seen, and who takes it from here on finds the call.
        self.calls[asked] = call
        return not (
            lock.locked()
            or self._urgent
            or asked in self._unclaimed
            or (
                self._ended_lives
                and ("@" in recipient or (recipient, message.incarnation) in self._ended_lives)
            )
        )

    def open_call(self, message: Message) -> Call:
        """Note that somebody waits for the reply to ``message``; it may be here already."""
        asked = message.message_id
        call = self.calls.get(asked)
        if call is None:
            call = self.calls[asked] = Call(message)
        else:
            # It was expected, perhaps of an earlier life, which may be over.
            if call.message.incarnation != message.incarnation:
                call.gone = ""
            call.message = message
        if self._unclaimed and call.reply is None:
            call.reply = self._unclaimed.pop(asked, None)
        if self._urgent and call.reply is None:
            for reply in self._urgent:
                if reply.in_reply_to == asked:
                    self._urgent.remove(reply)
                    self.beside -= 1
                    self.counts[DELIVERED] += 1
                    call.reply = reply
                    break
        if self._ended_lives and call.reply is None:
            # Its own mailbox, or that of the router before it.
            for name in (message.recipient, message.recipient.rpartition("@")[2]):
                if (name, message.incarnation) in self._ended_lives:
                    call.gone = f"{name!r} died before it answered {message.subject!r}"
                    break
        return call

    def close_call(self, message_id: str) -> None:
        """Forget a call; a reply that comes later is dropped."""
        call = self.calls.pop(message_id, None)
        if call is not None and call.reply is None:
            _remember(self._closed_calls, message_id, None, CLOSED)

    def end_of_life(self, name: str, incarnation: int) -> list[Call]:
        """Return the open calls to one life of the mailbox ``name``, which is over.

        A call to it that is opened later has failed at once.
        """
        _remember(self._ended_lives, (name, incarnation), None)
        return [
            call
            for call in self.open_calls()
            if call.message.incarnation == incarnation
            and name in (call.message.recipient, call.message.recipient.rpartition("@")[2])
        ]

    def end_calls(self) -> None:
        """Wake whoever waits for what is here, in case that nobody has told it."""
        for call in self.open_calls():
            if call.reply is not None or call.gone:
                call.end()

    def open_calls(self) -> list[Call]:
        """Return every open call."""
        return list(self.calls.values())

    # Ending

    def empty(self) -> list[Message]:
        """Take everything out, counted as lost with the reader; return it."""
        left: list[Message] = []
        for queue in (self._urgent, *_queues_of(self.letters), self._publications):
            while queue:
                # Counted first, as in `pop`.
                self.counts[LOST] += 1
                left.append(queue.popleft())
        self.beside = 0
        return left

    def balance(self) -> Balance:
        """Return the ledger's balance at this moment."""
        # Some that were counted may be in a reader's hands, on their way to a lane.
        return balance(self.counts, self.queued, self.taken_in)


def _queues_of(letters: deque[Message] | ByPriority) -> tuple[deque[Message], ...]:
    return letters.queues if isinstance(letters, ByPriority) else (letters,)


def _remember(table: dict[K, T], key: K, value: T, most: int = REMEMBERED) -> None:
    table[key] = value
    if len(table) > most:
        del table[next(iter(table))]
