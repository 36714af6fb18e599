"""The gateways that a broker knows, as what they retain there says: for ``gateway fleet``.

A mere listener: it publishes nothing, has no will, and leaves no session behind. It
speaks MQTT 3.1.1, which every broker does, and asks for QoS 0.

Refused: what is no status, no health report, no device's state (counted); more than
`MOST` gateways, or `MOST_DEVICES` of all of them. What goes wrong with the connection is a
`LinkLostError` that says why.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from time import monotonic, time
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from gateway.errors import LinkLostError
from routes.mqtt import causes
from routes.mqtt.connection import Connection
from routes.mqtt.incoming import Incoming
from routes.mqtt.login import read_login
from routes.mqtt.settings import SessionSettings
from routes.mqtt.topics import ROOT, from_level

MOST = 100_000
"""Gateways that are listed at the most."""

MOST_DEVICES = 1_000_000
"""Devices that are counted at the most, of all gateways together."""

PATTERNS = (f"{ROOT}/+/status", f"{ROOT}/+/health", f"{ROOT}/+/devices/+/state")

QUIET = 0.5
"""Seconds without another message after which a broker has told all that it retained."""


class _Status(msgspec.Struct, frozen=True):
    online: bool
    cause: str = ""
    since: float | None = None
    version: str = ""


class _Problem(msgspec.Struct, frozen=True):
    what: str
    level: str = ""
    since: float | None = None


class _Health(msgspec.Struct, frozen=True):
    verdict: str = ""
    problems: tuple[_Problem, ...] = ()


class _Device(msgspec.Struct, frozen=True):
    connected: bool = False


T = TypeVar("T")


class Listing:
    """What was heard, put together; opens nothing."""

    def __init__(self) -> None:
        self.heard = 0
        self.refused = 0
        self._statuses: dict[str, _Status] = {}
        self._health: dict[str, _Health] = {}
        self._devices: dict[str, dict[str, bool]] = {}
        self._device_count = 0

    def hear(self, incoming: Incoming) -> None:
        """Take in what a gateway retains, or no longer; leave out what is nonsense."""
        self.heard += 1
        try:
            _, level, kind, *rest = incoming.topic.split("/")
            self._take(from_level(level), kind, rest, incoming.payload)
        except (ValueError, msgspec.DecodeError, RecursionError):
            self.refused += 1

    def _take(self, node: str, kind: str, rest: list[str], payload: bytes) -> None:
        # Half a surrogate pair can be spelt in a topic, and be printed nowhere.
        node.encode()
        if kind == "status":
            _keep(self._statuses, node, payload, _Status)
        elif kind == "health":
            _keep(self._health, node, payload, _Health)
        elif kind == "devices" and len(rest) == 2:
            self._take_device(node, rest[0], payload)

    def _take_device(self, node: str, name: str, payload: bytes) -> None:
        devices = self._devices.get(node, {})
        before = len(devices)
        if payload:
            device = msgspec.json.decode(payload, type=_Device)
            if name not in devices and self._device_count >= MOST_DEVICES:
                raise ValueError("one device too many")
            devices[name] = device.connected
            self._devices[node] = devices
        else:
            devices.pop(name, None)
            if not devices:
                self._devices.pop(node, None)
        self._device_count += len(devices) - before

    def nodes(self) -> list[dict[str, Any]]:
        """Return one entry a gateway, by name."""
        return [self._describe(node, status) for node, status in sorted(self._statuses.items())]

    def _describe(self, node: str, status: _Status) -> dict[str, Any]:
        devices = self._devices.get(node, {})
        health = self._health.get(node)
        return {
            "node": node,
            "online": status.online,
            "cause": status.cause,
            "since": status.since,
            "version": status.version,
            # What an absent gateway said of its devices and its health is no news.
            "devices": {
                "connected": sum(devices.values()) if status.online else None,
                "total": len(devices),
            },
            "verdict": health.verdict if health and status.online else None,
            "problems": (
                [msgspec.to_builtins(problem) for problem in health.problems]
                if health and status.online
                else []
            ),
        }


def _keep(known: dict[str, T], node: str, payload: bytes, kind: type[T]) -> None:
    """Note what ``node`` says, or that it says nothing any more."""
    if not payload:
        known.pop(node, None)
    elif node not in known and len(known) >= MOST:
        raise ValueError("one gateway too many")
    else:
        known[node] = msgspec.json.decode(payload, type=kind)


class Fleet:
    """A listener at one broker; ``with`` connects and hangs up. For one thread."""

    def __init__(self, settings: SessionSettings) -> None:
        self.listing = Listing()
        self._settings = settings
        self._url = settings.url
        self._client_id = f"gateway-fleet-{socket.gethostname()[:32]}-{os.urandom(4).hex()}"
        self._connection: Connection | None = None
        self._never = -1

    def __enter__(self) -> Self:
        settings = self._settings
        self._never = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            self._connection = Connection(
                self._url,
                version="3.1.1",
                login=read_login(settings, settings.client_id or self._client_id),
                will=None,
                keepalive=settings.keepalive,
                connect_timeout=settings.connect_timeout,
                packet_limit=settings.max_payload + 1024,
                on_message=self.listing.hear,
                on_acknowledged=lambda letter, reason: None,
            )
            self._open(self._connection)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            self._connection.disconnect()
        self._close()

    def turn(self, seconds: float) -> bool:
        """Listen for up to ``seconds``; return whether anything was heard."""
        connection = self._connection
        assert connection is not None
        before, deadline = self.listing.heard, monotonic() + seconds
        while (left := deadline - monotonic()) > 0 and self.listing.heard == before:
            if not connection.turn(min(left, 1.0), self._never):
                raise LinkLostError(self._why(connection))
            if connection.denied_subscriptions:
                denied = ", ".join(connection.denied_subscriptions)
                raise LinkLostError(f"the broker does not let us listen to {denied}")
        return self.listing.heard != before

    def settle(self, most: float = 10.0) -> None:
        """Listen until the broker has told what it retained, for ``most`` seconds."""
        deadline = monotonic() + most
        while self.turn(QUIET) and monotonic() < deadline:
            pass

    def _open(self, connection: Connection) -> None:
        timeout = self._settings.connect_timeout
        try:
            connection.open()
        except (OSError, UnicodeError) as error:
            raise LinkLostError(self._of_error(error)) from error
        self._turn_until(connection, lambda: connection.admitted, timeout)
        connection.subscribe(PATTERNS)
        # On a long line what is retained comes as late as this.
        self._turn_until(connection, lambda: connection.is_subscribed, timeout)

    def _turn_until(
        self, connection: Connection, is_done: Callable[[], bool], timeout: float
    ) -> None:
        deadline = monotonic() + timeout
        while not is_done():
            left = deadline - monotonic()
            if left <= 0:
                raise LinkLostError(causes.of_silence(self._url, timeout))
            if not connection.turn(left, self._never) and not is_done():
                raise LinkLostError(self._why(connection))

    def _why(self, connection: Connection) -> str:
        url, settings, client_id = self._url, self._settings, self._client_id
        refusal, ending, error = connection.refusal, connection.ending, connection.error
        if refusal is not None:
            cause = causes.of_refusal(refusal.code, refusal.name, settings.user, client_id)
            return cause + refusal.quote
        if connection.oversized:
            return f"a message of {connection.oversized} bytes is over max_payload"
        if connection.violation:
            return causes.of_violation(url, connection.violation)
        if ending is not None and connection.said_goodbye:
            return causes.of_goodbye(ending.code, ending.name, client_id) + ending.quote
        if ending is not None and ending.code == causes.KEEPALIVE:
            return causes.of_no_answer(connection.keepalive)
        if error is not None and not causes.is_hang_up(error):
            return self._of_error(error)
        return causes.of_silent_close(url, admitted=connection.admitted)

    def _of_error(self, error: BaseException) -> str:
        return causes.of_error(error, self._url, self._settings.connect_timeout, now=time())

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        never, self._never = self._never, -1
        if never >= 0:
            os.close(never)
