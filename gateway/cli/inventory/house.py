"""What the running gateway says of its devices: state, claim, moves, description, counters.

Asked over its socket (`gateway.client`). A gateway that does not run, or lets this user
not look, is an answer too: `House.trouble` says so. Nothing here waits longer than
`PATIENCE` for what may never have been published.
"""

from __future__ import annotations

import contextlib
from time import monotonic
from typing import Any, Final

import msgspec

from gateway.client import Client, Tail
from gateway.errors import CallTimeoutError, GatewayError

PATIENCE: Final = 0.4
"""Seconds of silence after which no more of what is retained will come."""
LONGEST: Final = 2.0
"""Seconds for all of it, on a house that never falls silent."""
TOPICS: Final = ("claim", "moves", "info")


class HousedDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One device of the gateway's; a part that it has not published is None."""

    name: str
    state: dict[str, Any]
    claim: dict[str, Any] | None = None
    moves: dict[str, Any] | None = None
    info: dict[str, Any] | None = None
    counters: dict[str, Any] | None = None

    @property
    def node(self) -> str:
        """The file in /dev that it has; empty where it has none."""
        return str((self.claim or {}).get("node", ""))

    @property
    def sys_path(self) -> str:
        """The folder in /sys that it has; empty where it has none."""
        return str((self.claim or {}).get("path", ""))


class House(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's devices by name; ``trouble`` says why they are not known, if they are not."""

    devices: dict[str, HousedDevice] = {}
    time: float = 0.0
    trouble: str = ""

    def holder(self, node: str, sys_path: str) -> HousedDevice | None:
        """Return the device that has claimed ``node`` or what is at ``sys_path``."""
        for device in self.devices.values():
            if (node and device.node == node) or (sys_path and device.sys_path == sys_path):
                return device
        return None


def ask(socket: str | None) -> House:
    """Ask the gateway at ``socket``, or where it usually listens."""
    try:
        with Client(socket) as client:
            report = client.ps()
            told = _retained(client, [str(each["name"]) for each in report["devices"]])
    except GatewayError as error:
        return House(trouble=str(error))
    counters = _counters(report)
    devices = {
        name: HousedDevice(
            name=name,
            state={key: value for key, value in each.items() if key != "name"},
            counters=counters.get(name),
            **{topic: told[topic].get(name) for topic in TOPICS},
        )
        for each in report["devices"]
        if (name := str(each["name"]))
    }
    return House(devices=devices, time=float(report.get("time", 0.0)))


def _retained(client: Client, names: list[str]) -> dict[str, dict[str, Any]]:
    """Return what is retained of each of `TOPICS`, by device."""
    found: dict[str, dict[str, Any]] = {topic: {} for topic in TOPICS}
    if not names:
        return found
    deadline = monotonic() + LONGEST
    with contextlib.ExitStack() as stack:
        tails = {
            topic: stack.enter_context(client.tail(f"devices/+/{topic}", patience=PATIENCE))
            for topic in TOPICS
        }
        for topic, tail in tails.items():
            _read(tail, found[topic], set(names), deadline)
    return found


def _read(tail: Tail, found: dict[str, Any], names: set[str], deadline: float) -> None:
    with contextlib.suppress(CallTimeoutError):
        while not names <= found.keys() and monotonic() < deadline:
            publication = next(tail)
            name = publication.topic.split("/")[1]
            found[name] = publication.body if isinstance(publication.body, dict) else None


def _counters(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return each device's counters, from the statistics of the router that hosts it."""
    found: dict[str, dict[str, Any]] = {}
    for process in report.get("processes", ()):
        devices = (process.get("statistics") or {}).get("devices")
        if isinstance(devices, dict):
            found.update({name: each for name, each in devices.items() if isinstance(each, dict)})
    return found
