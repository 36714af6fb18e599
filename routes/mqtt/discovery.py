"""From ``devices/<name>/info`` to what Home Assistant is told of a device.

One retained message a device, on ``<prefix>/device/gateway-<node>/<device>/config``
(Home Assistant calls it MQTT device discovery). The level of the node lets a
gateway subscribe to its own entries and to nobody else's. Both names are spelt
with letters, digits, ``-`` and ``_`` alone, as it is asked for, so that no two are
spelt alike.

Entities are available while the gateway is online and the device connected.

Pure, and raises nothing for what an info or an entry holds: what is not understood
is left out. Entities that are to go are named once more with nothing but their
platform, since leaving them out would not remove them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

import msgspec

from gateway.errors import BodyError
from gateway.mail.codec import from_json, to_json
from routes.mqtt.discovery_components import Component, components_of
from routes.mqtt.discovery_names import safe, unsafe
from routes.mqtt.discovery_settings import DiscoverySettings
from routes.mqtt.topics import Topics

ORIGIN: Final = "hardware-gateway"
"""How an entry of ours is known."""


class Entry(NamedTuple):
    """What one device is announced with; ``omitted`` entities found no room in it."""

    topic: str
    payload: bytes
    platforms: dict[str, str]
    omitted: int


class Announcer:
    """Writes the entries of one node."""

    def __init__(
        self, settings: DiscoverySettings, topics: Topics, *, node: str, version: str
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._node = node
        self._id = safe(settings.id or node)
        self._version = version
        self._base = f"{settings.prefix}/device/gateway-{self._id}"
        self.entries = f"{self._base}/+/config"
        """The topic filter of this node's own entries."""

    def topic(self, device: str) -> str:
        """Return where the entry of ``device`` is.

        >>> settings = DiscoverySettings()
        >>> announcer = Announcer(settings, Topics("pi"), node="pi", version="1")
        >>> announcer.topic("motor_board")
        'homeassistant/device/gateway-pi/motor__board/config'
        """
        return f"{self._base}/{safe(device)}/config"

    def device_of(self, topic: str) -> str | None:
        """Return whose entry is at ``topic``; None where it is none of this node's."""
        level = topic.removeprefix(f"{self._base}/").removesuffix("/config")
        device = unsafe(level)
        return device if device and topic == self.topic(device) else None

    def entry(
        self,
        device: str,
        info: Mapping[str, Any],
        *,
        allows: Callable[[str], bool],
        before: Mapping[str, str],
        limit: int,
    ) -> Entry:
        """Return the entry of ``device``, of ``limit`` bytes at most.

        ``allows`` tells which commands may be called; ``before`` are the platforms of
        the entities that were announced last, by their keys. `ValueError` where the
        info holds what no JSON can.
        """
        found = list(components_of(device, info, self._topics, allows))
        kept = {each.key: self._finished(device, each) for each in found if self._wanted(each)}
        gone = {key: {"platform": each} for key, each in before.items() if key not in kept}
        whole = self._frame(device, info)
        room = limit - len(to_json(whole))
        components: dict[str, msgspec.Raw] = {}
        for key, config in {**kept, **gone}.items():
            written = to_json(config)
            room -= len(written) + len(to_json(key)) + len(":,")
            if room < 0:
                break
            components[key] = msgspec.Raw(written)
        platforms = {key: each["platform"] for key, each in kept.items() if key in components}
        omitted = len(kept) + len(gone) - len(components)
        payload = to_json({**whole, "components": components})
        return Entry(self.topic(device), payload, platforms, omitted)

    def _frame(self, device: str, info: Mapping[str, Any]) -> dict[str, Any]:
        identity = info.get("identity")
        said = identity if isinstance(identity, Mapping) else {}
        about = {
            "model": said.get("model") or info.get("driver"),
            "sw_version": said.get("firmware"),
            "serial_number": said.get("serial_number"),
        }
        return {
            "device": {
                "identifiers": [self._unique(device)],
                "name": f"{self._node} {device}",
                **{key: each for key, each in about.items() if each and isinstance(each, str)},
            },
            "origin": {"name": ORIGIN, "sw_version": self._version},
            "availability": [
                self._gateway(),
                {
                    "topic": self._topics.of_device(device, "state"),
                    "value_template": "{{ 'online' if value_json.connected else 'offline' }}",
                },
            ],
            "availability_mode": "all",
            "components": {},
        }

    def _gateway(self) -> dict[str, str]:
        return {
            "topic": self._topics.status,
            "value_template": "{{ 'online' if value_json.online else 'offline' }}",
        }

    def _finished(self, device: str, component: Component) -> dict[str, Any]:
        config = {**component.config, "unique_id": self._unique(device, component.key)}
        if component.key == "state":
            # It says why a device is not there, so it must not vanish with it.
            config["availability"] = [self._gateway()]
        return config

    def _wanted(self, component: Component) -> bool:
        return not any(fnmatchcase(component.path, each) for each in self._settings.leave_out)

    def _unique(self, device: str, *more: str) -> str:
        return ".".join(("gateway", self._id, safe(device), *more))


def platforms_in(payload: bytes) -> dict[str, str] | None:
    """Return the platforms of the entities in an entry of ours, by key; None for another's."""
    try:
        entry = from_json(payload)
    except (BodyError, ValueError):
        return None
    origin = entry.get("origin") if isinstance(entry, dict) else None
    if not isinstance(origin, dict) or origin.get("name") != ORIGIN:
        return None
    components = entry.get("components")
    found = components.items() if isinstance(components, dict) else ()
    return {
        key: each["platform"]
        for key, each in found
        # What has nothing but a platform was on its way out then.
        if isinstance(each, dict) and len(each) > 1 and isinstance(each.get("platform"), str)
    }
