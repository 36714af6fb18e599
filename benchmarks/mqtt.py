"""Telemetry through the mqtt route to a broker, beside paho alone at the same mosquitto.

``durable_qos1_vs_paho_qos1``: messages a second, at QoS 1. A process publishes on the bus;
each message goes into its file, from there to the broker, and out of the file once the
broker has acknowledged it. The baseline hands the same payloads to
`paho.mqtt.client.Client.publish`, with its thread (``loop_start``) and its window of 20,
and keeps them in memory. Both take turns at the same broker, and each turn ends with
the last acknowledgement.

``added_latency_p50_ms``: one message at a time, from `publish` to a subscriber's callback,
through the gateway less through paho.

``offline_mb``: so many messages while the broker is away: how much more memory, files in
memory included, all OS processes hold in the end than at the start.

``back``: so many have waited, and the broker comes back: until all have arrived, and how
late what is published meanwhile comes, on a topic that did not wait.

``flash``: ten messages a second: bytes written to storage, by the processes' accounts
(``/proc/<pid>/io``) and by the block layer's (``/sys/block``, whatever else the machine
writes counted in), connected for a while and cut off for as long.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from statistics import median
from typing import Any

from paho.mqtt.client import Client as Paho
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from benchmarks.footprint import pss
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
        self.reply(message, os.getpid())

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
        self._live, self.frequency = 0, 0.0
        self.add_filter(subject="^publish$", callback=self._on_publish)
        self.add_filter(subject="^rate$", callback=self._on_rate)

    def _on_publish(self, message: Message) -> None:
        for _ in range(message.body):
            self.publish(TOPIC, body())
        self.reply(message)

    def _on_rate(self, message: Message) -> None:
        self.frequency = float(message.body)
        self.reply(message, self._live)

    def life(self) -> None:
        self.publish(LIVE, body())
        self._live += 1


def body() -> dict[str, Any]:
    """Return some 100 bytes of telemetry, with the time."""
    return {"at": time.time(), "text": "x" * 60}


class Main(Process):
    """Does the measuring while the application runs, and ends it."""

    job: Callable[[Main], None]

    def birth(self) -> None:
        type(self).job(self)
        self.die()

    def ask(self, recipient: str, subject: str, asked: Any = None) -> Any:
        """Return the body of the answer."""
        return self.wait_for_reply(self.send(recipient, subject, asked), PATIENCE).body

    def count(self, messages: int) -> float:
        """Publish; return how many a second went through to the acknowledgement."""
        self.ask("mqtt", "arm", messages)
        began = time.perf_counter()
        self.ask("publisher", "publish", messages)
        self.ask("mqtt", "await")
        return messages / (time.perf_counter() - began)


class Bench(Application):
    """A publisher and the mqtt route, each an OS process of its own."""

    broker = ""
    flash = ""
    folder = Path()

    def build(self) -> None:
        spool = SpoolSettings(flash=str(Path(self.flash) / self.folder.name), live_first=(LIVE,))
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
    found: list[Any] = []
    given = {"job": staticmethod(lambda main: found.append(job(main)))}
    main = type("Job", (Main,), given)
    bench = Bench(main=main, sockets=folder / "run")
    bench.broker, bench.folder = broker.url, folder
    if bench.run():
        raise SystemExit("the application failed; see the log above")
    return found[0]


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

    def publish(self) -> None:
        """Publish one message."""
        self._wanted = -1
        self._client.publish("paho/number", to_json(body()), qos=1)

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


def latency(broker: Mosquitto, folder: Path, messages: int) -> dict[str, Any]:
    """Return how long a message is on its way, through the gateway and by paho, in ms."""

    def job(main: Main) -> dict[str, Any]:
        listener = Listener(broker, ["gateway/bench/devices/board/number", "paho/number"])
        paho = ByPaho(broker)
        ours, base = [], []
        for _ in range(messages):
            began = time.perf_counter()
            main.ask("publisher", "publish", 1)
            ours.append(listener.next_at() - began)
            began = time.perf_counter()
            paho.publish()
            base.append(listener.next_at() - began)
        paho.close()
        listener.close()
        added = (median(ours) - median(base)) * 1e3
        return {
            "added_latency_p50_ms": round(added, 3),
            "gateway_p50_ms": round(median(ours) * 1e3, 3),
            "gateway_p99_ms": round(sorted(ours)[int(len(ours) * 0.99)] * 1e3, 3),
            "paho_p50_ms": round(median(base) * 1e3, 3),
        }

    found: dict[str, Any] = with_gateway(broker, folder, job)
    return found


def offline(broker: Mosquitto, folder: Path, messages: int) -> dict[str, Any]:
    """Return how much memory ``messages`` cost while the broker is away, in MB."""

    def job(main: Main) -> dict[str, Any]:
        main.count(500)
        broker.kill()
        before = memory(main, folder)
        main.ask("publisher", "publish", messages)
        after = memory(main, folder)
        spool = main.ask("mqtt", "$statistics")["spool"]
        broker.start()
        return {
            "offline_mb": round(sum(after.values()) - sum(before.values()), 1),
            "messages": messages,
            **{f"{name}_mb_before": round(each, 1) for name, each in before.items()},
            **{f"{name}_mb_after": round(each, 1) for name, each in after.items()},
            "queued": spool["queued"],
            "dropped": spool["dropped"],
            "written_to_flash_mb": round(spool["flash"]["written_today"] / 1e6, 1),
        }

    found: dict[str, Any] = with_gateway(broker, folder, job)
    return found


def back(broker: Mosquitto, folder: Path, messages: int) -> dict[str, Any]:
    """Return how long ``messages`` that have waited take, and how late live ones are beside."""

    def job(main: Main) -> dict[str, Any]:
        main.count(500)
        broker.kill()
        main.ask("publisher", "publish", messages)
        route = main.ask("mqtt", "arm", messages)
        # Who listens is there first: what goes out before would seem to be lost.
        os.kill(route, signal.SIGSTOP)
        broker.start()
        listener = Listener(broker, ["gateway/bench/devices/board/+"])
        os.kill(route, signal.SIGCONT)
        began = time.time()
        main.ask("publisher", "rate", 20)
        main.ask("mqtt", "await")
        took = time.time() - began
        live = main.ask("publisher", "rate", 0)
        spool = main.ask("mqtt", "$statistics")["spool"]
        listener.wait_for("number", messages)
        listener.wait_for("live", live)
        late = listener.lateness("live", since=began)
        listener.close()
        return {
            "messages": messages,
            "seconds": round(took, 1),
            "live_messages": len(late),
            "live_late_p50_ms": round(median(late) * 1e3, 1),
            "live_late_worst_ms": round(max(late) * 1e3, 1),
            "lost": messages + live - listener.count("number") - listener.count("live"),
            "dropped": spool["dropped"],
        }

    found: dict[str, Any] = with_gateway(broker, folder, job)
    return found


def flash(broker: Mosquitto, folder: Path, seconds: float) -> dict[str, Any]:
    """Return what ten messages a second write to storage."""

    def job(main: Main) -> dict[str, Any]:
        main.ask("publisher", "rate", 10)
        main.light_sleep(5.0)
        connected = Written(main, folder)
        main.light_sleep(seconds)
        found = {"connected": connected.since(seconds)}
        broker.kill()
        cut_off = Written(main, folder)
        main.light_sleep(seconds)
        found["cut_off"] = cut_off.since(seconds)
        payload = 10 * seconds * len(to_json(body()))
        found["cut_off"]["times_the_payload"] = round(cut_off.bytes() / payload, 2)
        broker.start()
        return found

    found: dict[str, Any] = with_gateway(broker, folder, job)
    return found


class Written:
    """What our processes, and the whole machine, have written to storage since it was made."""

    def __init__(self, main: Main, folder: Path) -> None:
        self._pids = pids(main)
        self._device = block_device(Path(Bench.flash))
        os.sync()  # what others have written before is theirs
        self._before = self._now()

    def _now(self) -> tuple[int, int]:
        ours = 0
        for pid in self._pids:
            for line in Path(f"/proc/{pid}/io").read_text().splitlines():
                if line.startswith("write_bytes:"):
                    ours += int(line.split()[1])
        sectors = int((self._device / "stat").read_text().split()[6]) if self._device else 0
        return ours, sectors * 512

    def bytes(self) -> int:
        """Return what our processes have written."""
        return self._now()[0] - self._before[0]

    def since(self, seconds: float) -> dict[str, Any]:
        """Return both, in MB an hour."""
        ours, device = (now - then for now, then in zip(self._now(), self._before, strict=True))
        return {
            "mb_per_hour": round(ours / 1e6 / seconds * 3600, 3),
            "block_device_mb_per_hour": round(device / 1e6 / seconds * 3600, 1),
        }


def block_device(folder: Path) -> Path | None:
    """Return what /sys has of the device that ``folder`` lies on; None for none."""
    folder.mkdir(parents=True, exist_ok=True)
    number = folder.stat().st_dev
    found = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    return found if found.exists() else None


def pids(main: Main) -> set[int]:
    """Return the OS processes of the application, this one and the fork server among them."""
    return {*main.active_subprocesses().values(), os.getpid()}


def memory(main: Main, folder: Path) -> dict[str, float]:
    """Return what all OS processes hold (PSS), and the files in memory, in MB."""
    spool = folder / "run" / "bus" / "spool"
    files = sum(path.stat().st_blocks * 512 for path in spool.rglob("*"))
    return {"pss": sum(map(pss, pids(main))) / 1e6, "files": files / 1e6}


class Listener:
    """A subscriber at the broker, on paho's own thread."""

    def __init__(self, broker: Mosquitto, topics: list[str]) -> None:
        self._arrivals: SimpleQueue[float] = SimpleQueue()
        self._heard: dict[str, list[tuple[float, float]]] = {}
        self._subscribed = threading.Event()
        self._changed = threading.Condition()
        self._client = Paho(
            CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, client_id="listener"
        )
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        self._client.subscribe([(topic, 1) for topic in topics])
        assert self._subscribed.wait(PATIENCE)

    def _on_message(self, _client: Paho, _data: Any, message: MQTTMessage) -> None:
        now = time.time()
        self._arrivals.put(time.perf_counter())
        at = json.loads(message.payload)["at"]
        with self._changed:
            self._heard.setdefault(message.topic.rpartition("/")[2], []).append((at, now))
            self._changed.notify_all()

    def next_at(self) -> float:
        """Return when the next message came, on the performance counter."""
        return self._arrivals.get(timeout=PATIENCE)

    def count(self, name: str) -> int:
        """Return how many different messages came on a topic that ends with ``name``."""
        with self._changed:
            return len({at for at, _ in self._heard.get(name, [])})

    def wait_for(self, name: str, messages: int) -> None:
        """Wait until so many have come, or nothing more comes."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._heard.get(name, [])) >= messages, 10.0)

    def lateness(self, name: str, *, since: float) -> list[float]:
        """Return how late messages came that were published after ``since``, in seconds."""
        with self._changed:
            return [now - at for at, now in self._heard.get(name, []) if at > since]

    def close(self) -> None:
        """Say goodbye."""
        self._client.disconnect()
        self._client.loop_stop()


def main() -> None:
    """Measure and print; progress goes to the standard error stream."""
    parser = argparse.ArgumentParser(description="Telemetry to a broker, beside paho alone.")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--messages", type=int, default=20_000, help="through each way (20000)")
    parser.add_argument("--offline", type=int, default=200_000, help="without a broker (200000)")
    parser.add_argument("--waited", type=int, default=50_000, help="before it is back (50000)")
    parser.add_argument("--seconds", type=float, default=120.0, help="for each watch (120)")
    parser.add_argument("--memory", default="/dev/shm", help="a memory file system (/dev/shm)")
    parser.add_argument("--flash", default=".", help="a folder on storage (.)")
    parts = ("durable", "latency", "offline", "back", "flash")
    parser.add_argument("--only", choices=parts, action="append", help="one part, or several")
    chosen = parser.parse_args()
    result: dict[str, Any] = {}
    with (
        # What one listener is slow to take must not be dropped for it.
        Mosquitto(lines=["max_queued_messages 0"]) as broker,
        tempfile.TemporaryDirectory(dir=chosen.memory) as memory_name,
        tempfile.TemporaryDirectory(dir=chosen.flash, prefix=".bench-") as flash_name,
    ):
        Bench.flash = flash_name

        def run(name: str, measure: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
            print(f"{name} …", file=sys.stderr)
            found: dict[str, Any] = measure(broker, Path(memory_name) / name, *arguments)
            return found

        for part in chosen.only or parts:
            if part == "durable":
                with pinned():
                    result |= run("pinned", durable, chosen.messages)
                result["unpinned"] = run("unpinned", durable, chosen.messages)
            elif part == "latency":
                result |= run("latency", latency, chosen.messages // 20)
            elif part == "offline":
                result["offline"] = run("offline", offline, chosen.offline)
            elif part == "back":
                result["back"] = run("back", back, chosen.waited)
            else:
                result["flash"] = run("flash", flash, chosen.seconds)
    show(result, as_json=chosen.json)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
