"""A fleet of gateways against one mosquitto: ``python -m benchmarks.fleet --nodes 1000``.

Every node has the gateway's own session, with its connection, client id, will, birth and
a real gateway's retained messages; 250 of them share an OS process. An operator is a
program of its own. What is said here of *cores* is processor seconds in each second.

``cold``: seconds from the start until each node was connected. ``blink``, ``outage`` and
``outage_without_jitter``: the broker is killed, and started at once or after ``--outage``
seconds; the same of each node from that start on, the baseline being a back-off that
draws no lots. ``wanted`` is when the node's wait was over: what a broker would see of nodes
that are machines of their own. ``told_again_s`` is until all that is retained is there again.
``broker``: what it costs. ``windows``: what goes on, each for a part of ``--seconds``:

- ``idle``: keepalive alone; ``unheard``: telemetry and nobody subscribed;
- ``unheard_with_pongs``: besides, each driver's heartbeat as an event at QoS 1;
- ``devices``, ``devices_qos1``: an operator subscribed to ``gateway/+/devices/#`` who
  calls a node now and then; ``everything``: to ``gateway/#``; ``overview``: to status and
  health alone. ``latency`` is from a node's `publish` to the operator's callback, ``probes``
  the same of what the operator sends to itself, and so the broker's part alone;
  ``snapshot`` what a new subscriber is first told. ``machine`` is how late an idle
  program was woken meanwhile, the baseline of that.

``load_before``: what else the machine had to do. ``shipped_snapshot``: the same snapshot from a
broker with its shipped queue. ``million``: how a million come back, from the policy alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from benchmarks.fleet_broker import SHIPPED_QUEUE, Broker
from benchmarks.fleet_figures import connecting
from benchmarks.fleet_node import retained_of
from benchmarks.fleet_picture import picture
from benchmarks.fleet_program import raise_descriptors
from benchmarks.fleet_scene import LIMIT, SETTLE, Scene
from benchmarks.fleet_stampede import million
from benchmarks.measure import show
from routes.mqtt.settings import SessionSettings

REST = 10.0
"""Seconds after which every session takes its connection for settled: its waits begin anew."""
WINDOWS = 7
"""Parts that ``--seconds`` is divided into."""
AMPLE_QUEUE = 1_000_000
"""``max_queued_messages`` with which a whole fleet's retained messages reach a subscriber."""

COUNTED = ("published", "overheard", "attempts", "connections", "faults", "dropped", "late")


