"""A worker with a birth, a life and a death, who writes letters.

Subclass `Process` and write `birth` (once), `life` (each frame, at
`frequency`) and `death` (once, whatever happened). Mail is handled between
frames, as it comes, by the callbacks that `add_filter`, `subscribe` and
`register_callbacks` name. All of it runs on one thread; `send`, `publish` and
`wait_for_reply` may be called from any other.

An exception from a callback: a `GatewayError` bounces to the sender and is
counted; anything else is a bug, of which the process dies.

Refused: to be made by hand (an `Application` makes processes), bodies that no
letter can carry (`BodyError`), `wait_for_reply` without a deadline.
"""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec.structs import replace

from gateway.bus.mailbox import Mailbox
from gateway.errors import BodyError, GatewayError, RecipientGoneError, RefusedError
from gateway.mail.body import PLAIN, checked
from gateway.mail.codec import decode, encode
from gateway.mail.filters import Callback, FilterTable, FilterView
from gateway.mail.message import NORMAL, Message, bounce_of, reply_to
from gateway.mail.topic import check_pattern, check_topic
from gateway.process.callbacks import DEVICE_EVENTS, Callbacks, Event, EventCallback
from gateway.process.context import Context, RunLevel
from gateway.process.subscription import Subscription
from gateway.process.threads import ChildThreads
from gateway.process.timing import Frames
from gateway.process.wakeup import Wakeup

log = logging.getLogger(__name__)

STATISTICS = "$statistics"
"""The subject to which every process answers with its `statistics`."""


