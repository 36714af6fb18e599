"""Tells Home Assistant which devices there are, and takes back what is gone.

An entry is said, retained, when the info of a device comes or changes, and again
when Home Assistant says that it is online. At each connection the broker says which
entries it has below our own level: entities that they name and the device has not
any more are taken back; entries of devices that are gone are handed to
`routes.mqtt.leftovers`.

Refused, with a count: entries below our own level that are not ours; entities for
which an entry has no room; an info that no JSON can hold.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any, Final

from gateway.clock import Clock
from gateway.errors import BodyError
from gateway.mail.message import Message
from routes.mqtt.discovery import Announcer, Entry, platforms_in
from routes.mqtt.discovery_settings import DiscoverySettings
from routes.mqtt.incoming import Incoming
from routes.mqtt.inlet import Inlet, Outlet, OwnToo
from routes.mqtt.leftovers import MOST, Leftovers

log = logging.getLogger(__name__)

BIRTH: Final = b"online"

APART: Final = 1.0
"""Seconds at least between two times that all is said again, whoever asks for it."""


class Announcing:
    """Belongs to the route's thread; what its `inlets` hear, to the session's."""

    def __init__(
        self,
        settings: DiscoverySettings,
        announcer: Announcer,
        leftovers: Leftovers,
        *,
        say: Outlet,
        ring: Callable[[], None],
        allows: Callable[[str, str], bool],
        max_payload: int,
        clock: Clock,
        random: Random,
    ) -> None:
        """``allows`` tells whether a letter may go to an address with a subject.

        ``ring`` has `tick` called soon; it is called from any thread.
        """
        self._settings = settings
        self._announcer = announcer
        self._leftovers = leftovers
        self._say = say
        self._ring = ring
        self._allows = allows
        self._max_payload = max_payload
        self._clock = clock
        self._random = random
        self._infos: dict[str, tuple[Mapping[str, Any], str]] = {}
        self._said: dict[str, Entry] = {}
        self._before: dict[str, dict[str, str]] = {}
        self._again_at: float | None = None
        self._not_before = clock.monotonic()
        self._lock = threading.Lock()
        self._found: dict[str, dict[str, str]] = {}
        self._born = False
        self._foreign = self._births = self._unwritable = 0
        entries = _Ear(OwnToo(announcer.entries), self._hear_entry)
        birth = _Ear(settings.status_topic, self._hear_birth)
        self.inlets: tuple[Inlet, ...] = (entries, birth) if settings.enabled else (entries,)

    def note_info(self, message: Message) -> None:
        """Announce the device whose info this is; take it back where it has none any more."""
        if not self._settings.enabled:
            return
        device = message.subject.split("/")[1]
        if isinstance(message.body, dict):
            self._infos[device] = message.body, message.sender
            self._announce(device)
        elif self._infos.pop(device, None) is not None:
            self._said.pop(device, None)
            self._say(self._announcer.topic(device), b"", qos=1, retain=True)

    @property
    def is_waiting(self) -> bool:
        """Tell whether `tick` will have something to do later."""
        return self._again_at is not None

    def tick(self) -> None:
        """Do what the broker's words ask for, and what is due."""
        now = self._clock.monotonic()
        with self._lock:
            found, self._found = self._found, {}
            born, self._born = self._born, False
        for device, platforms in found.items():
            if len(self._before) < MOST:
                self._before[device] = platforms
            said = self._said.get(device)
            if said is not None and platforms.keys() - said.platforms.keys():
                self._announce(device)
        if born and self._again_at is None:
            soon = now + self._random.uniform(0, self._settings.spread)
            self._again_at = max(soon, self._not_before)
        if self._again_at is not None and now >= self._again_at:
            self._again_at = None
            self._not_before = now + APART
            for entry in self._said.values():
                self._say(entry.topic, entry.payload, qos=1, retain=True)

    def statistics(self) -> dict[str, Any]:
        """Return what stands announced, and what was left out or is not ours."""
        return {
            "discovery": {
                "devices": len(self._said),
                "entities": sum(len(entry.platforms) for entry in self._said.values()),
                "entities_omitted": sum(entry.omitted for entry in self._said.values()),
                "infos_unwritable": self._unwritable,
                "births": self._births,
                "foreign": self._foreign,
            }
        }

    def _announce(self, device: str) -> None:
        info, route = self._infos[device]
        said = self._said.get(device)
        before = {**self._before.pop(device, {}), **(said.platforms if said else {})}
        try:
            entry = self._announcer.entry(
                device,
                info,
                allows=partial(self._allows, f"{device}@{route}"),
                before=before,
                limit=self._max_payload,
            )
        except (BodyError, ValueError) as error:
            self._unwritable += 1
            log.warning("%s cannot be announced: %s", device, error)
            return
        if entry == said:
            return
        if entry.omitted and (said is None or said.omitted != entry.omitted):
            log.warning(
                "%s: %d entities found no room: raise max_payload, or name them in leave_out"
                " below [routes.mqtt.discovery]",
                device,
                entry.omitted,
            )
        self._said[device] = entry
        self._say(entry.topic, entry.payload, qos=1, retain=True)

    # On the session's thread

    def _hear_birth(self, incoming: Incoming) -> None:
        # A retained one is from an earlier time; at a connection all is said anyway.
        if incoming.payload != BIRTH or incoming.retained:
            return
        with self._lock:
            self._births += 1
            self._born = True
        self._ring()

    def _hear_entry(self, incoming: Incoming) -> None:
        if not incoming.retained or not incoming.payload:
            return
        platforms = platforms_in(incoming.payload)
        device = self._announcer.device_of(incoming.topic)
        if platforms is None or device is None:
            with self._lock:
                self._foreign += 1
            return
        if not self._settings.enabled:
            self._say(incoming.topic, b"", qos=1, retain=True)
            return
        with self._lock:
            if len(self._found) < MOST:
                self._found[device] = platforms
        self._leftovers.add(device, [incoming.topic])
        self._ring()


class _Ear:
    """An `Inlet` of one topic filter and one function."""

    def __init__(self, subscription: str, hear: Callable[[Incoming], None]) -> None:
        self.subscription = subscription
        self._hear = hear

    def hear(self, incoming: Incoming) -> None:
        """Hand on what came."""
        self._hear(incoming)
