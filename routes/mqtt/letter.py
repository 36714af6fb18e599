"""One message on its way to the broker, and what its way has cost so far.

Refuses nothing: who makes one has checked topic, QoS and properties.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from routes.mqtt.properties import NONE, Properties


@dataclass(slots=True, eq=False)
class Letter:
    """One MQTT message on its way out; ``payload`` as it goes over the wire."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    urgent: bool = False
    properties: Properties = NONE
    settled: Callable[[], None] | None = None
    """Is called once, when there is nothing left to do for the letter; it must not wait."""
    deadline: float | None = None
    """Monotonic seconds from which on it is not to be sent any more."""
    attempts: int = field(default=0, init=False)
    taken: int = field(default=0, init=False)
    """Its place in the order in which letters were last handed out."""
    counted: bool = field(default=False, init=False)

    @property
    def size(self) -> int:
        """What it weighs in the bounds: bytes of payload, topic and properties."""
        return len(self.payload) + len(self.topic) + self.properties.size

    def is_over(self, now: float) -> bool:
        """Tell whether it is too late for it, at ``now`` (monotonic seconds)."""
        return self.deadline is not None and now >= self.deadline
