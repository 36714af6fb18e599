"""The queues of one mailbox and the calls that are open in it; no I/O, no lock.

Three lanes. *Urgent* carries replies, bounces and control. *Mail* is bounded;
writers that found it full leave their letter in ``waiting``, and each letter
that is taken out lets the first of them in. *Publications* are bounded and
drop the oldest, what is retained for last (`gateway.bus.conflation`). Urgent
goes first; mail and publications take turns, so that neither starves the other.

A reply whose letter has an open call goes to that call and nowhere else. One
whose call was closed (the caller gave up) is dropped and counted. Any other
reply is ordinary mail, and is remembered for a while in case somebody asks.

Whoever calls holds the mailbox's lock.
"""

from __future__ import annotations

import contextlib
from _thread import LockType
from collections import deque
from typing import Literal, Protocol, TypeVar

import msgspec

from gateway.bus.conflation import dispensable
from gateway.bus.ledger import (
    ACCEPTED,
    BOUNCED,
    DELIVERED,
    DROPPED,
    EXPIRED,
    LOST,
    PASSED_ON,
    REFUSED,
    TAKING,
    Balance,
    Counts,
    balance,
    empty_row,
)
from gateway.errors import GatewayError, MailboxFullError, RecipientGoneError
from gateway.mail.message import Message

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
"""Times its size that a mailbox holds of replies for which nobody waits."""


class Turn(Protocol):
    """What is released to wake whoever waits: a thread's lock, or the like of it on a loop."""

    def release(self) -> None:
        """Wake it; a `RuntimeError` says that it is awake, or gone."""
        ...


class Call(msgspec.Struct, eq=False):
    """A letter whose reply somebody waits for."""

    message: Message
    reply: Message | None = None
    error: GatewayError | None = None
    lock: Turn | None = None
    """What the waiting thread sleeps on while another one leads."""
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


