"""What the boss tells: who is there, how each process stands, what is retained.

Each change of the crew or of the subscriptions makes a new `Book`, which goes
to every OS process at once. A process's state is published, retained, on
``processes/<name>/state``; the wills of one that died are said in its name.

The boss's thread is the only user. A child whose socket is full gets the
newest book, then its answers, then what is sent back to it, as soon as there is room;
nobody else waits for it. Refused: to keep more than `UNSENT` answers, and `UNTOLD`
letters sent back, for one that reads none.
"""

from __future__ import annotations

import logging
import select
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from msgspec.structs import replace

from gateway.bus.directory import BOSS, Book
from gateway.bus.lanes import Policy
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.bus.spool_terms import SpoolTerms
from gateway.bus.tapping import bare, show
from gateway.bus.wire import Outlet
from gateway.errors import BodyError, GatewayError, RefusedError, described
from gateway.mail.abridged import as_unicode
from gateway.mail.codec import decode, encode
from gateway.mail.message import NORMAL, Message, bounce_of, is_solicited, reply_to
from gateway.supervision.archive import Archive
from gateway.supervision.member import Member, State
from gateway.supervision.notices import Notices, heed

log = logging.getLogger(__name__)

UNSENT = 64
"""Answers at the most that wait for one mailbox whose socket is full."""

UNTOLD = 1024
"""Letters that are sent back at the most that wait so."""

ABSENCE = 200
"""Characters at the most in which the book says why somebody is away."""


@dataclass(eq=False)
class _Backlog:
    """What one mailbox in another OS process is still to be told."""

    outlet: Outlet
    member: Member | None = None
    """Whose mailbox it is, where the newest book is to be sent there."""
    answers: deque[Message] = field(default_factory=deque)
    sent_back: deque[Message] = field(default_factory=deque)

    @property
    def first(self) -> deque[Message]:
        """What is to be told first, and is empty where nothing is."""
        return self.answers or self.sent_back


