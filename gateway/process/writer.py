"""Whoever has a mailbox, and writes: letters, answers, and what sends letters back.

Everything here may be called from any thread.

Refused: bodies that no letter can carry (`BodyError`), and `wait_for_reply`
without a deadline.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from gateway.bus.known import Known
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.errors import (
    AddressError,
    BodyError,
    GatewayError,
    RecipientGoneError,
    RefusedError,
)
from gateway.mail.body import PLAIN, check_flag, checked, unicode
from gateway.mail.codec import encode
from gateway.mail.message import BULK, NORMAL, URGENT, Message, is_solicited, reply_to
from gateway.timeout import FAR, MOST, USUAL, in_seconds

log = logging.getLogger(__name__)

HEADERS = 60_000
"""Bytes of UTF-8 that the subject and the headers of a letter may have; a datagram holds them."""


class Writer:
    """One mailbox and the mail that goes out of it.

    ``route`` is written on every letter, where a router speaks for what is
    outside.
    """

    def __init__(self, name: str, office: Office, mailbox: Mailbox, route: str = "") -> None:
        self.name = name
        self._office = office
        self._deliver_answer: Callable[[Message], None] = office.answer
        self._box = mailbox
        self._clock = office.clock
        self._time = office.clock.time
        self._monotonic = office.clock.monotonic
        self._route = route
        # The subject that was found sound last.
        self._subject = ""
        self._mail_counts = {"unhandled": 0, "refused": 0}
        self._counting = threading.Lock()
        # Whose mailbox it is, or before it.
        self._member = name.rpartition("@")[2]
        # Several callbacks may refuse one letter.
        self._bounced = Known()
        # Those that the boss may count as bounced: from then on it alone does.
        self._handed_on = Known()
        self._bounces_for_others = False
        """Whether it takes letters to whom the bus knows no mailbox, and may send them back."""

    @property
    def office(self) -> Office:
        """The post office of this OS process."""
        return self._office

    def send(
        self,
        recipient: str,
        subject: str,
        body: Any = None,
        *,
        priority: int = NORMAL,
        expires_in: float | None = None,
        timeout: float = USUAL,
        receipt: bool = False,
        thread: Message | None = None,
        headers: dict[str, str] | None = None,
        awaited: bool = False,
    ) -> Message:
        """Deliver a letter and return it.

        ``expires_in`` is in seconds from now, at least 0. ``timeout`` says how long to
        wait, in seconds, before a full mailbox raises `MailboxFullError`. Less than 0 is 0, more
        than 2,000,000 (23 days) is that; what is no number is a `TypeError`, inf or nan a
        `ValueError`, here as in `wait_for_reply`.
        ``receipt`` asks for a bounce should the letter fail later. ``thread``
        continues an earlier letter's thread. One that is ``awaited`` has its
        reply kept for `wait_for_reply`, which has to follow, whoever reads the
        mail meanwhile. Raises `AddressError`, `RecipientGoneError`, `BodyError` and
        `ShortageError` besides.

        >>> from gateway.testing.stage import Echo, play
        >>> def scene(main):
        ...     letter = main.send("echo", "say", {"words": 2})
        ...     return letter.recipient, letter.thread_index
        >>> play(scene, echo=Echo)
        ('echo', 1)
        """
        office, time = self._office, self._time
        # Mostly nobody has said how long.
        if timeout is not USUAL and (type(timeout) is not float or not 0.0 <= timeout <= MOST):
            timeout = in_seconds(timeout)
        if type(recipient) is not str:
            raise AddressError(f"an address is text (a plain str), not {recipient!r}")
        if receipt is not False:
            check_flag(receipt, "receipt")
        if expires_in is not None:
            expires_in = in_seconds(expires_in, "expires_in", FAR)
        if thread is not None and type(thread) is not Message:
            raise TypeError(f"a thread is continued by a letter of it, not {thread!r}")
        target = office.target(recipient)
        # Mostly it is the one of before, or a constant.
        if (
            subject is not self._subject
            or headers is not None
            or (
                priority is not NORMAL
                and (type(priority) is not int or not URGENT <= priority <= BULK)
            )
        ):
            _check_headers(subject, priority, headers)
            self._subject = subject
        body_type = ""
        kind = type(body)
        if kind not in PLAIN or (kind is str and not body.isascii()):
            body, body_type = checked(body)
        thread_id = message_id = office.new_id()
        thread_index = 1
        if thread is not None:
            thread_id, thread_index = thread.thread_id, thread.thread_index + 1
        message = Message(
            message_id,
            thread_id,
            thread_index,
            time(),
            self.name,
            recipient,
            subject,
            body,
            priority,
            self._monotonic() + expires_in if expires_in is not None else None,
            None,
            "letter",
            target.incarnation,
            self._box.incarnation,
            receipt,
            False,
            self._route,
            body_type,
            headers,
        )
        if awaited:
            self._box.expect(message)
        try:
            try:
                target.deliver(message, timeout)
            except RecipientGoneError:
                # It may have been started anew meanwhile.
                target = self._office.look_up_again(recipient)
                if target.incarnation == message.incarnation:
                    raise
                message = replace(message, incarnation=target.incarnation)
                # By its own time, which may be set meanwhile, and costs no look at another clock.
                gone_by = min(timeout, max(0.0, time() - message.time))
                target.deliver(message, timeout - gone_by)
        except BaseException:
            self._box.expect_no_more(message)
            raise
        return message

    def send_control(self, recipient: str, subject: str, body: Any = None) -> None:
        """Deliver control mail, which is obeyed as soon as it is read, whoever reads it.

        Of another process of this gateway, and of nobody behind a router. Raises
        `AddressError`, `RecipientGoneError` and `BodyError`.
        """
        office = self._office
        target = office.target(recipient)
        id = office.new_id()
        body, body_type = checked(body)
        message = Message(
            id,
            id,
            1,
            self._clock.time(),
            self.name,
            recipient,
            subject,
            body,
            kind="control",
            incarnation=target.incarnation,
            sender_incarnation=self._box.incarnation,
            route=self._route,
            body_type=body_type,
        )
        target.deliver(message, 0.0)

    def reply(self, message: Message, body: Any = None, *, subject: str = "") -> Message:
        """Answer ``message`` in its thread and return the answer.

        Raises `RecipientGoneError` where whoever asked is gone, and
        `BodyError`, which bounces if a callback lets it rise.

        >>> from gateway.testing.stage import Echo, play
        >>> def scene(main):
        ...     first = main.wait_for_reply(main.send("echo", "say", "hello"))
        ...     second = main.wait_for_reply(main.send("echo", "say", "again", thread=first))
        ...     return first.thread_index, second.thread_index
        >>> play(scene, echo=Echo)
        (2, 4)
        """
        if subject:
            _check_headers(subject, NORMAL, None)
        body_type = ""
        kind = type(body)
        if kind not in PLAIN or (kind is str and not body.isascii()):
            body, body_type = checked(body)
        time, deliver = self._time, self._deliver_answer
        answer = reply_to(message, self._office.new_id(), time(), body, "reply", subject, body_type)
        deliver(answer)
        return answer

    def bounce(self, message: Message, error: GatewayError) -> None:
        """Tell the sender of ``message`` that it failed; one that is gone is not told."""
        with self._counting:
            self._mail_counts["refused"] += 1
        self._count_as_bounced(message)
        if message.kind not in ("letter", "control") or not is_solicited(message):
            # Nobody is told of it, now or later.
            self._box.receipts.strike(message.message_id)
            return
        try:
            # Whoever reads no answers holds up nobody here.
            self._office.send_back(message, error)
        except GatewayError as failure:
            log.debug("%s could not bounce to %s: %s", self.name, message.sender, failure)

    def _count_as_bounced(self, message: Message) -> None:
        """Have the ledger say so, once, of a letter that this process was handed."""
        if not self._is_counted_here(message):
            return
        id = message.message_id
        with self._counting:
            if not self._bounced.note(id):
                return
            is_handed_on = id in self._handed_on
        if is_handed_on:
            with contextlib.suppress(GatewayError):
                self._tell_boss("sent-back", id)
                return
        self._box.turn_away()

    def _hand_to_fork(self, function: str, message: Message) -> None:
        """Have the boss call ``function`` with ``message`` in a forked process."""
        if not self._office.can_fork:
            raise RefusedError("a simulation forks nothing: run it in a thread")
        id = message.message_id
        with self._counting:
            is_counted = id in self._bounced or not self._is_counted_here(message)
            if not is_counted:
                self._handed_on.note(id)
        order = {"function": function, "letter": encode(message), "is_counted": is_counted}
        self._tell_boss("run", order)

    def _is_counted_here(self, message: Message) -> bool:
        """Tell whether the ledger of this process is to say what became of ``message``."""
        is_ours = self._bounces_for_others or self._is_for_us(message)
        return message.kind == "letter" and is_ours

    def _is_for_us(self, message: Message) -> bool:
        """Tell whether ``message`` is for this mailbox or what is behind it, as not all mail is."""
        return message.recipient.rpartition("@")[2] == self._member

    def wait_for_reply(self, message: Message, timeout: float = USUAL) -> Message:
        """Return the reply to ``message``, handed over directly; other mail keeps its order.

        Works on any thread and inside a callback. Raises `CallTimeoutError`
        after ``timeout`` seconds, `RecipientGoneError` as soon as the
        recipient dies, and the error of a bounce: `UnknownApiError` where nobody there takes
        it. A letter that is taken and not answered, or that a life which does not return
        leaves unread, is waited for until then. Who waits for an answer of
        its own, on the thread that reads its mail, waits in vain.

        >>> from gateway.testing.stage import Echo, play
        >>> def scene(main):
        ...     return main.wait_for_reply(main.send("echo", "say", "hello"), timeout=2.0).body
        >>> play(scene, echo=Echo)
        'hello'
        """
        return self._box.wait_for(message, timeout)

    def _tell_boss(self, subject: str, body: Any) -> Message:
        return self._office.tell_boss(self._box, subject, body)

    def _inform_boss(self, subject: str, body: Any) -> None:
        """Tell the boss what wants no answer. One that is gone is told nothing.

        It takes everybody along, and who dies after it dies in order.
        """
        with contextlib.suppress(RecipientGoneError):
            self._tell_boss(subject, body)


def _check_headers(subject: str, priority: int, headers: dict[str, str] | None) -> None:
    """Raise `BodyError` for what a reader in another OS process could not be sent, or read."""
    if type(subject) is not str:
        raise BodyError(f"a subject is text, not {subject!r}")
    if type(priority) is not int:
        raise BodyError(f"a priority is a whole number, not {priority!r}")
    if not isinstance(headers, dict | None):
        raise BodyError(f"headers are a dict of text by name, not a {type(headers).__name__}")
    if not URGENT <= priority <= BULK:
        raise BodyError(f"a priority is {URGENT} (urgent), {NORMAL} or {BULK}, not {priority}")
    size = len(unicode(subject, "the subject").encode())
    for name, value in (headers or {}).items():
        if type(name) is not str or type(value) is not str:
            raise BodyError(f"the header {name!r} is text, not {value!r}")
        size += len(unicode(name, "a header's name").encode())
        size += len(unicode(value, f"the header {name[:80]!r}").encode())
    if size > HEADERS:
        raise BodyError(
            f"the subject and the headers have {size:,} bytes; {HEADERS:,} is the most:"
            " what is long belongs into the body"
        )
