"""What ten idle processes cost: processor time, memory, and time to start and stop.

``idle_cpu_percent_thread`` and ``idle_cpu_percent_fork``: ten processes at
1 Hz without mail, CPU time of all OS processes as the kernel counts it, in
per cent of one core. ``pss_fork_mb``: proportional set size of the ten forked
ones, the fork server and the main one, after a collection in each.
``start_fork_ms``: from `run` until all ten live; ``stop_fork_ms``: from the
word to end until `run` returns.

It is measured as pip installs it, with bytecode: compiling as it starts leaves some
3 MB of holes in the heap. So where there is none it is made first.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import gateway
from benchmarks.measure import show
from gateway.application import Application
from gateway.mail.message import Message
from gateway.process.context import Mode
from gateway.process.process import Process

COUNT = 10

COMPILED = "FOOTPRINT_COMPILED"
"""Set in the environment of the interpreter that finds bytecode."""


class Idler(Process):
    """Does nothing, once a second."""

    def birth(self) -> None:
        self.add_filter(subject="^collect$", callback=self.on_collect)

    def on_collect(self, message: Message) -> None:
        gc.collect()
        self.reply(message, os.getpid())

    def life(self) -> None:
        """Have a life, so that there is something to wake up for."""


class Watcher(Process):
    """Waits until all live, watches them for a while, and ends."""

    found: dict[str, Any]
    seconds: float
    began: float

    def birth(self) -> None:
        self.alive: set[str] = set()
        self.subscribe("processes/+/state", self.on_state)

    def on_state(self, message: Message) -> None:
        name = message.subject.split("/")[1]
        if not name.startswith("idler") or message.body["state"] != "living":
            return
        self.alive.add(name)
        if len(self.alive) == COUNT:
            self.found["start"] = monotonic() - self.began
            self._watch()
            self.found["stopping"] = monotonic()
            self.die()

    def _watch(self) -> None:
        names = sorted(self.alive)
        pids = {self.wait_for_reply(self.send(name, "collect")).body for name in names}
        gc.collect()
        pids |= {os.getpid()} | {parent(pid) for pid in pids} - {parent(os.getpid())}
        self.found["pss"] = sum(map(pss, pids))
        before = sum(map(cpu_seconds, pids))
        self.light_sleep(self.seconds)
        self.found["cpu"] = sum(map(cpu_seconds, pids)) - before


def measure(mode: Mode, seconds: float) -> dict[str, float]:
    """Return what was found, in seconds, bytes and CPU seconds."""
    found: dict[str, float] = {}

    class House(Application):
        """Ten idlers."""

        global_frequency = 1.0

        def build(self) -> None:
            for number in range(COUNT):
                self.add_process(f"idler{number}", Idler, mode=mode)

    given = {"found": found, "seconds": seconds, "began": monotonic()}
    if House(main=type("Watcher", (Watcher,), given)).run():
        raise SystemExit("the application failed; see the log above")
    found["stop"] = monotonic() - found["stopping"]
    return found


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def cpu_seconds(pid: int) -> float:
    """Return what the scheduler counted for all threads; the ticks of ``stat`` miss short turns."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def pss(pid: int) -> int:
    """Return the proportional set size of an OS process, in bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"the kernel tells no Pss of {pid}")


def begin_anew_compiled() -> None:
    """Make the bytecode, and put in the place of this interpreter one that finds it; once."""
    if os.environ.pop(COMPILED, "") == "":
        # Here: whoever finds bytecode does not pay for what makes it.
        import compileall

        for source in (gateway.__file__, __file__):
            compileall.compile_dir(Path(source).parent, quiet=1)
        os.execve(sys.executable, sys.orig_argv, {**os.environ, COMPILED: "1"})


def main() -> None:
    """Measure both modes and print what they cost."""
    parser = argparse.ArgumentParser(description="What ten idle processes cost.")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to watch (30)")
    chosen = parser.parse_args()
    begin_anew_compiled()
    # The forked ones first: of an interpreter in which much has run before they share more.
    fork, thread = measure("fork", chosen.seconds), measure("thread", chosen.seconds)
    show(
        {
            "idle_cpu_percent_thread": round(thread["cpu"] / chosen.seconds * 100, 3),
            "idle_cpu_percent_fork": round(fork["cpu"] / chosen.seconds * 100, 3),
            "pss_fork_mb": round(fork["pss"] / 1e6, 1),
            "start_fork_ms": round(fork["start"] * 1000, 1),
            "stop_fork_ms": round(fork["stop"] * 1000, 1),
        },
        as_json=chosen.json,
    )


if __name__ == "__main__":
    main()