class Lanes:
    """What waits in one mailbox."""

    __slots__ = (
        "_calls",
        "_closed_calls",
        "_ended_lives",
        "_mail",
        "_only",
        "_publications",
        "_publications_next",
        "_unclaimed",
        "_urgent",
        "count",
        "counts",
        "policy",
        "publications_dropped",
        "queued",
        "size",
        "taken_in",
        "waiting",
    )

    def __init__(
        self, size: int, order: Order, policy: Policy = "block", counts: Counts | None = None
    ) -> None:
        self.size = size
        self.count = 0
        """Letters in the mail lane."""
        self.queued = 0
        """Letters in all lanes."""
        self.taken_in = 0
        """Of those that the ledger counts as taken in: all that have come to a lane."""
        self.policy = policy
        self.counts = empty_row() if counts is None else counts
        self.publications_dropped = 0
        """Of what the ledger counts as dropped: publications that gave way to newer ones."""
        self.waiting: deque[Waiting] = deque()
        self._mail: tuple[deque[Message], ...] = tuple(
            deque() for _ in range(1 if order == "fifo" else 3)
        )
        # FIFO needs no choice.
        self._only = self._mail[0] if order == "fifo" else None
        self._urgent: deque[Message] = deque()
        self._publications: deque[Message] = deque()
        self._publications_next = False
        self._calls: dict[str, Call] = {}
        self._closed_calls: dict[str, None] = {}
        self._ended_lives: dict[tuple[str, int], None] = {}
        self._unclaimed: dict[str, Message] = {}

    def push_letter(self, message: Message) -> None:
        """Queue a letter; the caller has seen to it that there is room."""
        lane = self._only
        if lane is None:
            lane = self._mail[message.priority if 0 <= message.priority <= 2 else 2]
        lane.append(message)
        self.count += 1
        self.queued += 1
        self.counts[ACCEPTED] += 1

    def take_in(self, letters: list[Message]) -> None:
        """Queue what came from a socket and is counted already."""
        if self._only is not None:
            self._only.extend(letters)
        else:
            for message in letters:
                self._mail[message.priority if 0 <= message.priority <= 2 else 2].append(message)
        self.count += len(letters)
        self.queued += len(letters)
        self.taken_in += len(letters)

    def drop_oldest(self) -> Message:
        """Take the oldest letter of the least urgent lane out, counted as dropped; return it."""
        lane = next(lane for lane in reversed(self._mail) if lane)
        self.count -= 1
        self.queued -= 1
        self.counts[DROPPED] += 1
        return lane.popleft()

    def push_publication(self, message: Message) -> None:
        """Queue a publication, at the cost of an older one where there is no room."""
        counts = self.counts
        counts[ACCEPTED] += 1
        if len(self._publications) >= self.size:
            # Mostly what is retained is rare, and the oldest goes.
            queued = self._publications
            at = dispensable(queued, message) if queued[0].retain else 0
            self.publications_dropped += 1
            counts[DROPPED] += 1
            if at is None:
                return
            del queued[at]
            self.queued -= 1
        self._publications.append(message)
        self.queued += 1

    def push_urgent(self, message: Message) -> Call | None:
        """Queue a reply, a bounce or control; return the call that it ends, if any.

        Raises `MailboxFullError` where nobody has read replies for long.
        """
        counts = self.counts
        asked = message.in_reply_to
        if asked is not None:
            call = self._calls.get(asked)
            if call is not None and call.reply is None:
                counts[PASSED_ON] += 1
                call.reply = message
                return call
            if call is not None or asked in self._closed_calls:
                counts[ACCEPTED] += 1
                counts[DROPPED] += 1
                return None
        if len(self._urgent) >= self.size * UNREAD_REPLIES:
            counts[REFUSED] += 1
            raise MailboxFullError("its reader has left too many replies unread")
        counts[ACCEPTED] += 1
        self._urgent.append(message)
        self.queued += 1
        return None

    def drop_unread(self) -> None:
        """Count a reply as dropped that came from afar and was refused: nobody can be told."""
        self.counts[REFUSED] -= 1
        self.counts[ACCEPTED] += 1
        self.counts[DROPPED] += 1

    def pop(self) -> Message | None:
        """Return what is to be read next, counted as delivered, or None."""
        if not self.queued:
            return None
        self.queued -= 1
        if self._urgent:
            message = self._urgent.popleft()
            if message.in_reply_to is not None:
                _remember(self._unclaimed, message.in_reply_to, message)
        elif self._publications and (self._publications_next or not self.count):
            self._publications_next = False
            message = self._publications.popleft()
        else:
            self._publications_next = True
            lane = self._only
            if lane is None:
                lane = next(filter(None, self._mail))
            message = lane.popleft()
            self.count -= 1
            # More than fits may have come from a socket; that goes first.
            if self.waiting and self.count < self.size:
                self._let_in()
        self.counts[DELIVERED] += 1
        return message

    def pass_on(self, message: Message) -> Message | None:
        """Return what is to be read next, now that ``message`` was taken from the mail socket.

        Where nothing else lies here that is the letter itself, and no lane is
        touched.
        """
        next_one: Message | None = message
        if self.queued:
            self.push_letter(message)
            next_one = self.pop()
        else:
            self.counts[PASSED_ON] += 1
        self.counts[TAKING] = 0
        return next_one

    def expire(self) -> None:
        """Take back that the letter popped last was delivered: it is too old."""
        self.counts[DELIVERED] -= 1
        self.counts[EXPIRED] += 1

    def turn_away(self) -> None:
        """Take back that a letter was delivered: its reader sent it back."""
        self.counts[DELIVERED] -= 1
        self.counts[BOUNCED] += 1

    def _let_in(self) -> None:
        first = self.waiting.popleft()
        first.taken = True
        self.push_letter(first.message)
        first.lock.release()

    # Calls

    def open_call(self, message: Message) -> Call:
        """Note that somebody waits for the reply to ``message``; it may be here already."""
        asked = message.message_id
        call = self._calls.get(asked)
        if call is None:
            call = self._calls[asked] = Call(message)
        else:
            # It was expected, perhaps of an earlier life.
            call.message = message
        if self._unclaimed and call.reply is None:
            call.reply = self._unclaimed.pop(asked, None)
        if self._urgent and call.reply is None:
            for reply in self._urgent:
                if reply.in_reply_to == asked:
                    self._urgent.remove(reply)
                    self.queued -= 1
                    self.counts[DELIVERED] += 1
                    call.reply = reply
                    break
        if self._ended_lives and call.reply is None:
            # Its own mailbox, or that of the router before it.
            for name in (message.recipient, message.recipient.rpartition("@")[2]):
                if (name, message.incarnation) in self._ended_lives:
                    call.error = RecipientGoneError(
                        f"{name!r} died before it answered {message.subject!r}"
                    )
                    break
        return call

    def close_call(self, message_id: str) -> None:
        """Forget a call; a reply that comes later is dropped."""
        call = self._calls.pop(message_id, None)
        if call is not None and call.reply is None:
            _remember(self._closed_calls, message_id, None, CLOSED)

    def end_of_life(self, name: str, incarnation: int) -> list[Call]:
        """Return the open calls to one life of the mailbox ``name``, which is over.

        A call to it that is opened later has failed at once.
        """
        _remember(self._ended_lives, (name, incarnation), None)
        return [
            call
            for call in self._calls.values()
            if call.message.incarnation == incarnation
            and name in (call.message.recipient, call.message.recipient.rpartition("@")[2])
        ]

    def open_calls(self) -> list[Call]:
        """Return every open call."""
        return list(self._calls.values())

    # Ending

    def empty(self) -> list[Message]:
        """Take everything out, counted as lost with the reader; return it."""
        left = [*self._urgent, *(letter for lane in self._mail for letter in lane)]
        left.extend(self._publications)
        self.counts[LOST] += len(left)
        self._urgent.clear()
        self._publications.clear()
        for lane in self._mail:
            lane.clear()
        self.count = self.queued = 0
        return left

    def balance(self) -> Balance:
        """Return the ledger's balance at this moment."""
        # Some that were counted may be in a reader's hands, on their way to a lane.
        return balance(self.counts, self.queued, self.taken_in)


def _remember(table: dict[K, T], key: K, value: T, most: int = REMEMBERED) -> None:
    table[key] = value
    if len(table) > most:
        del table[next(iter(table))]
