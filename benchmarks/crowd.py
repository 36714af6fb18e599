"""Two hundred boards at ten frames a second each, in one gateway.

The boards are simulated by a program of their own, which is not counted. The
gateway is an application as `gateway run` builds one: the serial router in an
OS process of its own, with a thread for each device, and one subscriber in
another OS process who hears every reading and every state.

``lateness``: from the moment at which a board's own clock says that a reading
was due until the subscriber holds it; what the simulating program was late
itself is in it. ``machine_p99_ms``: how late a program that does nothing was
woken meanwhile, the baseline of that. ``cores``: CPU seconds of all the gateway's OS processes, the
subscriber's among them, for each second that was watched; ``serial_cores`` is
the router's share. ``pss_mb``: proportional set size of all of them.
``stale``: devices that were called stale at any time. ``expected`` and
``heard`` are readings while it was watched, ``dropped`` what the subscriber was
too slow for meanwhile. At the start, when all boards tell of themselves at
once, readings give way to states (``dropped_at_the_start``).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.footprint import cpu_seconds, parent, pss
from benchmarks.measure import show
from benchmarks.metronome import Metronome
from benchmarks.simulated_crowd import name_of, simulated_crowd
from drivers.bench_board.driver import BenchBoard, BenchBoardSettings
from gateway.application import Application
from gateway.hosting.hosted_device import HostedDevice
from gateway.mail.message import Message
from gateway.process.process import Process
from routes.serial.router import SerialRouter
from routes.serial.settings import SerialSettings

START = 60.0
"""Seconds that all boards together may take to be connected."""
MOVES = 16
"""Letters that there is room for at a reader, for each device."""
SETTLE = 2.0
"""Seconds between the last connection and the first measurement."""


class Listener(Process):
    """Hears every reading; measures for a while once all boards are connected; ends."""

    found: dict[str, Any]
    count: int
    seconds: float
    began: dict[str, float]

    def birth(self) -> None:
        self.states: dict[str, str] = {}
        self.called: Counter[str] = Counter()
        self.late: list[float] = []
        self.measuring = False
        self.next_step = monotonic() + START
        self.frequency = 4.0
        self.subscribe("devices/+/state", self.on_state)
        self.subscribe("devices/+/analogue", self.on_analogue)

    def on_state(self, message: Message) -> None:
        name = message.subject.split("/")[1]
        connected_before = sum(state in ("proven", "healthy") for state in self.states.values())
        self.states[name] = message.body["state"]
        self.called[message.body["state"]] += 1
        connected = sum(state in ("proven", "healthy") for state in self.states.values())
        if connected == self.count and connected_before < connected:
            self.next_step = monotonic() + SETTLE

    def on_analogue(self, message: Message) -> None:
        if self.measuring:
            due = self.began[message.subject.split("/")[1]] + message.body.milliseconds / 1000
            self.late.append(monotonic() - due)

    def life(self) -> None:
        """Begin to measure, or end: whichever is due."""
        if monotonic() < self.next_step:
            return
        if not self.measuring:
            self.pids = self._pids()
            self.dropped = self._dropped()
            self.cpu = {name: cpu_seconds(pid) for name, pid in self.pids.items()}
            self.metronome = Metronome()
            self.measuring, self.since = True, monotonic()
            self.next_step = self.since + self.seconds
            return
        watched = monotonic() - self.since
        used = {name: cpu_seconds(pid) - self.cpu[name] for name, pid in self.pids.items()}
        machine = self.metronome.stop()
        dropped = self._dropped() - self.dropped
        self.found |= {
            "watched": watched,
            "cpu": used,
            "pss": sum(map(pss, self.pids.values())),
            "descriptors": len(os.listdir(f"/proc/{self.pids['serial']}/fd")),
            "late": self.late,
            "machine": machine,
            "states": dict(Counter(self.states.values())),
            "stale": self.called["stale"],
            "failed": self.called["failed"],
            "dropped": dropped,
            "dropped_before": self.dropped,
        }
        self.die()

    def death(self) -> None:
        """Leave no metronome behind, whatever happened."""
        if self.measuring:
            self.metronome.close()

    def _dropped(self) -> int:
        statistics = self.wait_for_reply(self.send("serial", "$statistics")).body
        lost: dict[str, int] = statistics["publications_dropped"]
        return sum(lost.values()) + self._box.publications_dropped

    def _pids(self) -> dict[str, int]:
        serial = self.wait_for_reply(self.send("serial", "pid")).body
        return {"listener": os.getpid(), "serial": serial, "fork_server": parent(serial)}


class Router(SerialRouter):
    """The serial router, which also says who it is."""

    def start(self) -> None:
        self.add_filter(subject="^pid$", recipient="^serial$", callback=self.on_pid)
        super().start()

    def on_pid(self, message: Message) -> None:
        self.reply(message, os.getpid())


def measure(count: int, hz: int, seconds: float) -> dict[str, Any]:
    """Return what was found, in seconds, bytes and CPU seconds."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, simulated_crowd(Path(folder), count) as began:

        class House(Application):
            """The serial router around all of them."""

            global_frequency = None
            # As `gateway run` sizes them: at the start every device moves five times at once.
            mailbox_size = max(256, MOVES * count)

            def build(self) -> None:
                settings = BenchBoardSettings(stream_hz=hz)
                devices = [
                    HostedDevice(
                        name, BenchBoard, SerialSettings(port=f"{folder}/{name}"), settings
                    )
                    for name in map(name_of, range(count))
                ]
                self.add_process(
                    "serial", Router, mode="fork", route="serial", parameters={"devices": devices}
                )

        given = {"found": found, "count": count, "seconds": seconds, "began": began}
        if House(main=type("Listener", (Listener,), given)).run():
            raise SystemExit("the application failed; see the log above")
    return found


def figures(found: dict[str, Any], count: int, hz: int) -> dict[str, Any]:
    """Return what a person wants to know of ``found``."""
    late = sorted(found["late"])
    machine = sorted(found["machine"])
    watched = found["watched"]
    return {
        "devices": count,
        "seconds": round(watched, 1),
        "states": found["states"],
        "stale": found["stale"],
        "failed": found["failed"],
        "expected": round(count * hz * watched),
        "heard": len(late),
        "dropped": found["dropped"],
        "dropped_at_the_start": found["dropped_before"],
        "lateness_p50_ms": round(late[len(late) // 2] * 1000, 2),
        "lateness_p99_ms": round(late[int(len(late) * 0.99)] * 1000, 2),
        "machine_p99_ms": round(machine[int(len(machine) * 0.99)] * 1000, 2),
        "lateness_max_ms": round(late[-1] * 1000, 2),
        "cores": round(sum(found["cpu"].values()) / watched, 3),
        "serial_cores": round(found["cpu"]["serial"] / watched, 3),
        "pss_mb": round(found["pss"] / 1e6, 1),
        "serial_descriptors": found["descriptors"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Many boards in one gateway.")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to watch (30)")
    parser.add_argument("--devices", type=int, default=200, help="how many boards (200)")
    parser.add_argument("--hz", type=int, default=10, help="readings a second of each (10)")
    chosen = parser.parse_args()
    found = measure(chosen.devices, chosen.hz, chosen.seconds)
    if not found or not found["late"]:
        raise SystemExit("nothing was heard; see the log above")
    show(figures(found, chosen.devices, chosen.hz), as_json=chosen.json)


if __name__ == "__main__":
    main()
