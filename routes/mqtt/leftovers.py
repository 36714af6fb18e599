"""What an earlier run left retained at the broker for devices that are not there any more.

Whoever subscribes would be told of them for ever. At each connection the broker
says what it retains under ``devices/+/info`` of this node; where a device is
neither configured nor has told of itself on the bus within `PATIENCE`, its topics
are cleared, the info last: if that is cut short, the next connection finds it again.
They are cleared a few at a time, and as far as there is room, since until the broker
has one it lies among the values that are kept to be said again.
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

AT_A_TIME: Final = 16
"""Topics that are cleared at a time, at the most."""

PAUSE: Final = 0.1
"""Seconds until the next are."""

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
        room: Callable[[], int] = lambda: MOST,
    ) -> None:
        """``configured`` are the devices of this gateway, whether they are there or not.

        ``room`` returns how many more topics may be said before a value is forgotten.
        """
        self.subscription = OwnToo(topics.infos)
        self._topics = topics
        self._there = set(configured)
        self._say = say
        self._ring = ring
        self._clock = clock
        self._patience = patience
        self._room = room
        self._clear_at = 0.0
        self._lock = threading.Lock()
        self._found: dict[str, tuple[float, dict[str, None]]] = {}
        self._heard = self._cleared = self._overlooked = 0

    def note(self, message: Message) -> None:
        """Know the device that has published ``message`` for one that is there."""
        self._there.add(message.subject.split("/")[1])

    def hear(self, incoming: Incoming) -> None:
        """Take what the broker retains of a device; of what is not retained we know."""
        self._heard += 1
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
        """Clear some of what is overdue."""
        now = self._clock.monotonic()
        if now < self._clear_at or not self._found:
            return
        self._clear_at = now + PAUSE
        # Values that are new meanwhile find the other half.
        for topic in self._take(now, min(AT_A_TIME, (self._room() + 1) // 2)):
            self._cleared += self._say(topic, b"", qos=1, retain=True)

    def statistics(self) -> dict[str, int]:
        """Return what was heard, how many topics were cleared, and devices overlooked."""
        return {
            "leftovers_heard": self._heard,
            "leftovers_cleared": self._cleared,
            "leftovers_overlooked": self._overlooked,
        }

    def _take(self, now: float, most: int) -> list[str]:
        """Return up to ``most`` topics that are overdue, device by device."""
        taken: list[str] = []
        with self._lock:
            for device, (deadline, topics) in list(self._found.items()):
                if device in self._there:
                    del self._found[device]
                elif deadline <= now:
                    for topic in list(topics)[: most - len(taken)]:
                        del topics[topic]
                        taken.append(topic)
                    if not topics:
                        del self._found[device]
                        log.info(
                            "%s is not configured any more: its retained topics are cleared", device
                        )
        return taken

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
