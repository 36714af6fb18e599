"""Calls to devices from the broker: judged, carried to the bus, answered.

Calls come as `routes.mqtt.commands` describes them and go, if the access list
allows them, to ``<device>@<the route that published its info>``; the answer, the
bounce or the lapse of time goes back to the caller.

Refused, with an error to the caller and a count: every call that cannot be
carried out.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gateway.clock import Clock
from gateway.errors import GatewayError, MailboxFullError, RefusedError
from gateway.mail.message import Message
from routes.mqtt.commands import (
    Call,
    Kind,
    Refusal,
    ReplyTo,
    error_body,
    parse_call,
    result_body,
)
from routes.mqtt.in_tray import InTray
from routes.mqtt.incoming import Incoming
from routes.mqtt.inlet import Outlet
from routes.mqtt.pending import PendingCalls
from routes.mqtt.settings import Settings
from routes.mqtt.topics import Topics

Admit = Callable[..., Message]
"""`gateway.routing.router.Router.admit`."""


class Calls:
    """An `Inlet`: `hear` is the session's thread's, everything else the route's."""

    def __init__(
        self,
        settings: Settings,
        topics: Topics,
        *,
        clock: Clock,
        tray: InTray,
        admit: Admit,
        say: Outlet,
    ) -> None:
        self.subscription = topics.calls
        self._settings = settings
        self._topics = topics
        self._clock = clock
        self._tray = tray
        self._admit = admit
        self._say = say
        self._infos: dict[str, Mapping[str, Any]] = {}
        self._routes: dict[str, str] = {}
        self._pending = PendingCalls(settings.max_calls)
        self._refused: Counter[Kind] = Counter()
        self._refused_lock = threading.Lock()
        self._answered = 0
        self._closed = False

    def __len__(self) -> int:
        """Return how many calls are under way."""
        return len(self._pending)

    def note_info(self, message: Message) -> None:
        """Note what a device can do, and who hosts it: the owner of its info."""
        name = message.subject.split("/")[1]
        if isinstance(message.body, dict):
            # A new dict each time: the session's thread reads it meanwhile.
            self._infos = {**self._infos, name: message.body}
            self._routes[name] = message.sender

    def hear(self, incoming: Incoming) -> None:
        """Take a call, or refuse it."""
        limit = self._settings.max_payload
        parsed = parse_call(incoming, self._topics, self._infos, max_payload=limit)
        if isinstance(parsed, Refusal):
            self._refuse(parsed)
        elif not self._tray.put(partial(self._carry, parsed)):
            self._refuse(self._busy(parsed))

    def on_answer(self, message: Message) -> None:
        """Tell a caller what became of its call; other replies and bounces are none of ours."""
        call = self._pending.take(message.thread_id)
        if call is None:
            return
        if message.kind == "bounce":
            told = message.body if isinstance(message.body, dict) else {}
            code, reason = told.get("code", "error"), told.get("reason", "no reason given")
            self._refuse(Refusal("failed", str(code), str(reason), call.reply_to))
            return
        self._answered += 1
        body = result_body(call, message.body, max_payload=self._settings.max_payload)
        self._answer(call.reply_to, body)

    def expire(self) -> None:
        """Give up the calls whose time is over."""
        for call in self._pending.expire(self._clock.monotonic()):
            limit = self._settings.reply_timeout
            reason = f"{call.device} has not answered {call.command!r} within {limit:g} s"
            self._refuse(Refusal("timeout", "timeout", reason, call.reply_to))

    def close(self) -> None:
        """Tell whoever still waits, in the tray as well, that nobody will answer."""
        self._closed = True
        for call in self._pending.clear():
            self._say_stopped(call)

    def statistics(self) -> dict[str, Any]:
        """Return how many calls are under way, were answered, and refused by kind."""
        with self._refused_lock:
            refused = {str(kind): count for kind, count in self._refused.items()}
        return {
            "calls_pending": len(self._pending),
            "calls_answered": self._answered,
            "calls_refused": refused,
        }

    def _carry(self, call: Call) -> None:
        """Send ``call`` to its device; tell its caller why it cannot be sent."""
        if self._closed:
            self._say_stopped(call)
            return
        if self._pending.is_full:
            self._refuse(self._busy(call))
            return
        limit = self._settings.reply_timeout
        recipient = f"{call.device}@{self._routes[call.device]}"
        try:
            letter = self._admit(recipient, call.command, call.arguments, expires_in=limit)
        except GatewayError as error:
            kind: Kind = (
                "not_allowed"
                if isinstance(error, RefusedError)
                else "busy"
                if isinstance(error, MailboxFullError)
                else "undeliverable"
            )
            self._refuse(Refusal(kind, error.code, str(error), call.reply_to))
            return
        self._pending.add(letter.thread_id, call, self._clock.monotonic() + limit)

    def _say_stopped(self, call: Call) -> None:
        body = error_body(call.reply_to, "recipient_gone", "the gateway stops")
        self._answer(call.reply_to, body)

    def _busy(self, call: Call) -> Refusal:
        reason = f"{self._settings.max_calls} calls are under way already"
        return Refusal("busy", "mailbox_full", reason, call.reply_to)

    def _refuse(self, refusal: Refusal) -> None:
        with self._refused_lock:
            self._refused[refusal.kind] += 1
        if refusal.reply_to is not None:
            body = error_body(refusal.reply_to, refusal.code, refusal.reason)
            self._answer(refusal.reply_to, body)

    def _answer(self, reply_to: ReplyTo, body: bytes) -> None:
        self._say(
            reply_to.topic, body, qos=1, urgent=True, correlation_data=reply_to.correlation_data
        )
