"""What a fleet is measured with: the broker, the hosts with all nodes, and the operator.

`Scene` opens and ends them together; `Scene.window` watches them for a while and tells
what each cost meanwhile.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from time import monotonic, sleep
from typing import Any

from benchmarks.fleet_broker import Broker
from benchmarks.fleet_figures import milliseconds
from benchmarks.fleet_program import Program, ask_all
from benchmarks.footprint import cpu_seconds

PER_HOST = 250
"""Nodes in one OS process."""
BEAT = 0.01
LIMIT = 150.0
"""Seconds that the nodes may take to connect, and the broker to take all that they say."""
SETTLE = 0.5
"""Seconds from a change of what goes on to the first measurement of it."""


class Scene:
    """A fleet of ``nodes`` with ``devices`` each, not yet connected; for one ``with``."""

    def __init__(
        self, nodes: int, broker: Broker, *, devices: int, neighbours: bool, seed: int
    ) -> None:
        self.nodes = nodes
        self.broker = broker
        self._devices = devices
        self._neighbours = neighbours
        self._seed = seed
        self._open = ExitStack()

    def __enter__(self) -> Scene:
        with ExitStack() as opening:
            opening.enter_context(self.broker)
            self.empty_bytes = self.broker.resident
            self.hosts: list[Program] = []
            for first in range(0, self.nodes, PER_HOST):
                arguments = {
                    "--first": first,
                    "--count": min(PER_HOST, self.nodes - first),
                    "--devices": self._devices,
                    "--seed": self._seed,
                }
                words = [str(word) for pair in arguments.items() for word in pair]
                words += ["--neighbours"] if self._neighbours else []
                host = Program("benchmarks.fleet_host", self.broker.url, *words)
                self.hosts.append(opening.enter_context(host))
            self.operator = opening.enter_context(
                Program("benchmarks.fleet_operator", self.broker.url)
            )
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def all(self, what: str, **options: Any) -> list[Any]:
        """Ask all hosts at once."""
        return ask_all(self.hosts, what, **options)

    def connect(self) -> list[float]:
        """Start all sessions; return after how many seconds each node was connected."""
        self.all("report")  # all of them are up
        began = min(self.all("start"))
        return [moment - began for moment, _ in self.connections()]

    def connections(self) -> list[tuple[float, float]]:
        """Wait for all nodes; return when each was connected, and when it wanted to be."""
        return [(at, wanted) for host in self.all("wait", timeout=LIMIT) for at, wanted in host]

    def flush(self) -> bool:
        """Wait until the broker has all that was said."""
        return all(self.all("flush", timeout=LIMIT))

    def counts(self) -> Counter[str]:
        """Return the sums of all hosts' reports."""
        sums: Counter[str] = Counter()
        for report in self.all("report"):
            sums.update(report)
        return sums

    def watch(self, *topics: str) -> None:
        """Have the operator subscribe."""
        self.operator.ask("watch", topics=topics)

    def window(self, seconds: float, calls: float = 0.0) -> dict[str, Any]:
        """Watch for ``seconds``, with so many ``calls`` a second; return what it cost."""
        sleep(SETTLE)
        before = self._now()
        if calls:
            self.operator.tell(
                "call", nodes=self.nodes, per_second=calls, seconds=seconds, seed=self._seed
            )
        late = beat(seconds)
        after = self._now()
        span = after["at"] - before["at"]
        used = {name: (after[name] - before[name]) / span for name in before}
        found: dict[str, Any] = {
            "seconds": round(span, 1),
            "published_per_s": round(used["published"], 1),
            "broker_cores": round(used["broker"], 4),
            "clients_cores": round(used["hosts"], 4),
            "client_cpu_ms_per_node_and_s": round(used["hosts"] * 1000 / self.nodes, 4),
            "machine": milliseconds(late),
        }
        if calls:
            answers = self.operator.hear()
            found["calls"] = {"asked": answers["asked"], **milliseconds(answers["took"])}
            found["probes"] = milliseconds(answers["probes"])
        return found | {"operator_cores": round(used["operator"], 4)}

    def watched_window(
        self, *topics: str, retained: int, seconds: float, calls: float = 0.0
    ) -> dict[str, Any]:
        """Have the operator subscribe to ``topics``; return the snapshot, and a window of it."""
        self.watch(*topics)
        snapshot = self.operator.ask("snapshot", expected=retained, timeout=LIMIT)
        sleep(SETTLE)
        self.operator.ask("restart_count")
        began = monotonic()
        found = self.window(seconds, calls)
        heard = self.operator.ask("report")
        span = monotonic() - began
        self.operator.ask("leave")
        return {
            **found,
            "operator_mb": round(heard["pss"] / 1e6, 1),
            "heard_per_s": round(heard["messages"] / span, 1),
            "kilobytes_per_s": round(heard["bytes"] / span / 1000, 1),
            "latency": milliseconds(heard["late"]),
            "snapshot": snapshot,
        }

    def _now(self) -> dict[str, float]:
        return {
            "at": monotonic(),
            "broker": self.broker.cpu,
            "hosts": sum(cpu_seconds(host.pid) for host in self.hosts),
            "operator": cpu_seconds(self.operator.pid),
            "published": float(self.counts()["published"]),
        }


def beat(seconds: float) -> list[float]:
    """Do nothing for ``seconds``; return how late this was woken each time, the baseline."""
    late = []
    due = monotonic() + BEAT
    over = monotonic() + seconds
    while due < over:
        sleep(max(0.0, due - monotonic()))
        now = monotonic()
        late.append(now - due)
        due = max(due + BEAT, now)
    return late
