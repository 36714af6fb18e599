"""What an earlier run left retained at the broker for devices that are not there any more.

Whoever subscribes would be told of them for ever. At each connection the broker
says what it retains under ``devices/+/info`` of this node; where a device is
neither configured nor has told of itself on the bus within `PATIENCE`, its topics
are cleared, the info last: if that is cut short, the next connection finds it again.
Others may hand in what they find themselves (`Leftovers.add`).

Refused: whatever is not below this node; more than `MOST` devices at a time, which
wait for the next connection. A retained topic that the info does not name, or names
by a pattern, stays.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from gateway.clock import Clock
from gateway.errors import BodyError
from gateway.mail.codec import from_json
from gateway.mail.message import Message
from routes.mqtt.incoming import Incoming
from routes.mqtt.inlet import Outlet, OwnToo
from routes.mqtt.topics import Topics

log = logging.getLogger(__name__)

PATIENCE: Final = 10.0
"""Seconds within which a device that is not configured may still tell of itself."""

MOST: Final = 1000
"""Devices that may be under suspicion at a time, and topics of one that are cleared."""

_ALWAYS: Final = ("state", "moves", "claim")


class Leftovers:
    """An `Inlet`: `hear` and `add` are the session's thread's, the rest the route's."""

    def __init__(
        self,
        topics: Topics,
        *,
        configured: Collection[str],
        say: Outlet,
        ring: Callable[[], None],
        clock: Clock,
        patience: float = PATIENCE,
    ) -> None:
        """``configured`` are the devices of this gateway, whether they are there or not."""
        self.subscription = OwnToo(topics.infos)
        self._topics = topics
        self._there = set(configured)
        self._say = say
        self._ring = ring
        self._clock = clock
        self._patience = patience
        self._lock = threading.Lock()
        self._found: dict[str, tuple[float, dict[str, None]]] = {}
        self._cleared = self._overlooked = 0

    def note(self, message: Message) -> None:
        """Know the device that has published ``message`` for one that is there."""
        self._there.add(message.subject.split("/")[1])

    def hear(self, incoming: Incoming) -> None:
        """Take what the broker retains of a device; of what is not retained we know."""
        if not incoming.retained or not incoming.payload:
            return
        try:
            device = self._topics.device_of(incoming.topic)
        except ValueError:
            return  # nobody's name: no gateway has published there
        self.add(device, [*self._named_in(device, incoming.payload), incoming.topic])

    def add(self, device: str, topics: Iterable[str]) -> None:
        """Suspect ``device``, if it is not there, to be gone; then clear ``topics`` in order."""
        if device in self._there:
            return
        with self._lock:
            if device not in self._found and len(self._found) >= MOST:
                self._overlooked += 1
                return
            deadline = self._clock.monotonic() + self._patience
            deadline, known = self._found.get(device, (deadline, {}))
            self._found[device] = deadline, {**known, **dict.fromkeys(topics)}
        self._ring()

    @property
    def is_waiting(self) -> bool:
        """Tell whether `tick` will have something to do later."""
        return bool(self._found)

    def tick(self) -> None:
        """Clear what is overdue."""
        now = self._clock.monotonic()
        with self._lock:
            due = {name: each for name, each in self._found.items() if each[0] <= now}
            for device in due:
                del self._found[device]
        for device, (_, topics) in due.items():
            if device not in self._there:
                log.info("%s is not configured any more: its retained topics are cleared", device)
                for topic in topics:
                    self._cleared += self._say(topic, b"", qos=1, retain=True)

    def statistics(self) -> dict[str, int]:
        """Return how many topics were cleared, and devices overlooked for want of room."""
        return {"leftovers_cleared": self._cleared, "leftovers_overlooked": self._overlooked}

    def _named_in(self, device: str, payload: bytes) -> list[str]:
        """Return the topics that a device with this info may have retained."""
        try:
            info: Any = from_json(payload)
        except (BodyError, ValueError):
            info = None
        listed = info.get("publications") if isinstance(info, Mapping) else None
        named = [
            str(each.get("topic"))
            for each in (listed if isinstance(listed, list) else ())
            if isinstance(each, Mapping)
        ]
        found = []
        for topic in [*named[:MOST], *_ALWAYS]:
            try:
                found.append(self._topics.of_device(device, topic))
            except ValueError:
                continue  # a pattern, or a call
        return found
