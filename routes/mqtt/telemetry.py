"""What is published on the bus, said at the broker.

Whatever is published under `OUTWARD` goes to ``gateway/<node>/…`` as JSON,
retained where it was retained on the bus. Counted and otherwise left out: what
cannot be written as JSON, or has no place in MQTT.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from gateway.clock import Clock
from gateway.errors import BodyError
from gateway.mail.codec import to_json
from gateway.mail.message import Message
from gateway.mail.topic import matches
from gateway.process.whereabouts import handles_letters
from routes.mqtt.properties import of_message
from routes.mqtt.qos import QosTable
from routes.mqtt.session import Session
from routes.mqtt.settings import Settings
from routes.mqtt.topics import Topics

log = logging.getLogger(__name__)

OUTWARD = ("devices/#", "processes/#", "health", "updates/#", "log/#", "tail/#")
"""What of the bus is told at the broker."""

STOPPED = "the gateway was stopped"


class Telemetry:
    """Belongs to the route's thread."""

    def __init__(self, settings: Settings, topics: Topics, session: Session, clock: Clock) -> None:
        self._topics = topics
        self._session = session
        self._clock = clock
        self._states: dict[str, Mapping[str, Any]] = {}
        self._unwritable: set[str] = set()
        self._untold = 0
        self._qos = QosTable(settings.qos, otherwise=settings.telemetry_qos)

    @handles_letters
    def say(self, message: Message, settled: Callable[[], None] | None = None) -> bool:
        """Publish what was published on the bus; False where that cannot be said.

        ``settled`` is called once the broker has it, or never will: not where
        this returns False.
        """
        topic = message.subject
        if matches("devices/+/state", topic) and isinstance(message.body, dict):
            self._states[topic] = message.body
        try:
            return self._session.publish(
                self._topics.outward(topic),
                to_json(message.body),
                qos=self._qos.of(topic, retain=message.retain),
                retain=message.retain,
                properties=of_message(message, self._clock.monotonic()),
                settled=settled,
            )
        except (BodyError, ValueError) as error:
            self._untold += 1
            if topic not in self._unwritable and len(self._unwritable) < 100:
                self._unwritable.add(topic)
                log.warning("%s cannot be told over MQTT: %s", topic, error)
            return False

    def take_back(self) -> None:
        """Leave no device connected at the broker: nobody will tell what becomes of it.

        Routes stop side by side, so the device's own farewell may come too late.
        """
        for topic, state in self._states.items():
            if state.get("connected"):
                told = {"connected": False, "cause": STOPPED, "since": self._clock.time()}
                body = to_json({**state, "state": "absent", **told})
                self._session.publish(self._topics.outward(topic), body, qos=1, retain=True)

    def statistics(self) -> dict[str, Any]:
        """Return what could not be said."""
        return {"publications_refused": self._untold}