class Noticeboard:
    """The book, the topics and the wills of one application."""

    def __init__(self, office: Office, box: Mailbox, members: Mapping[str, Member]) -> None:
        self._office = office
        self._box = box
        self._members = members
        self._archive = Archive()
        self._stamps = count(1)
        self.notices = Notices()
        self._carrier = ""
        self._unsent: dict[str, _Backlog] = {}
        self.unheard = 0
        """Answers that found no reader."""

    # The book

    def tell_book(self) -> None:
        """Make a new book of who is there and hand it to every OS process."""
        old = self._office.book
        incarnations = {BOSS: 1}
        for name, member in self._members.items():
            if member.takes_mail:
                incarnations[name] = member.incarnation
                incarnations.update(dict.fromkeys(member.mailboxes, member.incarnation))
        policies: dict[str, Policy] = {
            name: member.spec.mailbox_policy
            for name, member in self._members.items()
            if member.spec.mailbox_policy != "block"
        }
        book = Book(
            old.version + 1,
            incarnations,
            self._archive.subscriptions,
            policies,
            self.notices.as_data(),
            self._carrier,
            {
                name: as_unicode(member.absence[:ABSENCE])
                for name, member in self._members.items()
                if name not in incarnations
            },
        )
        if self._office.update(book):
            # They are many microseconds away from their error, and the others a look at the book.
            self._office.give_way()
        here = [name for name, each in self._members.items() if each.spec.mode != "fork"]
        heed(self._office, [BOSS, *here])
        for member in self._members.values():
            if member.spec.mode == "fork" and member.runs and member.takes_mail and member.pid:
                self._send_book(member)
        self._office.announce()

    def carry(self, name: str) -> None:
        """Have ``name`` take the mail for other gateways; `RefusedError` where another does."""
        if self._carrier not in ("", name):
            raise RefusedError(
                f"{self._carrier!r} carries the mail between gateways already, and which of two"
                " should take a letter nobody could say: give [routes.….mail] to one of them"
            )
        if not self._carrier:
            self._carrier = name
            self.tell_book()

    def _send_book(self, member: Member) -> None:
        target = bare(self._office.target(member.spec.name))
        assert isinstance(target, Outlet)
        backlog = self._unsent.get(target.name) or _Backlog(target)
        backlog.member = member
        self._flush(backlog)

    def leave(self, member: Member) -> dict[str, Any]:
        """Forget what was to be told to a life that is over; return its wills."""
        if self._carrier == member.spec.name:
            self._carrier = ""
        wills = self.close(member.spec.name)
        for further in member.mailboxes:
            wills.update(self.close(further))
            self._office.unlink(further, member.incarnation)
        return wills

    def close(self, mailbox: str) -> dict[str, Any]:
        """Forget what was to be told to a mailbox that is no more; return its wills."""
        self.notices.untap(mailbox)
        self._forget(mailbox)
        return self._archive.leave(mailbox)

    # What finds no room

    def _flush(self, backlog: _Backlog) -> None:
        """Send what waits for one mailbox; where its socket is full, go on when there is room.

        Nobody waits for a reader here: who leaves more than `UNSENT` answers
        unread loses the rest, and those are counted.
        """
        name, outlet = backlog.outlet.name, backlog.outlet
        try:
            fd = outlet.socket_for("urgent").fileno()
            if backlog.member is not None:
                book = self.control(backlog.member, "book", encode(self._office.book))
                if outlet.try_send(book, "urgent"):
                    backlog.member = None
            while backlog.member is None and (letters := backlog.first):
                letter = letters[0]
                try:
                    if not outlet.try_send(letter, "urgent"):
                        break
                    letters.popleft()
                except BodyError as error:
                    # As all that is retained may be, together.
                    letters[0] = replace(letter, kind="bounce", body=described(error))
        except (GatewayError, OSError) as error:
            # It is dying; its pidfd says so in a moment.
            log.debug("%s cannot be told: %s", name, str(error))
            self.unheard += len(backlog.answers) + len(backlog.sent_back)
            self._forget(name)
            return
        if backlog.member is None and not backlog.first:
            self._forget(name)
        elif name not in self._unsent:
            self._unsent[name] = backlog
            self._box.watch(fd, lambda _: self._flush(backlog), select.EPOLLOUT)

    def _forget(self, name: str) -> None:
        backlog = self._unsent.pop(name, None)
        if backlog is not None:
            self._box.unwatch(backlog.outlet.socket_for("urgent").fileno())

    # Topics

    def subscribe(self, mailbox: str, pattern: str, spool: SpoolTerms | None = None) -> list[bytes]:
        """Add a subscription and return what is retained under ``pattern``, packed."""
        if self._archive.subscribe(mailbox, pattern, self._office.book.version + 1, spool):
            self.tell_book()
        return [encode(kept) for kept in self._archive.retained(pattern)]

    def unsubscribe(self, mailbox: str, pattern: str) -> None:
        """End a subscription; one that is not there is fine."""
        if self._archive.unsubscribe(mailbox, pattern):
            self.tell_book()

    def expect(self, mailbox: str, spools: Mapping[str, SpoolTerms]) -> None:
        """Have what is published wait for ``mailbox``, which has not subscribed yet."""
        for pattern, terms in spools.items():
            self._archive.subscribe(mailbox, pattern, self._office.book.version + 1, terms)

    def spools(self) -> dict[str, SpoolTerms]:
        """Return whose mailbox is durable, on which terms."""
        known = self._archive.subscriptions
        return {each.mailbox: each.spool for each in known if each.spool is not None}

    def retain(self, packed: bytes, version: int) -> None:
        """Keep a publication whose owner had the book of ``version`` when it wrote it."""
        kept = decode(packed)
        if not self._archive.keep(kept):
            return
        book = self._office.book
        if version < book.version:
            # Its owner did not know yet who subscribed meanwhile.
            for name in book.subscribers(kept.subject, after=version):
                self._office.publish_to(name, kept)

    def declare_will(self, mailbox: str, topic: str, body: Any) -> None:
        """Note what is to be said should the life of ``mailbox`` end badly."""
        self._archive.declare_will(mailbox, topic, body)

    def say_wills(self, name: str, wills: Mapping[str, Any]) -> None:
        """Publish, retained and in the name of who died, what it wanted said."""
        for topic, body in wills.items():
            if isinstance(body, dict) and "since" in body:
                body = {**body, "since": self._office.clock.time()}
            incarnation, sequence = self._archive.sequence(topic)
            self._publish_retained(self._publication(topic, body, name, incarnation, sequence + 1))

    # States

    def move(self, member: Member, state: State, cause: str) -> None:
        """Note that ``member`` is in ``state`` now, and tell the house."""
        member.state, member.cause = state, cause
        member.since = self._office.clock.time()
        body = {
            "state": state,
            "cause": cause,
            "since": member.since,
            "mode": member.spec.mode,
            "restarts": member.restarts.count,
        }
        self._say_state(member, body)

    def forget(self, member: Member) -> None:
        """Keep nothing of a process that is over and will not come back."""
        self._say_state(member, None)

    def _say_state(self, member: Member, body: Any) -> None:
        # One row for all of them: who has seen the state of somebody who was forgotten
        # is to take that of a successor for newer.
        topic, stamp = f"processes/{member.spec.name}/state", next(self._stamps)
        self._publish_retained(self._publication(topic, body, BOSS, 1, stamp))

    def announce(self, topic: str, body: Any) -> None:
        """Publish ``body`` once; nothing of it is kept."""
        self._office.publish(self._publication(topic, body, BOSS, 1, 1, retain=False))

    def _publish_retained(self, message: Message) -> None:
        self._archive.keep(message)
        self._office.publish(message)

    # Letters

    def control(self, member: Member, subject: str, body: Any) -> Message:
        """Return a control letter to the present life of ``member``."""
        message_id = self._office.new_id()
        return Message(
            message_id,
            message_id,
            1,
            self._office.clock.time(),
            BOSS,
            member.spec.name,
            subject,
            body,
            NORMAL,
            kind="control",
            incarnation=member.incarnation,
            sender_incarnation=1,
        )

    def answer(self, message: Message, body: Any) -> None:
        """Reply to ``message``; who reads no replies holds nobody up."""
        self._tell(reply_to(message, self._office.new_id(), self._office.clock.time(), body))

    def refuse(self, message: Message, error: GatewayError) -> None:
        """Bounce ``message``; where it is no letter that can be answered, do nothing."""
        if message.kind in ("letter", "control"):
            office = self._office
            self._tell(bounce_of(message, office.new_id(), office.clock.time(), error))

    def send_back(self, letter: Message, error: GatewayError) -> None:
        """Bounce ``letter``, which was for somebody else, to whoever wants to know."""
        if letter.kind == "letter" and is_solicited(letter):
            office = self._office
            bounce = bounce_of(letter, office.new_id(), office.clock.time(), error)
            self._tell(bounce, is_answer=False)

    def _tell(self, letter: Message, *, is_answer: bool = True) -> None:
        """Tell a life, or (0) whoever is behind a router, unless too much waits there already."""
        try:
            found = self._office.target(letter.recipient)
            if letter.incarnation and found.incarnation != letter.incarnation:
                return
            target = bare(found)
            if isinstance(target, Mailbox):
                found.deliver(letter, 0.0)
                return
        except GatewayError as error:
            # Whoever asked is gone, or has left too many replies unread.
            # As text: a record that is kept would keep what the error's frames hold.
            log.debug("%s cannot be told: %s", letter.recipient, str(error))
            self.unheard += 1
            return
        backlog = self._unsent.get(target.name) or _Backlog(target)
        letters = backlog.answers if is_answer else backlog.sent_back
        if len(letters) >= (UNSENT if is_answer else UNTOLD):
            log.debug("%s cannot be told: it reads none of %d", letter.recipient, len(letters))
            self.unheard += 1
            return
        show(found, letter)
        letters.append(letter)
        self._flush(backlog)

    def statistics(self) -> dict[str, int]:
        """Return counts: the book's version, what is kept, what nobody heard."""
        return {
            "book": self._office.book.version,
            **self._archive.statistics(),
            "backlogs": len(self._unsent),
            "unheard": self.unheard,
        }

    def _publication(
        self,
        topic: str,
        body: Any,
        sender: str,
        incarnation: int,
        sequence: int,
        *,
        retain: bool = True,
    ) -> Message:
        message_id = self._office.new_id()
        return Message(
            message_id,
            message_id,
            sequence,
            self._office.clock.time(),
            sender,
            "",
            topic,
            body,
            kind="publication",
            sender_incarnation=incarnation,
            retain=retain,
        )
