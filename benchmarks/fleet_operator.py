"""Who watches a fleet: ``python -m benchmarks.fleet_operator URL``, asked by lines of JSON.

A foreign client, as a dashboard is: paho with a thread of its own, MQTT 5, subscribed at
QoS 1. It counts what it is sent, apart what the broker had retained; it measures how
old each reading is on arrival, on the machine's monotonic clock; it calls nodes, with
response topic and correlation data, and times their answers. Nothing else is done with
a message, so that what is measured is the broker and a client, not a dashboard's drawing.
"""

from __future__ import annotations

import argparse
import os
import socket
import threading
from collections.abc import Sequence
from random import Random
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import msgspec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks.fleet_node import device_name, name_of
from benchmarks.fleet_program import serve
from benchmarks.footprint import pss

CONNECT = 30.0
"""Seconds that it may take to be connected and subscribed."""
QUIET = 2.0
"""Seconds without any retained message after which no more is coming."""
ANSWERS = "fleet/operator/answers"
PROBES = "fleet/operator/probes"
"""What it sends to itself: how long the broker alone takes, with no node in between."""


class Reading(msgspec.Struct):
    """What is looked at in a reading."""

    sent: float


class Operator:
    """One connection at a time; every method is called by `serve`'s thread."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 1883
        self._client: Client | None = None
        self._changed = threading.Condition()
        self._forget()

    def watch(self, topics: Sequence[str]) -> None:
        """Subscribe to ``topics`` on a connection of its own."""
        self._forget()
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        subscribed = threading.Event()

        def subscribe(*_: Any) -> None:
            self._began = monotonic()
            client.subscribe([(topic, 1) for topic in (*topics, ANSWERS, PROBES)])

        client.on_connect = subscribe
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = self._hear
        client.on_socket_open = _send_at_once
        self._client = client
        client.connect(self._host, self._port, keepalive=60)
        client.loop_start()
        if not subscribed.wait(CONNECT):
            raise SystemExit(f"the operator is not subscribed within {CONNECT:g} s")

    def snapshot(self, expected: int, timeout: float) -> dict[str, Any]:
        """Wait until so many retained messages have come, or no more do; say when, and how many."""
        limit = monotonic() + timeout
        with self._changed:
            while self._retained < expected and monotonic() < limit:
                before = self._retained
                self._changed.wait_for(
                    lambda: self._retained >= expected, min(QUIET, limit - monotonic())
                )
                if self._retained == before:
                    break
            return {
                "expected": expected,
                "messages": self._retained,
                "bytes": self._retained_bytes,
                "seconds": round(max(0.0, self._last_retained - self._began), 3),
            }

    def restart_count(self) -> None:
        """Count from now on."""
        with self._changed:
            self._messages = self._bytes = 0
            self._late.clear()

    def call(self, nodes: int, per_second: float, seconds: float, seed: int) -> dict[str, Any]:
        """Call nodes at random for ``seconds``; return how long answers and probes took."""
        random, client = Random(seed), self._client
        assert client is not None
        over, pause = monotonic() + seconds, threading.Event()
        asked: dict[bytes, float] = {}
        while monotonic() < over:
            node = name_of(random.randrange(nodes))
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ResponseTopic = ANSWERS
            properties.CorrelationData = number = str(len(asked)).encode()
            asked[number] = monotonic()
            topic = f"gateway/{node}/devices/{device_name(0)}/led/call"
            client.publish(topic, b'{"on": true}', qos=1, properties=properties)
            pause.wait(0.5 / per_second)
            client.publish(PROBES, repr(monotonic()).encode())
            pause.wait(0.5 / per_second)
        with self._changed:
            self._changed.wait_for(lambda: len(self._answers) >= len(asked), 10.0)
            took = [self._answers[each] - asked[each] for each in asked if each in self._answers]
            return {"asked": len(asked), "took": sorted(took), "probes": sorted(self._probes)}

    def report(self) -> dict[str, Any]:
        """Return what came since `restart_count`, and what this process costs."""
        with self._changed:
            return {
                "messages": self._messages,
                "bytes": self._bytes,
                "late": sorted(self._late),
                "pss": pss(os.getpid()),
            }

    def leave(self) -> None:
        """Disconnect; nothing is left of it."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _forget(self) -> None:
        with self._changed:
            self._messages = self._bytes = self._retained = self._retained_bytes = 0
            self._last_retained = self._began = monotonic()
            self._late: list[float] = []
            self._answers: dict[bytes, float] = {}
            self._probes: list[float] = []

    # On paho's thread

    def _hear(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        now = monotonic()
        size = len(message.payload) + len(message.topic)
        with self._changed:
            if message.retain:
                self._retained += 1
                self._retained_bytes += size
                self._last_retained = now
                self._changed.notify_all()
                return
            if message.topic == ANSWERS:
                self._answers[getattr(message.properties, "CorrelationData", b"")] = now
                self._changed.notify_all()
                return
            if message.topic == PROBES:
                self._probes.append(now - float(message.payload))
                return
            self._messages += 1
            self._bytes += size
            if message.topic.endswith("/analogue"):
                self._late.append(now - msgspec.json.decode(message.payload, type=Reading).sent)


def _send_at_once(_client: Client, _data: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def main() -> None:
    """Watch until standard input ends."""
    parser = argparse.ArgumentParser(description="Who watches a fleet.")
    parser.add_argument("url")
    operator = Operator(parser.parse_args().url)
    try:
        serve(
            {
                "watch": operator.watch,
                "snapshot": operator.snapshot,
                "restart_count": operator.restart_count,
                "call": operator.call,
                "report": operator.report,
                "leave": operator.leave,
            }
        )
    finally:
        operator.leave()


if __name__ == "__main__":
    main()
