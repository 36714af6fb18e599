"""One gateway of a fleet, as its broker sees it.

The session is the gateway's own (`routes.mqtt.session.Session`), and so are the
topics, the calls' parser and the answers. What it keeps retained is what a real
gateway does that hosts bench boards: its status, its health, the states of four
processes, and of each device the state, the description, the moves and the claim.
There is no bus behind it and no driver: a call is answered on the spot.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from time import monotonic
from typing import Any

from drivers.bench_board.driver import BenchBoard
from gateway.clock import RealClock
from gateway.device import Identity
from gateway.mail.codec import to_json
from routes.mqtt.commands import Refusal, parse_call, result_body
from routes.mqtt.connection_state import ConnectionState
from routes.mqtt.incoming import Incoming
from routes.mqtt.network_loop import Status
from routes.mqtt.properties import JSON, Properties
from routes.mqtt.session import Session
from routes.mqtt.settings import SessionSettings
from routes.mqtt.topics import Topics

PROCESSES = ("main", "serial", "mqtt", "unix_socket")
PER_DEVICE = 4
"""Retained messages that each device brings."""

CLOCK = RealClock()
INFO = BenchBoard.describe(Identity("1.0", model="bench-board", serial_number="BB-0001"))


class Jitter(Random):
    """Draws as always while `on`; else the longest wait, as a back-off without jitter would.

    ``due`` is when the wait that was drawn last is over, on the monotonic clock: then
    the node wants to connect, however slow the machine is that plays so many of them.
    """

    on = True
    due = 0.0

    def uniform(self, a: float, b: float) -> float:
        drawn = super().uniform(a, b) if self.on else b
        self.due = monotonic() + drawn
        return drawn


class Node:
    """One node; what is public is called by its host's threads."""

    def __init__(
        self,
        number: int,
        *,
        settings: SessionSettings,
        devices: int,
        neighbours: bool,
        seed: int,
        on_connected: Callable[[int, float], None],
    ) -> None:
        self.published = self.answered = self.refused = self.overheard = 0
        self._number = number
        self._random = Jitter(seed + number)
        self._on_connected = on_connected
        self._topics = Topics(name_of(number))
        self._devices = [device_name(each) for each in range(devices)]
        self._infos = dict.fromkeys(self._devices, INFO)
        self._max_payload = settings.max_payload
        status = {"node": name_of(number), "version": "1.0.0"}
        self.session = Session(
            settings,
            client_id=f"gateway-{name_of(number)}",
            status=Status(
                topic=self._topics.status,
                online=to_json(
                    {"online": True, "cause": "it was started", "since": CLOCK.time(), **status}
                ),
                offline=to_json({"online": False, "cause": "the gateway was stopped", **status}),
                lost=to_json({"online": False, "cause": "the gateway fell silent", **status}),
            ),
            clock=CLOCK,
            random=self._random,
            subscriptions=[self._topics.calls, *(["gateway/+/status"] if neighbours else [])],
            on_message=self._hear,
            on_state=self._on_state,
        )

    def settle_in(self) -> None:
        """Say all that is retained, as a gateway does once its devices are found."""
        for process in PROCESSES:
            self._keep(f"processes/{process}/state", _living())
        for device in self._devices:
            for topic, body in _device_bodies(device):
                self._keep(f"devices/{device}/{topic}", body)
        self.tell_health()

    def tell_health(self) -> None:
        """Say the retained report of how the machine is."""
        self._keep("health", _health(self._devices))

    def measure(self, qos: int) -> None:
        """Publish one reading of the first device, which bears the time of its publication."""
        self.published += 1
        body = to_json(
            {"volts": 2.4975, "raw": 511, "milliseconds": 3_600_000, "sent": monotonic()}
        )
        topic = self._topics.outward(f"devices/{self._devices[0]}/analogue")
        self.session.publish(topic, body, qos=qos)

    def pong(self) -> None:
        """Publish what every driver with a heartbeat does at each answer of its board."""
        self.published += 1
        body = {
            "device": self._devices[0],
            "event": "pong",
            "cause": "its heartbeat was answered",
            "at": CLOCK.time(),
        }
        topic = self._topics.outward(f"devices/{self._devices[0]}/events/pong")
        self.session.publish(topic, to_json(body), qos=1)

    def _keep(self, bus_topic: str, body: dict[str, Any]) -> None:
        self.published += 1
        self.session.publish(self._topics.outward(bus_topic), to_json(body), qos=1, retain=True)

    # On the session's thread

    def _on_state(self, state: ConnectionState) -> None:
        if state.is_connected:
            self._on_connected(self._number, self._random.due)

    def _hear(self, incoming: Incoming) -> None:
        if incoming.topic.endswith("/status"):
            self.overheard += 1
            return
        call = parse_call(incoming, self._topics, self._infos, max_payload=self._max_payload)
        if isinstance(call, Refusal):
            self.refused += 1
            return
        self.answered += 1
        body = result_body(call, None, max_payload=self._max_payload)
        reply_to = call.reply_to
        properties = Properties(correlation_data=reply_to.correlation_data, content_type=JSON)
        self.session.publish(reply_to.topic, body, qos=1, urgent=True, properties=properties)


def name_of(number: int) -> str:
    """Return the name of one node."""
    return f"node-{number:06}"


def device_name(number: int) -> str:
    """Return the name of one device of a node."""
    return f"board-{number}"


def retained_of(devices: int) -> int:
    """Return how many messages a node with so many devices keeps at the broker."""
    return 1 + 1 + len(PROCESSES) + PER_DEVICE * devices


def _living() -> dict[str, Any]:
    return {
        "state": "living",
        "cause": "its birth is over",
        "since": CLOCK.time(),
        "mode": "fork",
        "restarts": 0,
    }


def _device_bodies(device: str) -> list[tuple[str, dict[str, Any]]]:
    now = CLOCK.time()
    moves = [
        {"state": state, "event": event, "cause": cause, "at": now}
        for state, event, cause in (
            ("present", "found", f"it is plugged in: /dev/serial/by-id/{device}"),
            ("open", "opened", "its port was opened"),
            ("proven", "proven", "its handshake is over"),
            ("healthy", "heard", "it was heard"),
        )
    ]
    return [
        ("info", INFO),
        ("claim", {"node": "/dev/ttyACM0", "path": "/sys/devices/usb1/1-1", "properties": {}}),
        ("moves", {"moves": moves, "events": {"found": 1, "opened": 1, "proven": 1, "heard": 9}}),
        ("state", {"state": "healthy", "connected": True, "cause": "it was heard", "since": now}),
    ]


def _health(devices: list[str]) -> dict[str, Any]:
    """Return a body of the size that the report of such a gateway has, some 4 kB."""

    def aged(value: Any) -> dict[str, Any]:
        return {"value": value, "age": 0.4, "quality": "good"}

    def state(name: str, counters: int) -> dict[str, Any]:
        counted = {f"{name}_counter_{number:02}": number for number in range(counters)}
        told = {"state": "living", "cause": "its birth is over", "since": CLOCK.time()}
        return {**told, "age": 1.2, "quality": "good", "counters": aged(counted)}

    machine = ("load", "memory", "temperature", "under_voltage", "disk", "clock", "network")
    return {
        "time": CLOCK.time(),
        "verdict": "fine",
        "problems": [],
        "machine": {name: aged([0.31, 0.28, 0.25, 4]) for name in machine},
        "processes": {name: state(name, 0) for name in PROCESSES},
        "routes": {name: state(name, 24) for name in ("serial", "mqtt")},
        "devices": {name: state(name, 12) for name in devices},
        "errors": [],
    }
