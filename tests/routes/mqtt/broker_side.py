"""What a part of the route says, kept for a test, and a clock that the test winds on."""

from __future__ import annotations

from typing import Any, NamedTuple

from gateway.clock import VirtualClock
from gateway.mail.message import Message


class Said(NamedTuple):
    """One message on its way to the broker."""

    topic: str
    payload: bytes
    options: dict[str, Any]


class BrokerSide:
    """An `Outlet` that remembers; ``bells`` counts how often the route was to look."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.said: list[Said] = []
        self.bells = 0

    def say(self, topic: str, payload: bytes, **options: Any) -> bool:
        """Take one message."""
        self.said.append(Said(topic, payload, options))
        return True

    def ring(self) -> None:
        """Count one bell."""
        self.bells += 1

    def taken(self) -> list[Said]:
        """Return what was said since the last time."""
        said, self.said = self.said, []
        return said


def publication(topic: str, body: Any, sender: str = "serial") -> Message:
    """Return what the bus brings of a publication."""
    return Message("1", "1", 1, 0.0, sender, "mqtt", topic, body, kind="publication", retain=True)
