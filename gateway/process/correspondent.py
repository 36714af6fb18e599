"""Whoever has a mailbox: writes, answers, waits for replies, and handles what comes.

Mail goes to the callbacks that `add_filter` names. An exception from one: a
`GatewayError` bounces to the sender and is counted; anything else is a bug, and
is left to rise.

`send`, `reply` and `wait_for_reply` may be called from any thread;
`mailman` and the callbacks belong to the one that reads.

Refused: bodies that no letter can carry (`BodyError`), and `wait_for_reply`
without a deadline.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec.structs import replace

from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.errors import BodyError, GatewayError, RecipientGoneError, UnknownApiError
from gateway.mail.body import PLAIN, checked
from gateway.mail.filters import Callback, FilterTable, FilterView, Run, in_turn
from gateway.mail.message import NORMAL, Message, bounce_of, is_solicited, reply_to
from gateway.process.agenda import Agenda, Alarm
from gateway.process.subscription import Subscription
from gateway.process.whereabouts import handles_letters

log = logging.getLogger(__name__)

STATISTICS = "$statistics"
"""The subject to which every process answers with its `statistics`."""


class Desk(Protocol):
    """Who answers calls."""

    def take(self, message: Message) -> bool:
        """Answer ``message`` where it is a call of something that is known here; tell whether."""
        ...

    def refusal(self, message: Message) -> GatewayError | None:
        """Return why a letter that nobody took is no call either; None where nothing is served."""
        ...

    def statistics(self) -> dict[str, Any]:
        """Return the counts of the calls."""
        ...

    def close(self) -> None:
        """End what is under way."""
        ...


class Correspondent:
    """One mailbox and the mail that goes in and out of it; see the module's head.

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
        self._route = route
        self._agenda = Agenda()
        self.desk: Desk | None = None
        """Who answers calls here, and sees each letter first; see `gateway.rpc`."""
        self.calls: Any = None
        """The calls that this process has made of others, if any; see `gateway.rpc`."""
        self.services: Any = None
        """What this process knows of services, if anything; see `gateway.services`."""
        self._filters = FilterTable()
        self._subscriptions: tuple[Subscription, ...] = ()
        self._mail_counts = {"unhandled": 0, "refused": 0}
        self._counting = threading.Lock()
        # Whose mailbox it is, or before it.
        self._member = name.rpartition("@")[2]
        # Several callbacks may refuse one letter.
        self._bounced: deque[str] = deque(maxlen=256)
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
        timeout: float = 5.0,
        receipt: bool = False,
        thread: Message | None = None,
        headers: dict[str, str] | None = None,
        awaited: bool = False,
    ) -> Message:
        """Deliver a letter and return it.

        ``expires_in`` is in seconds from now. ``timeout`` says how long to
        wait, in seconds, before a full mailbox raises `MailboxFullError`.
        ``receipt`` asks for a bounce should the letter fail later. ``thread``
        continues an earlier letter's thread. One that is ``awaited`` has its
        reply kept for `wait_for_reply`, which has to follow, whoever reads the
        mail meanwhile. Raises `AddressError`, `RecipientGoneError` and `BodyError` besides.

        >>> from gateway.testing.stage import Echo, play
        >>> def scene(main):
        ...     letter = main.send("echo", "say", {"words": 2})
        ...     return letter.recipient, letter.thread_index
        >>> play(scene, echo=Echo)
        ('echo', 1)
        """
        office = self._office
        target = office.target(recipient)
        if type(subject) is not str or type(priority) is not int or headers is not None:
            _check_headers(subject, priority, headers)
        body_type = ""
        if type(body) not in PLAIN:
            body, body_type = checked(body)
        thread_id = message_id = office.new_id()
        thread_index = 1
        if thread is not None:
            thread_id, thread_index = thread.thread_id, thread.thread_index + 1
        time = self._time
        now = time()
        message = Message(
            message_id,
            thread_id,
            thread_index,
            now,
            self.name,
            recipient,
            subject,
            body,
            priority,
            now + expires_in if expires_in is not None else None,
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
            target.deliver(message, timeout)
        except RecipientGoneError as error:
            return self._send_again(message, timeout, error)
        except BaseException:
            self._box.expect_no_more(message)
            raise
        return message

    def _send_again(self, message: Message, timeout: float, error: RecipientGoneError) -> Message:
        """Look the recipient up once more: it may have been restarted meanwhile."""
        try:
            target = self._office.look_up_again(message.recipient)
            if target.incarnation == message.incarnation:
                raise error
            message = replace(message, incarnation=target.incarnation)
            target.deliver(message, timeout)
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
        body_type = ""
        if type(body) not in PLAIN:
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
            return
        try:
            self._deliver_answer(
                bounce_of(message, self._office.new_id(), self._clock.time(), error)
            )
        except GatewayError as failure:
            log.debug("%s could not bounce to %s: %s", self.name, message.sender, failure)

    def _count_as_bounced(self, message: Message) -> None:
        """Have the ledger say so, once, of a letter that this process was handed."""
        if message.kind != "letter" or not (self._bounces_for_others or self._is_for_us(message)):
            return
        with self._counting:
            if message.message_id in self._bounced:
                return
            self._bounced.append(message.message_id)
        self._box.turn_away()

    def _is_for_us(self, message: Message) -> bool:
        """Tell whether ``message`` is for this mailbox or what is behind it, as not all mail is."""
        return message.recipient.rpartition("@")[2] == self._member

    def wait_for_reply(self, message: Message, timeout: float = 5.0) -> Message:
        """Return the reply to ``message``, handed over directly; other mail keeps its order.

        Works on any thread and inside a callback. Raises `CallTimeoutError`
        after ``timeout`` seconds, `RecipientGoneError` as soon as the
        recipient dies, and the error of a bounce. Who waits for an answer of
        its own, on the thread that reads its mail, waits in vain.

        >>> from gateway.testing.stage import Echo, play
        >>> def scene(main):
        ...     return main.wait_for_reply(main.send("echo", "say", "hello"), timeout=2.0).body
        >>> play(scene, echo=Echo)
        'hello'
        """
        return self._box.wait_for(message, timeout)

    def mailman(self, timeout: float = 0.0) -> int:
        """Handle the mail that is here and return how many letters.

        For the first it waits up to ``timeout`` seconds. A process calls this
        by itself between frames; what calls it is a life that does not return.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.add_filter(callback=lambda letter: print(letter.subject))
        ...     main.send("main", "one")
        ...     main.send("main", "two")
        ...     return main.mailman()
        >>> play(scene)
        one
        two
        2
        """
        handled = 0
        while (
            message := self._box.get(self._until_due(timeout) if not handled else 0.0)
        ) is not None:
            self._handle(message)
            handled += 1
        if self._agenda.is_busy:
            self._do_what_is_due()
        return handled

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call ``callback()`` on this process's thread, between letters; for any thread.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.call_soon(lambda: print("between letters"))
        ...     return main.mailman()
        >>> play(scene)
        between letters
        0
        """
        self._agenda.add_soon(callback)
        self._have_looked_at()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Alarm:
        """Call ``callback()`` on this process's thread in ``seconds``; for any thread.

        What comes back is for `Alarm.cancel`. A life that does not return, and
        calls no `mailman`, is late.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.call_later(0.01, lambda: print("it is time"))
        ...     main.call_later(60, print).cancel()
        ...     return main.mailman(timeout=5.0)
        >>> play(scene)
        it is time
        0
        """
        alarm = self._agenda.add(self._clock.monotonic() + seconds, callback)
        self._have_looked_at()
        return alarm

    def _have_looked_at(self) -> None:
        """Have the reader look at its agenda before it sleeps on."""
        self._box.rouse()

    def _until_due(self, timeout: float) -> float:
        """Return ``timeout`` in seconds, or less where something is due before."""
        if not self._agenda.is_busy:
            return timeout
        left = self._agenda.left(self._clock.monotonic())
        return timeout if left is None else min(timeout, left)

    def _do_what_is_due(self) -> None:
        """Call what `call_soon` and `call_later` left, of what is due now."""
        now = self._clock.monotonic()
        for _ in range(self._agenda.most_due() or 1):
            callback = self._agenda.take(now)
            if callback is None:
                return
            callback()

    def add_filter(
        self,
        *,
        callback: Callback | Sequence[Callback],
        id: str = "",
        run: Run = "here",
        route: str | None = None,
        fallthrough: bool = False,
        description: str = "",
        **patterns: str,
    ) -> str:
        """Call ``callback`` with each letter whose headers match; return the filter's id.

        ``patterns`` are regular expressions by header name; all must be found
        (``subject=r"(?i)^stop$"``). With ``route`` it takes mail that a router
        of that name brought in, and no other; with ``route=""`` mail from
        inside alone. A ``fallthrough`` filter takes what no other took.

        Several callbacks are called in turn; the first that raises ends it.
        They run in place, or with ``run="thread"`` on a thread of this
        process, four at a time while 64 letters wait, or with ``run="fork"``
        each in an OS process that is forked for this letter, and ends with it:
        then they are functions at the top of a module, and what they return,
        unless None, is the reply. What runs elsewhere keeps no order between
        letters. Raises `ValueError` for what cannot stand.

        >>> from gateway import Process
        >>> from gateway.testing.stage import play
        >>> class Arm(Process):
        ...     def birth(self):
        ...         self.add_filter(subject=r"(?i)^stop$", callback=self.on_stop, run="thread")
        ...     def on_stop(self, message):
        ...         self.reply(message, "stopped")
        >>> play(lambda main: main.wait_for_reply(main.send("arm", "STOP")).body, arm=Arm)
        'stopped'
        """
        callbacks = callback if isinstance(callback, Sequence) else [callback]
        if route is not None:
            patterns["route"] = rf"^{re.escape(route)}\Z"
        return self._filters.add(
            self._carried(callbacks, run),
            id=id,
            fallthrough=fallthrough,
            description=description,
            run=run,
            **patterns,
        )

    def _carried(self, callbacks: Sequence[Callback], run: Run) -> Callback:
        """Return what the filter calls: ``callbacks``, or what has them run elsewhere."""
        if run != "here":
            raise ValueError(f"{self.name!r} has no {run} for its callbacks: it is no Process")
        return in_turn(callbacks)

    def remove_filters(self, *ids: str) -> int:
        """Remove filters by id; return how many were there.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.add_filter(callback=print, id="stop", subject="^stop$")
        ...     return main.remove_filters("stop", "nobody")
        >>> play(scene)
        1
        """
        return self._filters.remove(*ids)

    def list_filters(self) -> list[FilterView]:
        """Return the filters, in the order in which they are tried.

        >>> from gateway.testing.stage import play
        >>> def scene(main):
        ...     main.add_filter(callback=print, description="stops", subject="^stop$")
        ...     return [(view.id, view.description, view.hits) for view in main.list_filters()]
        >>> play(scene)
        [('filter-1', 'stops', 0)]
        """
        return list(self._filters)

    def _tell_boss(self, subject: str, body: Any) -> Message:
        return self._office.tell_boss(self._box, subject, body)

    def _inform_boss(self, subject: str, body: Any) -> None:
        """Tell the boss what wants no answer. One that is gone is told nothing.

        It takes everybody along, and who dies after it dies in order.
        """
        with contextlib.suppress(RecipientGoneError):
            self._tell_boss(subject, body)

    def _close_ends(self) -> None:
        """End what is under way: calls that are answered here, and calls of others."""
        for end in (self.desk, self.calls):
            if end is not None:
                end.close()

    # Information

    def statistics(self) -> dict[str, Any]:
        """Return the counts that `gateway ps` shows."""
        calls = {} if self.desk is None else {"calls": self.desk.statistics()}
        return {
            **self._mail_counts,
            **calls,
            "mail": self._box.statistics()._asdict(),
            **self._office.statistics(),
        }

    # Handling

    @handles_letters
    def _handle(self, message: Message) -> None:
        if message.kind == "publication":
            for subscription in self._subscriptions:
                subscription.offer(message)
            return
        if message.subject == STATISTICS and message.kind == "letter" and self._is_for_us(message):
            # Before any filter: who catches everything is to be looked into as well.
            self._call(self._tell_statistics, message)
            return
        if self.desk is not None and message.kind == "letter" and self.desk.take(message):
            return
        found = self._filters.matching(message)
        if not found:
            self._unmatched(message)
        for known in found:
            self._call(known.callback, message)

    def _call(self, callback: Callback, message: Message) -> None:
        try:
            callback(message)
        except GatewayError as error:
            log.info("%s refused %r of %s: %s", self.name, message.subject, message.sender, error)
            self.bounce(message, error)

    def _tell_statistics(self, message: Message) -> None:
        self.reply(message, self.statistics())

    def _unmatched(self, message: Message) -> None:
        self._mail_counts["unhandled"] += 1
        self._count_as_bounced(message)
        if message.receipt:
            refusal = None if self.desk is None else self.desk.refusal(message)
            self.bounce(message, refusal or self._no_filter_for(message))

    def _no_filter_for(self, message: Message) -> GatewayError:
        return UnknownApiError(f"{self.name!r} has no filter for {message.subject!r}")


def _check_headers(subject: str, priority: int, headers: dict[str, str] | None) -> None:
    """Raise `BodyError` for what a reader in another OS process would throw away as garbage."""
    if type(subject) is not str:
        raise BodyError(f"a subject is text, not {subject!r}")
    if type(priority) is not int:
        raise BodyError(f"a priority is a whole number, not {priority!r}")
    for name, value in (headers or {}).items():
        if type(name) is not str or type(value) is not str:
            raise BodyError(f"the header {name!r} is text, not {value!r}")
