"""Telemetry through the mqtt route to a broker, beside paho alone at the same mosquitto.

``durable_qos1_vs_paho_qos1``: messages a second, at QoS 1. A process publishes on the bus;
each message goes into its file, from there to the broker, and out of the file once the
broker has acknowledged it. The baseline hands the same payloads to
`paho.mqtt.client.Client.publish`, with its thread (``loop_start``) and its window of 20,
and keeps them in memory. Both take turns at the same broker; at each turn both end
with the last acknowledgement.

``added_latency_p50_ms``: one message at a time, from `publish` to a subscriber's callback,
through the gateway less through paho.

``offline``: 200,000 messages while the broker is away: how much more memory, files
in memory included, the application has in the end than at the start.

``back``: 50,000 have waited and the broker comes back: until all have arrived, and how late
what is published meanwhile comes on a topic that did not wait.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from paho.mqtt.client import Client as Paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from benchmarks.measure import pinned, show
from gateway.application import Application
from gateway.mail.codec import to_json
from gateway.mail.message import Message
from gateway.process.process import Process
from routes.mqtt.router import MqttRouter
from routes.mqtt.settings import Settings
from routes.mqtt.spool_settings import SpoolSettings
from tests.lab.mosquitto import Mosquitto

TOPIC, LIVE = "devices/board/number", "devices/board/live"
TURNS = 6
PATIENCE = 300.0
"""Seconds after which something has hung."""


class Counted(MqttRouter):
    """Answers whoever asked once so many more letters are done with."""

    _wanted = 0
    _asker: Message | None = None

    def birth(self) -> None:
        super().birth()
        self.add_filter(subject="^arm$", callback=self._on_arm)
        self.add_filter(subject="^await$", callback=self._on_await)

    def _on_arm(self, message: Message) -> None:
        assert self._forwarder is not None
        self._wanted = self._forwarder.confirmed + message.body
        self.reply(message)

    def _on_await(self, message: Message) -> None:
        self._asker = message
        self._tell_if_counted()

    def _on_bell(self, events: int) -> None:
        super()._on_bell(events)
        self._tell_if_counted()

    def life(self) -> None:
        super().life()
        self._tell_if_counted()

    def _tell_if_counted(self) -> None:
        asker, forwarder = self._asker, self._forwarder
        if asker is not None and forwarder is not None and forwarder.confirmed >= self._wanted:
            self._asker = None
            self.reply(asker)


class Publisher(Process):
    """Publishes as many messages as it is told to, as fast as it can, or so many a second."""

    def birth(self) -> None:
        self.add_filter(subject="^publish$", callback=self._on_publish)
        self.add_filter(subject="^rate$", callback=self._on_rate)

    def _on_publish(self, message: Message) -> None:
        for _ in range(message.body):
            self.publish(TOPIC, body())
        self.reply(message)

    def _on_rate(self, message: Message) -> None:
        self.frequency = float(message.body)
        self.reply(message)

    def life(self) -> None:
        self.publish(LIVE, body())


def body() -> dict[str, Any]:
    """Return some 100 bytes of telemetry, with the time."""
    return {"at": time.time(), "text": "x" * 60}


class Main(Process):
    """Does the measuring while the application runs, and ends it."""

    job: Callable[[Main], Any]
    result: Any = None

    def birth(self) -> None:
        type(self).result = type(self).job(self)
        self.die()

    def ask(self, recipient: str, subject: str, asked: Any = None) -> Any:
        """Return the body of the answer."""
        return self.wait_for_reply(self.send(recipient, subject, asked), PATIENCE).body

    def count(self, messages: int) -> float:
        """Publish; return how many a second went through to the acknowledgement."""
        self.ask("mqtt", "arm", messages)
        began = time.perf_counter()
        self.send("publisher", "publish", messages)
        self.ask("mqtt", "await")
        return messages / (time.perf_counter() - began)


class Bench(Application):
    """A publisher and the mqtt route, each an OS process of its own."""

    broker = ""
    folder = Path()

    def build(self) -> None:
        spool = SpoolSettings(flash=str(self.folder / "flash"))
        settings = Settings(broker=self.broker, telemetry_qos=1, spool=spool, retry_ceiling=1.0)
        self.add_process(
            "mqtt",
            Counted,
            mode="fork",
            route="mqtt",
            parameters={"settings": settings, "node": "bench"},
        )
        self.add_process("publisher", Publisher, mode="fork", depends=["mqtt"])


def with_gateway(broker: Mosquitto, folder: Path, job: Callable[[Main], Any]) -> Any:
    """Run the application around ``job``; return what that found."""
    main = type("Job", (Main,), {"job": staticmethod(job)})
    bench = Bench(main=main, sockets=folder / "run")
    bench.broker, bench.folder = broker.url, folder
    if bench.run():
        raise SystemExit("the application failed; see the log above")
    return main.result


class ByPaho:
    """The baseline: paho, with its own thread, window and queue."""

    def __init__(self, broker: Mosquitto) -> None:
        self._client = Paho(
            CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, client_id="paho"
        )
        self._acknowledged = 0
        self._wanted = 0
        self._all = threading.Event()
        self._client.on_publish = self._on_publish
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()

    def _on_publish(self, *_: Any) -> None:
        self._acknowledged += 1
        if self._acknowledged == self._wanted:
            self._all.set()

    def count(self, messages: int) -> float:
        """Return how many messages a second are acknowledged."""
        self._all.clear()
        self._wanted = self._acknowledged + messages
        began = time.perf_counter()
        for _ in range(messages):
            self._client.publish("paho/number", to_json(body()), qos=1)
        assert self._all.wait(PATIENCE)
        return messages / (time.perf_counter() - began)

    def close(self) -> None:
        """Say goodbye."""
        self._client.disconnect()
        self._client.loop_stop()


def durable(broker: Mosquitto, folder: Path, messages: int) -> dict[str, Any]:
    """Return the rates through the gateway and by paho, and their ratio."""

    def job(main: Main) -> dict[str, Any]:
        paho = ByPaho(broker)
        main.count(500)
        paho.count(500)
        each = messages // TURNS
        turns = [(main.count(each), paho.count(each)) for _ in range(TURNS)]
        paho.close()
        return {
            "durable_qos1_vs_paho_qos1": round(median(ours / base for ours, base in turns), 2),
            "gateway_per_s": round(median(ours for ours, _ in turns)),
            "paho_per_s": round(median(base for _, base in turns)),
        }

    found: dict[str, Any] = with_gateway(broker, folder, job)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Telemetry to a broker, beside paho alone.")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--messages", type=int, default=20_000, help="of each kind (20000)")
    chosen = parser.parse_args()
    with Mosquitto() as broker, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with pinned():
            result = durable(broker, folder / "pinned", chosen.messages)
        result["unpinned"] = durable(broker, folder / "unpinned", chosen.messages)
    show(result, as_json=chosen.json)


if __name__ == "__main__":
    main()
