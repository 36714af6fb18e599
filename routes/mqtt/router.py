"""The mqtt route: what happens on the bus, told at a broker, and calls from there.

Out: whatever is published under ``devices/`` goes to
``gateway/<node>/devices/…`` as JSON, retained where it was retained on the
bus; a letter to ``some/topic@mqtt`` goes to that topic. What is not retained
waits in the spool for the broker, and for this route should it be killed. In: calls as
`routes.mqtt.commands` describes them, if the access list allows them, to
``<device>@<the route that published its info>``; the answer, the bounce or
the lapse of time goes back to the caller.

The broker is talked to on the session's own thread. What it brings is judged
there; only what may become a letter is handed to the process's thread, over a
bounded queue.

Refused, with an error to the caller and a count: every call that cannot be
carried out. Refused, with a bounce: letters out while there is no broker,
since nobody wants them late; letters to this gateway's own topics.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, ClassVar

import msgspec

from gateway import __version__
from gateway.errors import (
    BodyError,
    GatewayError,
    LinkLostError,
    MailboxFullError,
    RefusedError,
)
from gateway.mail.address import Address
from gateway.mail.codec import to_json
from gateway.mail.message import Message
from gateway.mail.topic import matches
from gateway.routing.router import Router
from routes.mqtt.commands import (
    Call,
    Kind,
    Refusal,
    ReplyTo,
    error_body,
    parse_call,
    result_body,
)
from routes.mqtt.connection_state import ConnectionState
from routes.mqtt.forwarder import Forwarder
from routes.mqtt.incoming import Incoming
from routes.mqtt.network_loop import Status
from routes.mqtt.pending import PendingCalls
from routes.mqtt.session import Session
from routes.mqtt.settings import Settings
from routes.mqtt.topics import Topics

log = logging.getLogger(__name__)

LEAVE = 2.0
"""Seconds that the farewell may take."""

TICK = 10.0
"""Hertz at which deadlines of calls are looked at, while there are any."""

_STOPPED = "the gateway was stopped"


class MqttRouter(Router):
    """Carries telemetry to a broker and calls from it."""

    Settings: ClassVar[type[msgspec.Struct]] = Settings

    _session: Session | None = None
    _forwarder: Forwarder | None = None

    def start(self) -> None:
        """Begin to talk to the broker, which need not be there."""
        settings: Settings = self.settings
        self._topics = Topics(self.node)
        self._infos: dict[str, Mapping[str, Any]] = {}
        self._routes: dict[str, str] = {}
        self._states: dict[str, Mapping[str, Any]] = {}
        self._unwritable: set[str] = set()
        self._pending = PendingCalls(settings.max_calls)
        self._calls: deque[Call] = deque()
        self._refused: Counter[Kind] = Counter()
        self._refused_lock = threading.Lock()
        self._answered = self._untold = 0
        self.frequency = 0.0
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._session = Session(
            settings,
            client_id=f"gateway-{self.node}",
            status=self._status(),
            clock=self._clock,
            random=self.parameter("random") or Random(),
            subscriptions=[self._topics.calls],
            on_message=self._on_message,
            on_state=self._on_state,
        )
        self.watch(self._bell, self._on_bell)
        self.add_filter(callback=self._on_answer, id="answers", kind="^(reply|bounce)$")
        # The devices are known before the first call can come.
        self.subscribe("devices/#", self._on_publication, spool=settings.spool_bytes)
        if settings.spool_bytes:
            reader = self.open_spool(settings.spool_bytes)
            self._forwarder = Forwarder(reader, self._forward, self._bell, self._clock)
            self.watch(reader.fileno(), self._on_bell)
            self._forwarder.carry()
        self._session.start()

    def stop(self) -> None:
        """Answer who still waits, say goodbye, give back thread and descriptors."""
        session, self._session = self._session, None
        if session is None:
            return
        for call in [*self._pending.clear(), *self._calls]:
            self._answer_error(session, call.reply_to, "recipient_gone", "the gateway stops")
        self._take_back(session)
        session.stop(LEAVE)
        forwarder, self._forwarder = self._forwarder, None
        if forwarder is not None:
            self.unwatch(forwarder.fileno())
            forwarder.close()
        self.unwatch(self._bell)
        os.close(self._bell)

    def life(self) -> None:
        """Give up the calls whose time is over."""
        for call in self._pending.expire(self._clock.monotonic()):
            limit = self.settings.reply_timeout
            reason = f"{call.device} has not answered {call.command!r} within {limit:g} s"
            self._refuse(Refusal("timeout", "timeout", reason, call.reply_to))
        if not len(self._pending):
            self.frequency = 0.0

    def outbound(self, message: Message) -> None:
        """Publish the body of a letter to ``topic@mqtt``, at QoS 1; confirm that it is queued."""
        session = self._session
        if session is None or not session.state.is_connected:
            cause = session.state.cause if session else "the route is stopping"
            raise LinkLostError(f"no broker: {cause}")
        topic = Address.parse(message.recipient).local
        if not self._topics.may_answer_to(topic):
            raise RefusedError(f"no letter can go to the topic {topic!r}")
        if not session.publish(topic, to_json(message.body), qos=1, urgent=True):
            raise RefusedError(f"the body is over max_payload = {self.settings.max_payload} bytes")
        self.reply(message)

    def statistics(self) -> dict[str, Any]:
        """Return the route's counts, the session's, and refused calls by kind."""
        session = self._session
        with self._refused_lock:
            refused = {str(kind): count for kind, count in self._refused.items()}
        return {
            **super().statistics(),
            "calls_pending": len(self._pending) if session else 0,
            "calls_answered": self._answered,
            "calls_refused": refused,
            "publications_refused": self._untold,
            "spool": self._forwarder.statistics() if self._forwarder else None,
            "session": msgspec.to_builtins(session.statistics()) if session else None,
        }

    # From the bus

    def _note_info(self, message: Message) -> None:
        """Note what a device can do, and who hosts it: the owner of its info."""
        name = message.subject.split("/")[1]
        if isinstance(message.body, dict):
            # A new dict each time: the session's thread reads it meanwhile.
            self._infos = {**self._infos, name: message.body}
            self._routes[name] = message.sender

    def _take_back(self, session: Session) -> None:
        """Leave no device connected at the broker: nobody will tell what becomes of it.

        Routes stop side by side, so the device's own farewell may come too late.
        """
        for topic, state in self._states.items():
            if state.get("connected"):
                told = {"connected": False, "cause": _STOPPED, "since": self._clock.time()}
                body = to_json({**state, "state": "absent", **told})
                session.publish(self._topics.outward(topic), body, qos=1, retain=True)

    def _on_publication(self, message: Message) -> None:
        topic = message.subject
        if matches("devices/+/info", topic):
            self._note_info(message)
        elif matches("devices/+/state", topic) and isinstance(message.body, dict):
            self._states[topic] = message.body
        self._tell(message)

    def _forward(self, message: Message, settled: Callable[[], None]) -> bool:
        """Hand what waited in a file to the session; ``settled`` says when that was done with."""
        return self._tell(message, settled)

    def _tell(self, message: Message, settled: Callable[[], None] | None = None) -> bool:
        """Publish what was published on the bus; False where that cannot be said."""
        topic, session = message.subject, self._session
        if session is None:
            return False
        kept = message.retain or matches("devices/+/events/+", topic)
        try:
            return session.publish(
                self._topics.outward(topic),
                to_json(message.body),
                qos=1 if kept else self.settings.telemetry_qos,
                retain=message.retain,
                settled=settled,
            )
        except (BodyError, ValueError) as error:
            self._untold += 1
            if topic not in self._unwritable and len(self._unwritable) < 100:
                self._unwritable.add(topic)
                log.warning("%s cannot be told over MQTT: %s", topic, error)
            return False

    def _on_answer(self, message: Message) -> None:
        call, session = self._pending.take(message.thread_id), self._session
        if call is None or session is None:
            return
        if message.kind == "bounce":
            told = message.body if isinstance(message.body, dict) else {}
            code, reason = told.get("code", "error"), told.get("reason", "no reason given")
            self._refuse(Refusal("failed", str(code), str(reason), call.reply_to))
            return
        self._answered += 1
        body = result_body(call, message.body, max_payload=self.settings.max_payload)
        self._answer(session, call.reply_to, body)

    # From the broker, on the session's thread

    def _on_message(self, incoming: Incoming) -> None:
        limit = self.settings.max_payload
        parsed = parse_call(incoming, self._topics, self._infos, max_payload=limit)
        if isinstance(parsed, Refusal):
            self._refuse(parsed)
        elif len(self._calls) >= self.settings.max_calls:
            self._refuse(self._busy(parsed))
        else:
            self._calls.append(parsed)
            with contextlib.suppress(BlockingIOError):  # it has been rung already
                os.eventfd_write(self._bell, 1)

    def _on_state(self, state: ConnectionState) -> None:
        if self._session is not None:
            self.set_connection("connected" if state.is_connected else "waiting", state.cause)

    # On the process's thread

    def _on_bell(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        if self._forwarder is not None:
            self._forwarder.carry()
        while self._calls:
            refusal = self._carry(self._calls.popleft())
            if refusal is not None:
                self._refuse(refusal)

    def _carry(self, call: Call) -> Refusal | None:
        """Send ``call`` to its device; say why it cannot be sent."""
        if self._pending.is_full:
            return self._busy(call)
        limit = self.settings.reply_timeout
        recipient = f"{call.device}@{self._routes[call.device]}"
        try:
            letter = self.admit(recipient, call.command, call.arguments, expires_in=limit)
        except GatewayError as error:
            kind: Kind = (
                "not_allowed"
                if isinstance(error, RefusedError)
                else "busy"
                if isinstance(error, MailboxFullError)
                else "undeliverable"
            )
            return Refusal(kind, error.code, str(error), call.reply_to)
        self._pending.add(letter.thread_id, call, self._clock.monotonic() + limit)
        if not self.frequency:
            self.frequency = TICK
        return None

    def _busy(self, call: Call) -> Refusal:
        reason = f"{self.settings.max_calls} calls are under way already"
        return Refusal("busy", "mailbox_full", reason, call.reply_to)

    # Answers, from either thread

    def _refuse(self, refusal: Refusal) -> None:
        with self._refused_lock:
            self._refused[refusal.kind] += 1
        session = self._session
        if refusal.reply_to is not None and session is not None:
            self._answer_error(session, refusal.reply_to, refusal.code, refusal.reason)

    def _answer_error(self, session: Session, reply_to: ReplyTo, code: str, reason: str) -> None:
        self._answer(session, reply_to, error_body(reply_to, code, reason))

    def _answer(self, session: Session, reply_to: ReplyTo, body: bytes) -> None:
        session.publish(
            reply_to.topic, body, qos=1, urgent=True, correlation_data=reply_to.correlation_data
        )

    def _status(self) -> Status:
        now = self._clock.time()

        def body(**fields: Any) -> bytes:
            return to_json({**fields, "node": self.node, "version": __version__})

        return Status(
            topic=self._topics.status,
            online=body(online=True, cause="it was started", since=now),
            offline=body(online=False, cause=_STOPPED),
            lost=body(online=False, cause="the gateway fell silent: its power or its network?"),
        )
