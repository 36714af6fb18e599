"""What is done on an admitted connection: hand over, settle, deliver, keep watch.

Belongs to the network thread and lives as long as that. A broker that denies a
letter since it has no room (quota exceeded) gets it again, after a wait that
grows, and nothing else before it has taken one. A broker that owes
acknowledgements too long, or sends more than ``receive_rate`` allows, is left.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.backoff import Backoff
from gateway.clock import Clock
from routes.mqtt import causes
from routes.mqtt.connection import Connection
from routes.mqtt.exchange import Exchange
from routes.mqtt.incoming import Incoming
from routes.mqtt.inflow import Inflow
from routes.mqtt.letter import Letter
from routes.mqtt.reason import QUOTA_EXCEEDED, Reason
from routes.mqtt.settings import SessionSettings
from routes.mqtt.standing import SETTLED, Standing

log = logging.getLogger(__name__)

STOPPED = "the session was stopped"


class Serving:
    """Serves one connection after the other."""

    def __init__(
        self,
        settings: SessionSettings,
        exchange: Exchange,
        *,
        standing: Standing,
        clock: Clock,
        backoff: Backoff,
        throttle: Backoff,
        on_message: Callable[[Incoming], None],
    ) -> None:
        """``backoff`` is reset once a connection has settled; ``throttle`` is for letters."""
        self._settings = settings
        self._exchange = exchange
        self._standing = standing
        self._clock = clock
        self._backoff = backoff
        self._throttle = throttle
        self._on_message = on_message
        self._url = settings.url
        self._denied: set[str] = set()
        self._hold_until: float | None = None
        self._has_room = True

    def serve(
        self, connection: Connection, subscriptions: tuple[str, ...], show: Callable[[str], None]
    ) -> str:
        """Live on ``connection``; return why we ended it, or empty text where it broke.

        ``show`` is called with how things stand, while it stands.
        """
        exchange, clock = self._exchange, self._clock
        connection.subscribe(subscriptions)
        began = progress = clock.monotonic()
        acknowledged = 0
        inflow = Inflow(self._settings.receive_rate, began)
        admitted, throttled = exchange.state.cause, False
        self._standing.began(began)
        self._hold_until, self._has_room = None, True
        # paho looks after its keepalive only when it is turned.
        tick = min(connection.keepalive or 60, self._settings.acknowledge_timeout) / 4
        while True:
            self._hand_over(connection)
            now = clock.monotonic()
            if self._standing.has_settled(now):
                self._backoff.reset()
            if throttled != (self._hold_until is not None):
                throttled = not throttled
                show(causes.of_throttling(admitted) if throttled else admitted)
            if connection.acknowledged != acknowledged or not connection.in_flight:
                progress, acknowledged = now, connection.acknowledged
            elif now - progress >= (timeout := self._settings.acknowledge_timeout):
                return f"the broker acknowledges nothing for {timeout:g} s, though it answers"
            if inflow.is_too_much(connection.packets, now):
                exchange.count("floods")
                return causes.of_flood(self._settings.receive_rate)
            if exchange.stopping.is_set():
                # With the farewell unsaid, let the broker publish the will.
                if exchange.is_empty:
                    connection.disconnect()
                return STOPPED
            if not self.turn(connection, self._wait(tick, now)):
                return ""

    def turn(self, connection: Connection, timeout: float) -> bool:
        """Turn ``connection`` for ``timeout`` s at the most; False once it is over."""
        goes_on = connection.turn(timeout, self._exchange.wake)
        self._exchange.awake()
        for topic in connection.denied_subscriptions:
            self._exchange.count("denied")
            self._say_denied(topic, "subscribing to")
        connection.denied_subscriptions.clear()
        return goes_on

    def deliver(self, incoming: Incoming) -> None:
        """Hand on what a connection brought."""
        self._exchange.count("received")
        self._on_message(incoming)

    def settle(self, letter: Letter, denied: Reason | None) -> None:
        """Take note of what the broker said to ``letter``."""
        if denied is not None and denied.code == QUOTA_EXCEEDED:
            self._exchange.postpone(letter)
            self._has_room = False
            now = self._clock.monotonic()
            # One wait for all that were denied together.
            if self._hold_until is None or now >= self._hold_until:
                self._hold_until = now + self._throttle.next()
            return
        self._has_room |= letter.qos > 0
        self._exchange.settle(letter, denied=denied is not None)
        if denied is not None:
            self._say_denied(letter.topic, f"({denied.name.lower()}{denied.quote}) publishing to")

    def _hand_over(self, connection: Connection) -> None:
        now = self._clock.monotonic()
        if self._hold_until is not None:
            if now < self._hold_until:
                return
            if now >= self._hold_until + SETTLED:
                self._hold_until = None
                self._throttle.reset()
        window = self._settings.in_flight if self._has_room else 1
        while connection.can_send and connection.in_flight < window:
            letter = self._exchange.take(now)
            if letter is None:
                return
            connection.send(letter, now)

    def _wait(self, tick: float, now: float) -> float:
        if self._hold_until is None or self._hold_until <= now:
            return tick
        return min(tick, self._hold_until - now)

    def _say_denied(self, topic: str, what: str) -> None:
        # One line a topic, and not for ever more topics.
        if topic not in self._denied and len(self._denied) < 100:
            self._denied.add(topic)
            log.warning("%s forbids %s %s: check its access list", self._url, what, topic)
