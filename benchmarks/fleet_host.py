"""Some hundred nodes of a fleet in one OS process: ``python -m benchmarks.fleet_host``.

Asked by lines of JSON, as `benchmarks.fleet_program` describes. Each node has its own
session, and so its own thread, connection and client id; one thread more says
the telemetry of all of them, evenly spread over each second. Refused: more nodes
than there may be descriptors.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

from benchmarks.fleet_node import Jitter, Node
from benchmarks.fleet_program import raise_descriptors, serve
from benchmarks.footprint import pss
from routes.mqtt.settings import SessionSettings

PER_NODE = 4
"""Descriptors that one node may need at a time: its socket, its bell, those of a second try."""
SPARE = 64
HEALTH_EVERY = 30.0
"""Seconds between two health reports of one node."""
AT_ONCE = 32
"""Threads that take leave of the broker side by side."""


class Host:
    """The nodes, and the thread that has them speak."""

    def __init__(
        self, url: str, *, first: int, count: int, devices: int, neighbours: bool, seed: int
    ) -> None:
        raise_descriptors(PER_NODE * count + SPARE)
        gc.collect()
        self._empty = pss(os.getpid())
        self._changed = threading.Condition()
        self._connected_at: dict[int, tuple[float, float]] = {}
        settings = SessionSettings(broker=url)
        self._nodes = [
            Node(
                number,
                settings=settings,
                devices=devices,
                neighbours=neighbours,
                seed=seed,
                on_connected=self._note,
            )
            for number in range(first, first + count)
        ]
        self._pace = threading.Condition()
        self._rate = self._pongs = 0.0
        self._qos = 0
        self._late = 0
        self._over = False
        self._pacer = threading.Thread(target=self._speak, name="pacer")
        self._pacer.start()

    def start(self) -> float:
        """Let all sessions begin; return when the first did."""
        began = monotonic()
        for node in self._nodes:
            node.session.start()
        return began

    def wait(self, timeout: float) -> list[tuple[float, float]]:
        """Wait until all have connected since `mark`; return when each did, and wanted to."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._connected_at) == len(self._nodes), timeout)
            return list(self._connected_at.values())

    def mark(self) -> None:
        """Forget who has connected."""
        with self._changed:
            self._connected_at.clear()

    def settle_in(self) -> None:
        """Have every node say what it keeps retained."""
        for node in self._nodes:
            node.settle_in()

    def flush(self, timeout: float) -> bool:
        """Wait until the broker has all that was said; tell whether it came to that."""
        limit = monotonic() + timeout
        return all(node.session.flush(max(0.0, limit - monotonic())) for node in self._nodes)

    def traffic(self, rate: float, pongs: float, qos: int) -> None:
        """Say so many readings, and so many pongs, a second and node from now on."""
        with self._pace:
            self._rate, self._pongs, self._qos = rate, pongs, qos
            self._pace.notify()

    def jitter(self, on: bool) -> None:
        """Spread the back-off's waits, or do not."""
        Jitter.on = on

    def report(self) -> dict[str, Any]:
        """Return what was counted, and what this process holds."""
        sums: Counter[str] = Counter()
        for node in self._nodes:
            counts = node.session.statistics()
            sums.update(
                published=node.published,
                answered=node.answered,
                overheard=node.overheard,
                attempts=counts.attempts,
                connections=counts.connections,
                faults=counts.faults,
                acknowledged=counts.outbox.acknowledged,
                republished=counts.outbox.republished,
                dropped=counts.outbox.dropped,
                queued=counts.outbox.queued,
            )
        return {
            **sums,
            "late": self._late,
            "bytes": pss(os.getpid()) - self._empty,
            "threads": threading.active_count() - 2,  # but for the main one and the pacer
            "descriptors": len(os.listdir("/proc/self/fd")),
        }

    def close(self) -> None:
        """Fall silent, then take leave of the broker, many at a time."""
        with self._pace:
            self._over = True
            self._pace.notify()
        self._pacer.join()
        with ThreadPoolExecutor(AT_ONCE) as leaving:
            list(leaving.map(lambda node: node.session.stop(2.0), self._nodes))

    def _note(self, number: int, wanted: float) -> None:
        with self._changed:
            self._connected_at[number] = monotonic(), wanted
            if len(self._connected_at) == len(self._nodes):
                self._changed.notify_all()

    def _speak(self) -> None:
        """Go round and round the nodes, one step each so long that a round takes ``1 / rate`` s."""
        due, step = monotonic(), 0
        pongs = 0.0
        while True:
            with self._pace:
                if not self._over and self._rate <= 0:
                    self._pace.wait_for(lambda: self._over or self._rate > 0)
                    due = monotonic()
                elif not self._over:
                    self._pace.wait(max(0.0, due - monotonic()))
                if self._over:
                    return
                rate, every_pong, qos = self._rate, self._pongs, self._qos
            if rate <= 0 or monotonic() < due:
                continue
            node = self._nodes[step % len(self._nodes)]
            node.measure(qos)
            pongs += every_pong / rate
            while pongs >= 1:
                pongs -= 1
                node.pong()
            turns = max(1, int(HEALTH_EVERY * rate))
            if (step // len(self._nodes) - step) % turns == 0:
                node.tell_health()
            step += 1
            due += 1 / (rate * len(self._nodes))
            if monotonic() - due > 1.0:
                # A machine that is too slow for this is told of, and not flooded afterwards.
                self._late += 1
                due = monotonic()


def main() -> None:
    """Serve the nodes until standard input ends."""
    parser = argparse.ArgumentParser(description="Some hundred nodes of a fleet.")
    parser.add_argument("url")
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--devices", type=int, required=True)
    parser.add_argument("--neighbours", action="store_true")
    parser.add_argument("--seed", type=int, required=True)
    chosen = parser.parse_args()
    # Each of them would tell of each outage, which is the point here, and no news.
    logging.getLogger("routes").setLevel(logging.CRITICAL)
    host = Host(
        chosen.url,
        first=chosen.first,
        count=chosen.count,
        devices=chosen.devices,
        neighbours=chosen.neighbours,
        seed=chosen.seed,
    )
    try:
        serve(
            {
                "start": host.start,
                "wait": host.wait,
                "mark": host.mark,
                "settle_in": host.settle_in,
                "flush": host.flush,
                "traffic": host.traffic,
                "jitter": host.jitter,
                "report": host.report,
            }
        )
    finally:
        host.close()


if __name__ == "__main__":
    main()