def measure(nodes: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """Return every figure of one fleet."""
    raise_descriptors(nodes + 200)  # mosquitto inherits them
    broker = Broker(max_queued=AMPLE_QUEUE, nodelay=chosen.nodelay)
    scene = Scene(
        nodes, broker, devices=chosen.devices, neighbours=chosen.neighbours, seed=chosen.seed
    )
    with scene:
        say(nodes, "connecting")
        found: dict[str, Any] = {
            "nodes": nodes,
            "retained_per_node": retained_of(chosen.devices),
            "load_before": [round(load, 1) for load in os.getloadavg()],
        }
        found["cold"] = connecting(scene.connect(), nodes)
        found |= costs(scene, chosen)
        found["windows"] = windows(scene, chosen)
        say(nodes, "killing the broker for a blink")
        found["blink"] = outage(scene, chosen, 0.0, jitter=True)
        sleep(REST)
        say(nodes, "killing the broker")
        found["outage"] = outage(scene, chosen, chosen.outage, jitter=True)
        sleep(REST)
        say(nodes, "killing the broker, without jitter")
        scene.broker.max_queued = SHIPPED_QUEUE
        found["outage_without_jitter"] = outage(scene, chosen, chosen.outage, jitter=False)
        scene.watch("gateway/#")
        found["shipped_snapshot"] = scene.operator.ask(
            "snapshot", expected=found["retained"], timeout=LIMIT
        )
        counts = scene.counts()
        found["counts"] = {name: counts[name] for name in COUNTED}
    return found


def costs(scene: Scene, chosen: argparse.Namespace) -> dict[str, Any]:
    """Have all nodes settle in; return what that costs the broker and the clients."""
    sleep(SETTLE)
    nodes = scene.nodes
    connected = scene.broker.resident
    began = monotonic()
    scene.all("settle_in")
    scene.flush()
    took = monotonic() - began
    sleep(SETTLE)
    settled, counts = scene.broker.resident, scene.counts()
    retained = retained_of(chosen.devices) * nodes
    return {
        "retained": retained,
        "broker": {
            "empty_mb": round(scene.empty_bytes / 1e6, 2),
            "connected_mb": round(connected / 1e6, 2),
            "settled_mb": round(settled / 1e6, 2),
            "bytes_per_connection": round((connected - scene.empty_bytes) / nodes),
            "bytes_per_retained": round((settled - connected) / (retained - nodes)),
            "descriptors": scene.broker.descriptors,
            "settling_s": round(took, 2),
        },
        "clients": {
            "kilobytes_per_node": round(counts["bytes"] / nodes / 1000, 1),
            "threads_per_node": round(counts["threads"] / nodes, 2),
            "descriptors_per_node": round(counts["descriptors"] / nodes, 2),
            "os_processes": len(scene.hosts),
        },
    }


def windows(scene: Scene, chosen: argparse.Namespace) -> dict[str, Any]:
    """Return what each kind of traffic and of subscriber costs."""
    seconds, found = chosen.seconds / WINDOWS, {}
    nodes, devices = scene.nodes, chosen.devices
    # But for the report of the processes, which is of no device.
    of_devices = (retained_of(devices) - retained_of(0)) * nodes

    def unheard(name: str, rate: float, pongs: float) -> None:
        say(nodes, name)
        scene.all("traffic", rate=rate, pongs=pongs, qos=0)
        found[name] = scene.window(seconds)
        del found[name]["operator_cores"]

    def heard(name: str, *topics: str, retained: int, qos: int = 0, calls: float = 0.0) -> None:
        say(nodes, name)
        scene.all("traffic", rate=chosen.rate, pongs=0.0, qos=qos)
        found[name] = scene.watched_window(*topics, retained=retained, seconds=seconds, calls=calls)

    unheard("idle", 0.0, 0.0)
    unheard("unheard", chosen.rate, 0.0)
    unheard("unheard_with_pongs", chosen.rate, float(devices))
    devices_filter = "gateway/+/devices/#"
    heard("devices", devices_filter, retained=of_devices, calls=chosen.calls)
    heard("devices_qos1", devices_filter, retained=of_devices, calls=chosen.calls, qos=1)
    heard("everything", "gateway/#", retained=retained_of(devices) * nodes)
    heard("overview", "gateway/+/status", "gateway/+/health", retained=2 * nodes)
    return found


def outage(
    scene: Scene, chosen: argparse.Namespace, seconds: float, *, jitter: bool
) -> dict[str, Any]:
    """Kill the broker, start it anew; return how the nodes come back, telemetry going on."""
    scene.all("traffic", rate=chosen.rate, pongs=0.0, qos=0)
    scene.all("jitter", on=jitter)
    scene.all("mark")
    before = scene.counts()
    scene.broker.kill()
    sleep(seconds)
    scene.broker.start()
    up = monotonic()
    moments = scene.connections()
    scene.flush()
    told = monotonic() - up
    after = scene.counts()
    return {
        "outage_s": seconds,
        **connecting([at - up for at, _ in moments], scene.nodes),
        "wanted": connecting([wanted - up for _, wanted in moments], scene.nodes),
        "told_again_s": round(told, 2),
        "broker_cpu_s": round(scene.broker.cpu, 2),
        "attempts_per_node": round((after["attempts"] - before["attempts"]) / scene.nodes, 2),
        "dropped": after["dropped"] - before["dropped"],
    }


def fleet(chosen: argparse.Namespace) -> dict[str, Any]:
    """Return what was found for all sizes that were asked for."""
    settings = SessionSettings()
    return {
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "mosquitto": Broker.version(),
        },
        "chosen": {
            name: value for name, value in vars(chosen).items() if name not in ("json", "picture")
        },
        "keepalive_s": settings.keepalive,
        "runs": [measure(nodes, chosen) for nodes in chosen.nodes],
        "million": [
            million(outage=away, per_second=10_000, first=first, ceiling=ceiling)
            for away in (0.0, 60.0, 600.0)
            for first, ceiling in ((settings.retry_first, settings.retry_ceiling), (60.0, 600.0))
        ],
    }


def say(nodes: int, what: str) -> None:
    """Tell whoever waits how far this is; standard output is for the result."""
    print(f"fleet of {nodes}: {what}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="A fleet of gateways against one mosquitto.")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1000], help="how many (1000)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of telemetry, in all (60)")
    parser.add_argument("--rate", type=float, default=1.0, help="readings of a node a second (1)")
    parser.add_argument("--calls", type=float, default=5.0, help="calls a second, to any node (5)")
    parser.add_argument("--devices", type=int, default=2, help="of each node (2)")
    parser.add_argument("--outage", type=float, default=10.0, help="seconds without a broker (10)")
    parser.add_argument("--neighbours", action="store_true", help="each hears the others' status")
    parser.add_argument("--nodelay", action="store_true", help="set_tcp_nodelay at the broker")
    parser.add_argument("--seed", type=int, default=1, help="of the nodes' lots (1)")
    parser.add_argument("--picture", type=Path, help="draw an SVG of it to this file")
    chosen = parser.parse_args()
    if min(chosen.nodes) < 1 or chosen.devices < 1 or chosen.rate <= 0:
        parser.error("--nodes, --devices and --rate are more than 0")
    # Both ways through all that is to be ended; a shell starts its background deaf to the first.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        found = fleet(chosen)
    except KeyboardInterrupt:
        print("interrupted; the nodes and the broker are ended", file=sys.stderr)
        raise SystemExit(130) from None
    if chosen.picture is not None:
        chosen.picture.write_text(picture(found), encoding="utf-8")
    if chosen.json:
        print(json.dumps(found, indent=2))
        return
    for run in found["runs"]:
        windows_of_it = run.pop("windows")
        show(run, as_json=False)
        for name, window in windows_of_it.items():
            show({name: window}, as_json=False)


if __name__ == "__main__":
    main()