class Process:
    """One worker of an application; see the module's head."""

    def __init__(self, context: Context) -> None:
        self.name = context.name
        self.run_level: RunLevel = "unborn"
        self._context = context
        self._office = context.office
        self._box = context.mailbox
        self._clock = context.office.clock
        self._frames = Frames(context.frequency, self._clock.monotonic())
        self._filters = FilterTable()
        self._callbacks = Callbacks()
        self._subscriptions: list[Subscription] = []
        self._sequence: dict[str, int] = {}
        self._sequence_lock = threading.Lock()
        self._ending = Wakeup()
        self._child_error: BaseException | None = None
        self._child_threads = ChildThreads(self.name, self._child_failed)
        self._mail_counts = {"unhandled": 0, "refused": 0}

    # To be written by authors

    def birth(self) -> None:
        """Get ready: open what is needed, add filters. The mailbox is open already."""

    def life(self) -> None:
        """Do the work of one frame, and return."""

    def death(self) -> None:
        """Put things back; runs whatever happened, unless the OS process is killed."""

    # Mail

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
    ) -> Message:
        """Deliver a letter and return it.

        ``expires_in`` is in seconds from now. ``timeout`` says how long to
        wait, in seconds, before a full mailbox raises `MailboxFullError`.
        ``receipt`` asks for a bounce should the letter fail later. ``thread``
        continues an earlier letter's thread. Raises `AddressError`,
        `RecipientGoneError` and `BodyError` besides.
        """
        office = self._office
        target = office.target(recipient)
        if type(subject) is not str or type(priority) is not int or headers is not None:
            _check_headers(subject, priority, headers)
        body_type = ""
        if type(body) not in PLAIN:
            body, body_type = checked(body)
        message_id = office.new_id()
        now = self._clock.time()
        message = Message(
            message_id,
            thread.thread_id if thread else message_id,
            thread.thread_index + 1 if thread else 1,
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
            self._context.route,
            body_type,
            headers,
        )
        try:
            target.deliver(message, timeout)
        except RecipientGoneError as error:
            return self._send_again(message, timeout, error)
        return message

    def _send_again(self, message: Message, timeout: float, error: RecipientGoneError) -> Message:
        """Look the recipient up once more: it may have been restarted meanwhile."""
        target = self._office.look_up_again(message.recipient)
        if target.incarnation == message.incarnation:
            raise error
        message = replace(message, incarnation=target.incarnation)
        target.deliver(message, timeout)
        return message

    def reply(self, message: Message, body: Any = None, *, subject: str = "") -> Message:
        """Answer ``message`` in its thread and return the answer.

        Raises `RecipientGoneError` where whoever asked is gone.
        """
        body_type = ""
        if type(body) not in PLAIN:
            body, body_type = checked(body)
        office = self._office
        answer = reply_to(
            message, office.new_id(), self._clock.time(), body, "reply", subject, body_type
        )
        office.answer(answer)
        return answer

    def bounce(self, message: Message, error: GatewayError) -> None:
        """Tell the sender of ``message`` that it failed; one that is gone is not told."""
        self._mail_counts["refused"] += 1
        if message.kind not in ("letter", "control"):
            return
        try:
            self._office.answer(
                bounce_of(message, self._office.new_id(), self._clock.time(), error)
            )
        except GatewayError as failure:
            log.debug("%s could not bounce to %s: %s", self.name, message.sender, failure)

    def open_mailbox(self, local: str, *, size: int = 64, timeout: float = 5.0) -> Mailbox:
        """Open a mailbox of its own for ``local@<this process>`` and return it.

        For what lives behind a router and is served by a thread of its own,
        which reads it. It ends with this process; until `close_mailbox` or
        then, its mail comes here and no longer to the filters.
        """
        name = f"{local}@{self.name}"
        office = self._office
        box = office.open(
            name, self._box.incarnation, office.bind(name, self._box.incarnation), size=size
        )
        self._box.wait_for(self._tell_boss("open", name), timeout)
        return box

    def close_mailbox(self, box: Mailbox) -> None:
        """Close a mailbox that `open_mailbox` opened."""
        self._tell_boss("close", box.name)
        self._office.close(box)

    def wait_for_reply(self, message: Message, timeout: float = 5.0) -> Message:
        """Return the reply to ``message``, handed over directly; other mail keeps its order.

        Works on any thread and inside a callback. Raises `CallTimeoutError`
        after ``timeout`` seconds, `RecipientGoneError` as soon as the
        recipient dies, and the error of a bounce.
        """
        return self._box.wait_for(message, timeout)

    def mailman(self, timeout: float = 0.0) -> int:
        """Handle the mail that is here and return how many letters.

        For the first it waits up to ``timeout`` seconds.
        """
        handled = 0
        while (message := self._box.get(timeout if not handled else 0.0)) is not None:
            self._handle(message)
            handled += 1
        return handled

    def add_filter(
        self,
        *,
        callback: Callback,
        id: str = "",
        fallthrough: bool = False,
        description: str = "",
        **patterns: str,
    ) -> str:
        """Call ``callback`` with each letter whose headers match; return the filter's id.

        ``patterns`` are regular expressions by header name; all must be found
        (``subject=r"(?i)^stop$"``). A ``fallthrough`` filter takes what no
        other took.
        """
        return self._filters.add(
            callback, id=id, fallthrough=fallthrough, description=description, **patterns
        )

    def remove_filters(self, *ids: str) -> int:
        """Remove filters by id; return how many were there."""
        return self._filters.remove(*ids)

    def list_filters(self) -> list[FilterView]:
        """Return the filters, in the order in which they are tried."""
        return list(self._filters)

    # Topics

    def publish(self, topic: str, body: Any = None, *, retain: bool = False) -> None:
        """Hand ``body`` to whoever subscribed to ``topic``; never waits for a slow one.

        With ``retain`` the boss keeps it for those who subscribe later.
        """
        body, body_type = checked(body)
        with self._sequence_lock:
            if topic not in self._sequence:
                check_topic(topic)
            sequence = self._sequence[topic] = self._sequence.get(topic, 0) + 1
        office = self._office
        message_id = office.new_id()
        message = Message(
            message_id,
            message_id,
            sequence,
            self._clock.time(),
            self.name,
            "",
            topic,
            body,
            NORMAL,
            None,
            None,
            "publication",
            0,
            self._box.incarnation,
            False,
            retain,
            self._context.route,
            body_type,
        )
        version = office.book.version
        office.publish(message)
        if retain:
            self._tell_boss("retain", {"version": version, "message": encode(message)})

    def subscribe(self, pattern: str, callback: Callback, *, timeout: float = 5.0) -> None:
        """Call ``callback`` with each publication under ``pattern`` (MQTT's ``+`` and ``#``).

        Returns once the subscription stands; what is retained under the
        pattern has been handed to ``callback`` by then.
        """
        check_pattern(pattern)
        subscription = Subscription(pattern, callback)
        self._subscriptions.append(subscription)
        asked = self._tell_boss("subscribe", pattern)
        snapshot = self._box.wait_for(asked, timeout).body
        for packed in snapshot:
            subscription.offer(decode(packed))

    def declare_will(self, topic: str, body: Any) -> None:
        """Have ``body`` published, retained, on ``topic`` should this process die.

        A ``since`` in a dict body is set to the time of death, in seconds
        since 1970.
        """
        check_topic(topic)
        self._tell_boss("will", {"topic": topic, "body": checked(body)[0]})

    def _tell_boss(self, subject: str, body: Any) -> Message:
        return self._office.tell_boss(self._box, subject, body)

    # Events

    def register_callbacks(self, device: str = "", **callbacks: EventCallback) -> None:
        """Name who is called for events.

        With ``device`` (a name, or ``+`` for all) these are the five that
        devices raise; without, events of this process's own, raised by
        `callback_event`.
        """
        for event, callback in callbacks.items():
            if device and event not in DEVICE_EVENTS:
                raise ValueError(f"no device raises {event!r}: use {', '.join(DEVICE_EVENTS)}")
            # One table a subscription: what two of them take is not fired twice.
            table = Callbacks() if device else self._callbacks
            table.register(device, event, callback)
            if device:
                raised = partial(_device_event, table)
                self.subscribe(f"devices/{device}/events/{event}", raised)

    def callback_event(self, event: str, **details: Any) -> int:
        """Call who registered for ``event``; return how many that were."""
        return self._callbacks.fire(Event(event, "", details))

    # Time

    @property
    def frequency(self) -> float:
        """Frames a second, in hertz; 0 where `life` never runs."""
        return self._frames.frequency

    @frequency.setter
    def frequency(self, frequency: float | None) -> None:
        self._frames.set_frequency(frequency, self._clock.monotonic())
        self._box.wake()

    @property
    def current_frame(self) -> int:
        """Frames that have begun."""
        return self._frames.number

    def light_sleep(self, seconds: float) -> bool:
        """Sleep, but wake at once when the process is to end; tell whether it goes on."""
        return not self._ending.wait(seconds)

    # Ending

    @property
    def is_active(self) -> bool:
        """Whether the process is to go on."""
        return not self._ending.is_set

    def die(self) -> None:
        """End soon: `life` is not called again, then comes `death`. Safe in a signal handler."""
        self._ending.set()
        self._box.wake()

    def ebrake(self, reason: str) -> None:
        """Stop the whole application at once, as failed, and say why."""
        log.critical("%s pulled the emergency brake: %s", self.name, reason)
        self._tell_boss("ebrake", reason)

    # Child threads

    def launch_threads(self) -> list[str]:
        """Start every method called ``_thread_*`` as a child thread; return their names."""
        names = [name for name in dir(type(self)) if name.startswith("_thread_")]
        for name in names:
            self.add_child_thread(name.removeprefix("_thread_"), getattr(self, name))
        return names

    def add_child_thread(self, name: str, target: Callable[[], object]) -> None:
        """Start ``target`` on a thread that this process owns and dies with."""
        self._child_threads.start(name, target)

    def child_threads_alive(self) -> list[str]:
        """Return the names of the child threads that run."""
        return self._child_threads.alive()

    def join_child_threads(self, timeout: float = 2.0) -> list[str]:
        """Wait for the child threads; return the names of those that still run."""
        return self._child_threads.join(timeout)

    def child_thread_janitor(self) -> int:
        """Forget the child threads that have ended; return how many."""
        return self._child_threads.clear_ended()

    def _child_failed(self, error: BaseException) -> None:
        self._child_error = error
        self._box.wake()

    # Descriptors

    def watch(self, fd: int, callback: Callable[[int], None], events: int = select.EPOLLIN) -> None:
        """Call ``callback(events)`` on this process's thread whenever ``fd`` is ready."""
        self._box.watch(fd, callback, events)

    def unwatch(self, fd: int) -> None:
        """Watch ``fd`` no longer; do so before it is closed."""
        self._box.unwatch(fd)

    # Information

    @property
    def application(self) -> Any:
        """The application, as it was when this OS process was made."""
        return self._context.application

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What was handed to `add_process` as ``parameters``."""
        return self._context.parameters

    def parameter(self, name: str, default: Any = None) -> Any:
        """Return one of `parameters`."""
        return self._context.parameters.get(name, default)

    def recipients(self) -> list[str]:
        """Return who has a mailbox on this machine."""
        return sorted(self._office.book.incarnations)

    def statistics(self) -> dict[str, Any]:
        """Return the counts that `gateway ps` shows."""
        return {
            "run_level": self.run_level,
            "frames": self._frames.number,
            "frames_missed": self._frames.missed,
            "threads": self._child_threads.alive(),
            **self._mail_counts,
            "mail": self._box.statistics()._asdict(),
            **self._office.statistics(),
        }

    # Handling

    def _handle(self, message: Message) -> None:
        if message.kind == "publication":
            for subscription in self._subscriptions:
                subscription.offer(message)
            return
        found = self._filters.matching(message)
        if not found:
            self._unmatched(message)
        for known in found:
            try:
                known.callback(message)
            except GatewayError as error:
                log.info(
                    "%s refused %r of %s: %s", self.name, message.subject, message.sender, error
                )
                self.bounce(message, error)

    def _unmatched(self, message: Message) -> None:
        if message.subject == STATISTICS and message.kind == "letter":
            self.reply(message, self.statistics())
            return
        self._mail_counts["unhandled"] += 1
        if message.receipt:
            self.bounce(
                message, RefusedError(f"{self.name!r} has no filter for {message.subject!r}")
            )


def _check_headers(subject: str, priority: int, headers: dict[str, str] | None) -> None:
    """Raise `BodyError` for what a reader in another OS process would throw away as garbage."""
    if type(subject) is not str:
        raise BodyError(f"a subject is text, not {subject!r}")
    if type(priority) is not int:
        raise BodyError(f"a priority is a whole number, not {priority!r}")
    for name, value in (headers or {}).items():
        if type(name) is not str or type(value) is not str:
            raise BodyError(f"the header {name!r} is text, not {value!r}")


def _device_event(table: Callbacks, message: Message) -> None:
    _, device, _, event = message.subject.split("/")
    details = message.body if isinstance(message.body, dict) else {}
    table.fire(Event(event, device, details))
