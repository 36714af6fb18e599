"""Foreign topics that become letters, as ``[[routes.mqtt.listen]]`` says.

What comes under a topic of the table goes to the one recipient that it names, with
the one subject: ``{"topic": "plant/3/command", "payload": …}``. Nobody is answered.

Refused, with a count by kind: what is too large, no JSON where JSON is asked for,
retained from an earlier time, sent a second time by the broker, too much at a time,
or cannot be delivered. Nothing else gets in: what is not in the table is not even
subscribed to.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.mail.body import DEPTH
from gateway.mail.codec import from_json, to_json
from gateway.mail.message import Message
from routes.mqtt.commands import is_deeper_than
from routes.mqtt.in_tray import InTray
from routes.mqtt.incoming import Incoming
from routes.mqtt.listening_settings import Listen
from routes.mqtt.pace import Pace

log = logging.getLogger(__name__)

Kind = Literal[
    "duplicate", "retained", "too_fast", "too_large", "no_json", "no_text", "busy", "undeliverable"
]
"""What a refusal is counted as."""

PATIENCE = 0.1
"""Seconds that a full mailbox is waited for, once: the route's thread has others to serve."""


class Listening:
    """An `Inlet` for one table: `hear` is the session's thread's, the rest the route's."""

    def __init__(
        self,
        rule: Listen,
        *,
        send: Callable[..., Message],
        tray: InTray,
        clock: Clock,
    ) -> None:
        """``send`` is the process's own, called on its thread."""
        self.subscription = rule.topic
        self._rule = rule
        self._send = send
        self._tray = tray
        self._clock = clock
        self._pace = Pace(rule.rate, now=clock.monotonic(), burst=float(rule.burst))
        self._delivered = 0
        self._refused: Counter[Kind] = Counter()
        self._lock = threading.Lock()
        self._in_vain = False

    def hear(self, incoming: Incoming) -> None:
        """Judge what came, and have it sent."""
        judged = self._judge(incoming)
        if isinstance(judged, dict):
            if self._tray.put(partial(self._deliver, judged)):
                return
            judged = "busy"
        self._refuse(judged)

    def statistics(self) -> dict[str, Any]:
        """Return how many became letters, and how many were refused by kind."""
        with self._lock:
            refused = {str(kind): count for kind, count in self._refused.items()}
        return {"delivered": self._delivered, "refused": refused}

    def _judge(self, incoming: Incoming) -> dict[str, Any] | Kind:
        """Return the body of the letter, or why there is none."""
        rule, payload = self._rule, incoming.payload
        if incoming.duplicate:
            return "duplicate"
        if incoming.retained and not rule.retained:
            return "retained"
        # First what costs us least: a flood is to be refused cheaply.
        if not self._pace.room(self._clock.monotonic()):
            return "too_fast"
        self._pace.spend(1)
        if len(payload) > rule.most:
            return "too_large"
        if rule.payload == "text":
            try:
                return {"topic": incoming.topic, "payload": payload.decode()}
            except UnicodeDecodeError:
                return "no_text"
        # The letter has a level of its own around it.
        if is_deeper_than(payload, DEPTH - 1):
            return "no_json"
        try:
            body = {"topic": incoming.topic, "payload": from_json(payload)}
            # Half a surrogate pair can be escaped in JSON, and be written nowhere.
            to_json(body)
        except (GatewayError, ValueError):
            return "no_json"
        return body

    def _deliver(self, body: dict[str, Any]) -> None:
        rule = self._rule
        # One who is stuck holds up nobody else, but for the first time.
        patience = 0.0 if self._in_vain else PATIENCE
        try:
            self._send(rule.to, rule.subject, body, expires_in=rule.fresh, timeout=patience)
        except GatewayError as error:
            self._refuse("undeliverable")
            if not self._in_vain:
                log.warning("%s cannot go to %s: %s", rule.topic, rule.to, error)
            self._in_vain = True
            return
        self._in_vain = False
        self._delivered += 1

    def _refuse(self, kind: Kind) -> None:
        with self._lock:
            self._refused[kind] += 1
