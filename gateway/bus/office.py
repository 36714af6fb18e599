"""The post office of one OS process: looks recipients up and delivers.

No message passes through a middleman. A recipient in the same OS process gets
it by reference, another one as a datagram. An `Office` holds the mailboxes
that live here, a copy of the address book, and one `Outlet` for each mailbox
elsewhere that somebody here has written to.

`deliver` returns, or raises: unknown recipient, full past the deadline, gone.
A publication never raises, and waits for nobody but, a tenth of a second, the
reader of a spool that stands still in the middle of its file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import count
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple
from urllib.parse import quote

from msgspec.structs import replace

from gateway.bus.directory import BOSS, Book
from gateway.bus.inlet import Inlet, new_buffer
from gateway.bus.lanes import NO_RECEIPTS, Order, Policy, Receipts
from gateway.bus.ledger import SharedLedgers, empty_row
from gateway.bus.mailbox import Mailbox
from gateway.bus.outlets import outlet_to
from gateway.bus.patience import Patience
from gateway.bus.pump import Pump
from gateway.bus.receipt_book import ReceiptBook, noted
from gateway.bus.ring import RingReader
from gateway.bus.rings import Rings
from gateway.bus.self_pipe import SelfPipe
from gateway.bus.spool_terms import SpoolTerms
from gateway.bus.spool_writer import SpoolWriter
from gateway.bus.wire import Folder, Outlet, socket_name
from gateway.clock import Clock
from gateway.errors import (
    AddressError,
    CallTimeoutError,
    GatewayError,
    MailboxFullError,
    RecipientGoneError,
    RefusedError,
)
from gateway.mail.body import PLAIN, checked
from gateway.mail.codec import encode
from gateway.mail.message import Message, bounce_of
from gateway.mail.topic import matches

log = logging.getLogger(__name__)

UNREAD = 4 * 1280
"""Bytes of memory of unread answers, some four small ones, beside which nothing is mentioned."""


_HANDS = f"{socket_name(BOSS, 1, 'mail')}.hands"
"""The file name of the socket over which sockets are handed."""

GIVE_WAY = 1e-4
"""Seconds for which who has woken others sleeps: as long as it takes to wake on another core."""

CACHED = 4096
"""Recipients and topics whose mailboxes are remembered at the most."""


class _Audience(NamedTuple):
    """Who hears a topic: all of them, those without a file, and the files."""

    everybody: list[Mailbox | Outlet]
    others: list[Mailbox | Outlet]
    spools: dict[str, SpoolWriter]


class Office:
    """Delivery within, into and out of one OS process. All methods are thread-safe."""

    def __init__(
        self,
        folder: Path | Folder,
        *,
        clock: Clock,
        ledgers: SharedLedgers | None = None,
        rings: Rings | None = None,
        self_pipe: SelfPipe | None = None,
    ) -> None:
        self.clock = clock
        self.ledgers = ledgers
        self._rings = rings
        self._self_pipe = self_pipe
        self.book = Book(0, {BOSS: 1})
        self._folder = folder if isinstance(folder, Folder) else Folder(folder)
        self._mailbox: Callable[..., Mailbox] = Mailbox
        self._boxes: dict[str, Mailbox] = {}
        self._targets: dict[str, Mailbox | Outlet] = {}
        # By the mailbox and its life.
        self._outlets: dict[tuple[str, int], Outlet] = {}
        self._subscribers: dict[str, _Audience] = {}
        self._spools: dict[tuple[str, bool], SpoolWriter] = {}
        self._spool_lock = threading.Lock()
        self._is_shut = False
        self._unwritten: Counter[str] = Counter()
        self._listeners: list[Callable[[], None]] = []
        self._pump = Pump(self.give_up, self._bounce_left)
        self._patience = Patience()
        self._receipts: Receipts = NO_RECEIPTS
        self._id_prefix = os.urandom(5).hex() + "-"
        self._id_numbers = count(1)
        self._pid = os.getpid()
        # Where another OS process writes the book: the version of its newest.
        self._edition: Sequence[int] = (0,)
        self._read_book: Callable[[], object] = bool
        self.can_fork = True
        """Whether the boss has letters handled in forked processes."""

    # Mailboxes

    def bind(self, name: str, incarnation: int) -> tuple[socket.socket, socket.socket]:
        """Return the two bound sockets of a mailbox that is to be opened somewhere."""
        mail = self._folder.bind(socket_name(name, incarnation, "mail"))
        try:
            return mail, self._folder.bind(socket_name(name, incarnation, "urgent"))
        except OSError:
            mail.close()
            self.unlink(name, incarnation)
            raise

    def bind_hands(self) -> socket.socket:
        """Return the socket to which sockets of further mailboxes are handed, for the boss."""
        return self._folder.bind(_HANDS)

    def unlink_hands(self) -> None:
        """Remove what `bind_hands` bound."""
        self._folder.unlink(_HANDS)

    def hand_over(self, name: str, sockets: tuple[socket.socket, socket.socket]) -> None:
        """Give the boss copies of the ``sockets`` of the mailbox ``name``; they stay the caller's.

        It counts what lies there should this OS process be killed. Where the
        boss lives here there is nothing to give; one that has no room goes
        without, and what lies there then is not counted.
        """
        if BOSS in self._boxes:
            return
        try:
            with self._folder.connect(_HANDS) as way:
                way.settimeout(1.0)
                socket.send_fds(way, [name.encode()], [used.fileno() for used in sockets])
        except OSError as error:
            log.warning("the boss has no hand on %s: %s", name, error)

    def open(
        self,
        name: str,
        incarnation: int,
        sockets: tuple[socket.socket, socket.socket],
        *,
        size: int = 256,
        order: Order = "fifo",
        policy: Policy = "block",
        control: Callable[[Message], bool] | None = None,
        row: int | None = None,
        kind: Callable[..., Mailbox] | None = None,
    ) -> Mailbox:
        """Open the mailbox ``name`` in this OS process and return it.

        ``row`` is where its supervisor reads its counts; ``kind`` makes a
        mailbox of another kind than is usual here.
        """
        if row is not None and BOSS not in self._boxes and self._receipts is NO_RECEIPTS:
            # Whoever takes stock of this OS process has another memory.
            self._receipts = ReceiptBook(self._folder, socket_name(name, incarnation, "mail"))
        box = (kind or self._mailbox)(
            name,
            incarnation,
            clock=self.clock,
            size=size,
            order=order,
            policy=policy,
            sockets=sockets,
            control=control,
            undeliverable=self.give_up,
            counts=None if row is None or self.ledgers is None else self.ledgers.row(row),
            rings=self._rings,
            reserve=self._folder.reserve,
            receipts=self._receipts,
        )
        if self._self_pipe is not None:
            box.hear_signals(self._self_pipe)
        self._boxes[name] = box
        self._patience.add(box)
        self._forget_routes()
        return box

    def close(self, box: Mailbox) -> None:
        """Close a mailbox of this OS process; what it leaves is bounced where asked for."""
        self._patience.remove(box)
        left = box.close()
        if self._boxes.get(box.name) is box:
            del self._boxes[box.name]
        self._forget_routes()
        self.unlink(box.name, box.incarnation)
        for message in left:
            self.give_up(message, RecipientGoneError(f"{box.name!r} ended before it read this"))

    def inherit(
        self,
        name: str,
        incarnation: int,
        sockets: tuple[socket.socket, ...],
        *,
        unlinks: bool = True,
        known: Collection[str] = (),
    ) -> int:
        """Take what a dead reader left in its sockets and rings; return how many letters that were.

        They are bounced where that was asked for, but for those whose senders ``known`` says were
        told. What its boss told it, such as to end, is no letter. From here on the
        writers are told that it is gone. Without ``sockets`` it is the rings alone. It ``unlinks``
        the files, where nobody else has.
        """
        left: list[Message] = []
        buffer, reserve = new_buffer(), self._folder.reserve
        inlets = [
            Inlet(used, buffer, heard=lambda ring, letter: None, reserve=reserve, wary=True)
            for used in sockets
        ]
        for inlet in inlets:
            # First: a bell that came after this would ring for nobody.
            inlet.refuse()

        def take_stock(ending: list[RingReader]) -> None:
            for inlet in inlets:
                left.extend(message for message in inlet.rest() if message is not None)
                inlet.close()
            for ring in ending:
                ring.rest(left, empty_row(), 0)

        if self._rings is not None:
            self._rings.ending(socket_name(name, incarnation, "mail"), take_stock)
        else:
            take_stock([])
        if unlinks:
            self.unlink(name, incarnation)
        for message in left:
            if message.message_id not in known:
                self.give_up(message, RecipientGoneError(f"{name!r} died before it read this"))
        return sum(message.kind != "control" for message in left)

    def read_receipts(self, name: str, incarnation: int) -> set[str]:
        """Bounce what an OS process that is over had in its memory; return the ids of that.

        It is the one whose first mailbox is ``name``. One that it was about to take from a ring
        may lie there as well.
        """
        held = list(noted(self._folder, socket_name(name, incarnation, "mail")))
        for message in sorted(held, key=lambda message: message.time):
            gone = RecipientGoneError(f"{message.recipient!r} died before it read this")
            self.give_up(message, gone)
        return {message.message_id for message in held}

    def unlink(self, name: str, incarnation: int) -> None:
        """Remove the socket files of a life that is over."""
        self._folder.unlink(socket_name(name, incarnation, "mail"))
        self._folder.unlink(socket_name(name, incarnation, "urgent"))

    def shut(self) -> None:
        """Close everything that is open here."""
        # What bounces do not leave in time stands in the book of receipts, which is left to
        # whoever takes stock of this OS process.
        self._pump.settle()
        for box in list(self._boxes.values()):
            self.close(box)
        self._pump.stop()
        self._outlets = {}
        self._patience.close()
        self._forget_routes()
        with self._spool_lock:
            self._is_shut = True
            writers = list(self._spools.values())
        for writer in writers:
            writer.close()
        self._folder.close()

    def count_unsent(self, row: int) -> None:
        """Count what is lost here before it leaves in a row that its supervisor sees."""
        if self.ledgers is not None:
            self._pump.counts = self.ledgers.row(row)

    def settle(self) -> dict[str, int]:
        """Send no mail on any more; return what was lost here before it left, by mailbox."""
        self._pump.settle()
        return dict(self._pump.dropped_by)

    def clean(self) -> int:
        """Remove the sockets that a killed predecessor left; return how many."""
        return self._folder.clean()

    # The book

    def update(self, book: Book) -> bool:
        """Take in a newer book; end the waits for those who died, and tell whether any did wait."""
        if book.version <= self.book.version:
            return False
        older, self.book = self.book, book
        self._forget_routes()
        has_ended = False
        for name, incarnation in book.gone_since(older):
            self._outlets.pop((name, incarnation), None)
            for box in list(self._boxes.values()):
                has_ended = box.fail_calls(name, incarnation) or has_ended
        for listener in list(self._listeners):
            listener()
        return has_ended

    def announce(self) -> None:
        """Have every OS process know that there is a newer book, once it was sent to all."""
        if self.ledgers is not None:
            self.ledgers.edition[0] = self.book.version

    def heed_announcements(self, read: Callable[[], object]) -> None:
        """Have ``read()`` take in what is newer before anything is written by an older book.

        So who keeps a loop of its own, and reads no mail, writes to those who are there now.
        """
        if self.ledgers is not None:
            self._edition, self._read_book = self.ledgers.edition, read

    def catch_up(self) -> None:
        """Take in the newest book where this office has an older one, and it has come."""
        if self._edition[0] > self.book.version:
            self._read_book()

    def give_way(self) -> None:
        """Have the threads run that were woken just now, before this one goes on."""
        # Only while it sleeps is the interpreter's lock theirs.
        sleep(GIVE_WAY)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have ``listener()`` called after every newer book, on whatever thread read it."""
        self._listeners.append(listener)

    def forget(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` no more; one that is not known is fine."""
        with contextlib.suppress(ValueError):
            self._listeners.remove(listener)

    def _forget_routes(self) -> None:
        self._targets = {}
        self._subscribers = {}

    def target(self, recipient: str) -> Mailbox | Outlet:
        """Return what delivers to ``recipient``; raise `AddressError` for nobody."""
        # What `catch_up` does, spelled out: all mail comes by here.
        if self._edition[0] > self.book.version:
            self._read_book()
        # Taken before the book is read: what is found in an older book than
        # the newest ends up in a table that was thrown away.
        targets = self._targets
        found = targets.get(recipient)
        if found is None:
            name, incarnation = self.book.look_up(recipient)
            found = self._target_for(name, incarnation)
            if len(targets) < CACHED:
                targets[recipient] = found
        return found

    def look_up_again(self, recipient: str) -> Mailbox | Outlet:
        """Forget what was found before and look anew; raise `RecipientGoneError` for nobody."""
        self._forget_routes()
        try:
            return self.target(recipient)
        except AddressError as error:
            raise RecipientGoneError(f"{recipient!r} is gone: {error}") from error

    def _target_for(self, name: str, incarnation: int) -> Mailbox | Outlet:
        box = self._boxes.get(name)
        if box is not None and box.incarnation == incarnation:
            return box
        found = self._outlets.get((name, incarnation))
        if found is not None:
            return found
        policy = self.book.policies.get(name)
        made = outlet_to(
            self._folder, name, incarnation, policy, self._pump, self._patience, self._rings
        )
        # Of several threads that come here at once one is first: what goes by two has no order.
        found = self._outlets.setdefault((name, incarnation), made)
        if self.book.incarnations.get(name) != incarnation:
            # In a newer book, which was read meanwhile, it is over.
            self._outlets.pop((name, incarnation), None)
        return found

    # Delivery

    def new_id(self) -> str:
        """Return the id of a new letter, given to no other.

        It is unique across OS processes and, by its random part, across restarts, so
        that a late reply never meets a new letter.
        """
        return self._id_prefix + str(next(self._id_numbers))

    def answer(self, message: Message, timeout: float = 5.0) -> None:
        """Deliver a reply or a bounce to the life that asked, or raise.

        Raises `RecipientGoneError` where that life is over: a reply never
        goes to a successor. Where it was no life of ours that asked (0), but
        somebody behind a router, the router's present life takes it there.
        """
        self._who_asked(message).deliver(message, timeout)

    def _who_asked(self, answer: Message) -> Mailbox | Outlet:
        """Return what delivers ``answer``; raise `RecipientGoneError` where that life is over."""
        try:
            target = self.target(answer.recipient)
        except AddressError as error:
            raise RecipientGoneError(f"{answer.recipient!r} is gone") from error
        if answer.incarnation != target.incarnation and answer.incarnation:
            raise RecipientGoneError(f"{answer.recipient!r} was restarted since it asked")
        return target

    def mention(self, bounce: Message) -> None:
        """Deliver a bounce to who may be waiting for it, and takes no room from other answers.

        Raises `MailboxFullError` where what was sent there before lies unread: nobody waits
        there, or who does is about to read. Raises `RecipientGoneError` as `answer` does.
        """
        target = self._targets.get(bounce.recipient)
        if isinstance(target, Outlet) and target.unread_answers() >= UNREAD:
            raise MailboxFullError(f"{bounce.recipient!r} reads no answers at present")
        self.answer(bounce, 0.0)

    def tell_boss(self, box: Mailbox, subject: str, body: Any, *, timeout: float = 5.0) -> Message:
        """Write a control letter to the boss in the name of ``box``, and return it.

        Raises `RefusedError` in a child of ``os.fork()``, whose answer its parent would read.
        """
        if os.getpid() != self._pid:
            raise RefusedError(
                f"this is a child of os.fork(), and the mail of {box.name!r} is its parent's: "
                f"have the parent ask for {subject!r}, or add a process with mode='fork'"
            )
        message_id = self.new_id()
        message = Message(
            message_id,
            message_id,
            1,
            self.clock.time(),
            box.name,
            BOSS,
            subject,
            body,
            kind="control",
            incarnation=1,
            sender_incarnation=box.incarnation,
        )
        self.target(BOSS).deliver(message, timeout)
        return message

    @contextlib.contextmanager
    def ordering(
        self,
        box: Mailbox,
        subject: str,
        body: Any,
        given_up: tuple[type[BaseException], ...] = (CallTimeoutError,),
    ) -> Iterator[Message]:
        """Give the boss an order to wait for within; where one of ``given_up`` ends that, tell it.

        The order is carried out all the same, and not answered.
        """
        ordered = self.tell_boss(box, subject, body)
        try:
            yield ordered
        except given_up:
            # It is over for who asked, whatever the boss can be told.
            with contextlib.suppress(GatewayError, OSError):
                self.tell_boss(box, "give-up", ordered.message_id, timeout=0.0)
            raise

    def give_up(self, message: Message, error: GatewayError) -> None:
        """Tell the sender that an accepted letter failed, where it asked for a receipt."""
        if message.kind == "letter" and message.receipt:
            # Whoever asked may be gone, or may have left too many answers unread.
            with contextlib.suppress(GatewayError):
                self.send_back(message, error)

    def send_back(self, message: Message, error: GatewayError) -> None:
        """Tell the sender of ``message`` why it failed, now, or as soon as there is room.

        Its reader may be slow, descriptors or memory may be short: nobody waits for that. Where a
        receipt was asked for it is in its reader's book until then. Raises as `answer` does.
        """
        bounce = bounce_of(message, self.new_id(), self.clock.time(), error)
        waits = False
        try:
            target = self._who_asked(bounce)
            if isinstance(target, Outlet):
                if message.receipt:
                    self._receipts.note(message)
                packed, waits = encode(bounce), True
                self._pump.send(target, bounce, packed)
            else:
                target.deliver(bounce, 0.0)
        finally:
            # Otherwise the pump tells when.
            if not waits:
                self._bounce_left(bounce)

    def _bounce_left(self, bounce: Message) -> None:
        """Strike out the letter of which ``bounce`` tells, where it was noted here."""
        if bounce.in_reply_to is not None:
            self._receipts.strike(bounce.in_reply_to)

    def publish(self, message: Message) -> None:
        """Hand a publication to every subscriber; a full one drops its oldest."""
        topic = message.subject
        subscribers = self._subscribers
        audience = subscribers.get(topic)
        if audience is None:
            audience = self._audience_of(topic)
            if len(subscribers) < CACHED:
                subscribers[topic] = audience
        if message.retain or not audience.spools:
            self._hand_out(message, audience.everybody)
        else:
            self._hand_out(message, audience.others)
            for name, writer in audience.spools.items():
                self._write_down(name, writer, message)

    def _audience_of(self, topic: str) -> _Audience:
        book, spools = self.book, {}
        for name, terms in book.spools(topic).items():
            synced = any(matches(pattern, topic) for pattern in terms.always)
            spools[name] = self._writer_for(name, terms, synced)
        names = [name for name in book.subscribers(topic) if name in book.incarnations]
        targets = {name: self._target_for(name, book.incarnations[name]) for name in names}
        others = [target for name, target in targets.items() if name not in spools]
        return _Audience(list(targets.values()), others, spools)

    def _writer_for(self, name: str, terms: SpoolTerms, synced: bool) -> SpoolWriter:
        with self._spool_lock:
            writer = self._spools.get((name, synced))
            if writer is None:
                writer = SpoolWriter(self.spool_folder(name), terms, synced=synced)
                if self._is_shut:
                    # Whoever still publishes is told, letter by letter.
                    writer.close()
                self._spools[name, synced] = writer
        return writer

    def _write_down(self, name: str, writer: SpoolWriter, message: Message) -> None:
        """Write a publication into the file of a subscriber; count it where that fails."""
        try:
            writer.append(message)
        except GatewayError as error:
            if not self._unwritten[name]:
                log.error("publications for %s are lost: %s", name, error)
            self._unwritten[name] += 1

    def spool_folder(self, name: str) -> Path:
        """Return where letters wait for the durable mailbox ``name``."""
        return self._folder.path / "spool" / quote(name, safe="@")

    def publish_to(self, name: str, message: Message) -> None:
        """Hand a publication to one subscriber."""
        incarnation = self.book.incarnations.get(name)
        if incarnation is not None:
            self._hand_out(message, [self._target_for(name, incarnation)])

    def _hand_out(self, message: Message, targets: list[Mailbox | Outlet]) -> None:
        packed: bytes | None = None
        for target in targets:
            if isinstance(target, Mailbox):
                own = message
                if len(targets) > 1 and type(message.body) not in PLAIN:
                    # To each a copy: nothing is shared between threads.
                    own = replace(message, body=checked(message.body)[0])
                try:
                    target.deliver(own)
                except RecipientGoneError:
                    continue
            else:
                packed = encode(message) if packed is None else packed
                self._pump.send(target, message, packed)

    def statistics(self) -> dict[str, Any]:
        """Return how many mailboxes and outlets there are, and which publications were lost.

        ``publications_dropped`` counts them by subscriber: what a mailbox of
        this OS process dropped, and what was dropped here before it left for
        another one. ``unwritten`` counts those that could not be written into a file.
        """
        dropped = self._pump.dropped_by.copy()
        for name, box in list(self._boxes.items()):
            dropped[name] += box.publications_dropped
        return {
            "mailboxes": len(self._boxes),
            "outlets": len(self._outlets),
            "publications_dropped": {name: lost for name, lost in dropped.items() if lost},
            "dropped_at_sender": self._pump.dropped,
            "unwritten": dict(self._unwritten),
        }
