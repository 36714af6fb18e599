"""What the demonstration has learnt so far, from the bus and from the witness.

Only takes down what it is handed; who waits for something looks here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.cli.demonstration.witness import Heard
from gateway.mail.message import Message


class Notes:
    """The notes on one device, its routes, and what was heard of it at the broker."""

    def __init__(self, device: str, reading: str) -> None:
        """``reading`` is the topic of the device's telemetry."""
        self.processes: dict[str, dict[str, Any]] = {}
        self.routes: dict[str, dict[str, Any]] = {}
        self.states: list[dict[str, Any]] = []
        """Each state that the device was in, oldest first."""
        self.events: list[dict[str, Any]] = []
        """Each callback that the device fired, but for pongs."""
        self.info: dict[str, Any] = {}
        self.readings = 0
        self.reading: dict[str, Any] = {}
        self.heard: dict[str, Heard] = {}
        """The last message heard at the broker, by topic."""
        self.heard_count = 0
        self._device = f"devices/{device}"
        self._reading = f"{self._device}/{reading}"

    @property
    def state(self) -> dict[str, Any]:
        """The device's state as it is; empty before anything is known."""
        return self.states[-1] if self.states else {}

    def take_down(self, message: Message) -> None:
        """Take down a publication of the bus."""
        body: dict[str, Any] = msgspec.to_builtins(message.body)
        topic = message.subject
        kind, name, *rest = topic.split("/")
        if topic == self._reading:
            self.readings += 1
            self.reading = body
        elif topic == f"{self._device}/state":
            self.states.append(body)
        elif topic == f"{self._device}/info":
            self.info = body
        elif kind == "processes" and rest == ["state"]:
            self.processes[name] = body
        elif kind == "routes":
            self.routes[name] = body
        elif topic.startswith(f"{self._device}/events/") and body["event"] != "pong":
            self.events.append(body)

    def hear(self, heard: Heard) -> None:
        """Take down a message that the witness heard; its own calls do not count."""
        self.heard[heard.topic] = heard
        if not heard.topic.endswith("/call"):
            self.heard_count += 1

    def happened(self, event: str) -> list[dict[str, Any]]:
        """Return each time that the device fired ``event``."""
        return [one for one in self.events if one["event"] == event]

    def all_live(self, *names: str) -> bool:
        """Tell whether the processes ``names`` have been born."""
        return all(self.processes.get(name, {}).get("state") == "living" for name in names)

    def of_processes(self) -> str:
        """Return how each process stands, in words."""
        return "; ".join(
            f"{name}: {told['state']}, {told['cause']}" for name, told in self.processes.items()
        )

    def kept(self, topic: str) -> dict[str, Any]:
        """Return what was last heard on ``topic`` at the broker; empty where that is no object."""
        heard = self.heard.get(topic)
        body = heard.body() if heard is not None else None
        return body if isinstance(body, dict) else {}

    def cause(self, route: str) -> str:
        """Return why ``route`` stands as it does, in its own words."""
        if route not in self.routes:
            return str(self.processes.get(route, {}).get("cause", "it has said nothing yet"))
        return str(self.routes[route]["cause"])
