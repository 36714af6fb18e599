"""Copies of the mail for whoever watches it, as ``gateway tail`` does.

A `Tap` stands in the book (under `NOTICE`), and with it reaches every OS
process. `follow` turns an office into a `TappedOffice` for as long as there
is one, and back: an office that nobody watches is a plain one, and its mail
passes not one branch more than if there were no taps.

Each OS process sends its copies straight to the tap's mailbox, as publications:
nobody waits, a slow reader loses the oldest. The copies are numbered, so that
the reader knows how many it has missed, wherever they were lost. What they
hold is bounded (`gateway.mail.abridged`); bodies are shown, secrets included.

Not shown: control mail, the copies themselves, in which form ever they are
published again, and the lines of the log.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate
from threading import Lock
from typing import Any, cast

import msgspec

from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.bus.pump import Pump
from gateway.bus.wire import Outlet
from gateway.errors import GatewayError
from gateway.mail.abridged import abridged, as_unicode
from gateway.mail.codec import encode
from gateway.mail.message import BULK, Message

NOTICE = "taps"
"""Under what the book carries the taps, by their ids."""

UNSHOWN = ("tail/", "log/")
"""With what the topics begin that are not copied: they would be copied again, for ever."""

KINDS = ("letter", "reply", "bounce", "publication")
"""What can be watched."""


class Tap(msgspec.Struct, frozen=True):
    """What is to be copied to ``mailbox``: globs for headers, and ``kinds``, all where empty.

    A publication has no recipient, and its subject is its topic.
    """

    mailbox: str
    sender: str = "*"
    recipient: str = "*"
    subject: str = "*"
    kinds: tuple[str, ...] = ()


def follow(office: Office) -> None:
    """Tap the mail of ``office``, or no longer, as its newest book says; after each update."""
    book = office.book
    found = book.notices.get(NOTICE)
    noticed = {} if found is None else msgspec.convert(found, dict[str, Tap])
    taps = {id: tap for id, tap in noticed.items() if tap.mailbox in book.incarnations}
    if isinstance(office, TappedOffice):
        office.tapping.set(taps)
        if not taps:
            office.tapping.stop()
            # Back to what it was: nothing of the tap is left on the way of the mail.
            cast(Office, office).__class__ = Office
    elif taps:
        # Set before the class is, so that no thread finds a tapped office without one.
        office.__dict__["tapping"] = tapping = Tapping(office)
        tapping.set(taps)
        office.__class__ = TappedOffice


class TappedOffice(Office):
    """An office that copies what it delivers; made by `follow` alone."""

    tapping: Tapping

    def target(self, recipient: str) -> Mailbox | Outlet:
        """Return what copies a letter and then delivers it."""
        return cast(Mailbox, Tapped(super().target(recipient), self.tapping))

    def publish(self, message: Message) -> None:
        """Copy a publication and hand it out."""
        self.tapping.copy(message)
        super().publish(message)

    def shut(self) -> None:
        """Close everything that is open here."""
        self.tapping.stop()
        super().shut()


class Tapped:
    """Stands before the mailbox or outlet ``bare``."""

    __slots__ = ("_tapping", "bare", "incarnation")

    def __init__(self, bare: Mailbox | Outlet, tapping: Tapping) -> None:
        self.bare = bare
        self.incarnation = bare.incarnation
        self._tapping = tapping

    def deliver(self, message: Message, timeout: float = 5.0) -> None:
        """Copy ``message`` and deliver it; where that fails, copy that too."""
        # Before, so that a letter is always shown before its answer.
        self._tapping.copy(message)
        try:
            self.bare.deliver(message, timeout)
        except GatewayError as error:
            self._tapping.copy(message, error)
            raise

    def show(self, message: Message) -> None:
        """Copy ``message``, and leave it to others to deliver it."""
        self._tapping.copy(message)


def bare(target: Mailbox | Outlet | Tapped) -> Mailbox | Outlet:
    """Return the mailbox or outlet itself, for who wants more of it than to deliver."""
    return target.bare if isinstance(target, Tapped) else target


def show(target: Mailbox | Outlet | Tapped, message: Message) -> None:
    """Copy ``message`` where ``target`` would, for who then sends it in another way."""
    if isinstance(target, Tapped):
        target.show(message)


class Tapping:
    """The taps of one office. Thread-safe; raises nothing and waits for nobody."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._lock = Lock()
        # Its own, so that copies never stand before publications.
        self._pump = Pump()
        self._taps: dict[str, _Numbered] = {}

    def set(self, taps: dict[str, Tap]) -> None:
        """Copy for ``taps`` from now on; those that are known go on counting."""
        with self._lock:
            known = self._taps
            self._taps = {
                id: known[id] if id in known and known[id].tap == tap else _Numbered(id, tap)
                for id, tap in taps.items()
            }

    def stop(self) -> None:
        """Drop the copies that wait; waits for nothing, since a reader of mail calls it."""
        self._pump.stop(0.0)

    def copy(self, message: Message, error: GatewayError | None = None) -> None:
        """Send a copy to every tap that wants one."""
        if message.kind == "control":
            return
        if message.kind == "publication" and message.subject.startswith(UNSHOWN):
            return
        content: dict[str, Any] | None = None
        for tap in list(self._taps.values()):
            if tap.wants(message):
                content = content or _content(message, error)
                self._send(tap, content)

    def _send(self, tap: _Numbered, content: dict[str, Any]) -> None:
        office, mailbox = self._office, tap.tap.mailbox
        incarnation = office.book.incarnations.get(mailbox)
        if incarnation is None:
            return
        message_id = office.new_id()
        # Numbered and sent in one go, or two threads would put them out of order.
        with self._lock:
            tap.count += 1
            copy = Message(
                message_id,
                message_id,
                tap.count,
                content["time"],
                "",
                mailbox,
                tap.id,
                content,
                BULK,
                kind="publication",
            )
            target = office._target_for(mailbox, incarnation)
            try:
                if isinstance(target, Mailbox):
                    target.deliver(copy)
                else:
                    self._pump.send(target, copy, encode(copy))
            except (GatewayError, OSError):
                # Its reader is gone, or cannot be reached: the number says that one is missing.
                return


class _Numbered:
    """A tap, and how many copies were made for it here."""

    def __init__(self, id: str, tap: Tap) -> None:
        self.id = id
        self.tap = tap
        self.count = 0
        self._kinds = frozenset(tap.kinds or KINDS)
        self._sender = _glob(tap.sender)
        self._recipient = _glob(tap.recipient)
        self._subject = _glob(tap.subject)

    def wants(self, message: Message) -> bool:
        return bool(
            message.kind in self._kinds
            and (self._sender is None or self._sender(message.sender))
            and (self._recipient is None or self._recipient(message.recipient))
            and (self._subject is None or self._subject(message.subject))
        )


def _glob(pattern: str) -> Callable[[str], re.Match[str] | None] | None:
    return None if pattern == "*" else re.compile(translate(pattern)).match


def _content(message: Message, error: GatewayError | None) -> dict[str, Any]:
    body, is_cut = abridged(message.body)
    content = {
        "kind": message.kind,
        "time": message.time,
        "sender": as_unicode(message.sender),
        "recipient": as_unicode(message.recipient),
        "subject": as_unicode(message.subject[:1024]),
        "message_id": message.message_id,
        "thread_id": message.thread_id,
        "thread_index": message.thread_index,
        "body": body,
    }
    if is_cut:
        content["cut"] = True
    if message.in_reply_to is not None:
        content["in_reply_to"] = message.in_reply_to
    if message.route:
        content["route"] = message.route
    if error is not None:
        content["error"] = {"code": error.code, "reason": as_unicode(str(error)[:1024])}
    return content
