"""A day of twenty processes in virtual time, and whether two such days are the same.

Each process wakes at 1 Hz and writes one letter a second to another one: 1.7
million letters in 24 hours. Two runs of one seed, and a third in another
interpreter with another PYTHONHASHSEED: the ledger and the digest of the order
of mail must be the same each time.

``day_vs_bare_batons`` is the median of ``run_vs_bare_batons``: each run over
what twenty bare threads need that hand on a lock as often, with no letter, no
supervisor and no process. They run after each virtual hour, for a twentieth of
what that handed on, so that a machine that is slow for a while is slow in both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from _thread import LockType, allocate_lock
from collections import deque
from statistics import median
from threading import Thread
from time import perf_counter, process_time
from typing import Any, NamedTuple

from benchmarks.measure import pinned, show
from gateway.application import Application
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.supervision.simulation import as_batch_on_one_core

PROCESSES = 20
SEED = 1
HASH_SEEDS = ("1", "271828")
HOUR = 3600.0
BARE = 0.05
"""Of what each virtual hour handed on, the part that bare threads hand on after it."""


class Neighbour(Process):
    """Writes one letter a second, each time to another one."""

    def birth(self) -> None:
        self.received = 0
        self.number = int(self.parameter("number"))
        self.add_filter(subject=r"(?i)^data$", callback=self.on_data)

    def life(self) -> None:
        recipient = (self.number * 7 + self.current_frame) % PROCESSES
        if recipient == self.number:
            recipient = (recipient + 1) % PROCESSES
        self.send(f"neighbour-{recipient}", "data", self.current_frame)

    def on_data(self, message: Message) -> None:
        self.received += 1


class Street(Application):
    """Twenty of them."""

    def build(self) -> None:
        for number in range(PROCESSES):
            self.add_process(
                f"neighbour-{number}", Neighbour, frequency=1.0, parameters={"number": number}
            )


class Stopwatch:
    """Adds up what each ``with`` of it takes."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    def __enter__(self) -> None:
        self.seconds -= perf_counter()
        self.cpu_seconds -= process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += perf_counter()
        self.cpu_seconds += process_time()


class Day(NamedTuple):
    """What one run took and what it came to."""

    seconds: float
    cpu_seconds: float
    bare_seconds: float
    digest: str
    events: int
    ledger: dict[str, dict[str, int]]

    @property
    def came_to(self) -> tuple[Any, ...]:
        """Return all that must be the same in each run."""
        return self.digest, self.events, self.ledger


def day(hours: float) -> Day:
    """Simulate ``hours`` and return what they came to."""
    watch, bare_seconds = Stopwatch(), 0.0
    with watch:
        simulation = Street().simulation(until=hours * HOUR, seed=SEED)
    with simulation:
        while not simulation.has_ended:
            began = simulation.time
            with watch:
                simulation.run_until(began + HOUR)
            bare_seconds += bare_batons(BARE * (simulation.time - began) / HOUR) / BARE
        outcome = simulation.outcome()
    if outcome.status:
        raise SystemExit("the application failed; see the log above")
    ledger = {name: dict(balance._asdict()) for name, balance in outcome.ledger.items()}
    return Day(
        watch.seconds, watch.cpu_seconds, bare_seconds, outcome.digest, outcome.events, ledger
    )


def day_elsewhere(hours: float) -> Day:
    """Return the same of another interpreter, with another PYTHONHASHSEED."""
    here = os.environ.get("PYTHONHASHSEED")
    seed = next(seed for seed in HASH_SEEDS if seed != here)
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import json; from benchmarks.simulation import day;print(json.dumps(day({hours!r})))",
        ],
        env={**os.environ, "PYTHONHASHSEED": seed},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    return Day(*json.loads(told))


def bare_batons(hours: float) -> float:
    """Return the seconds in which bare threads hand on a lock three times for two letters."""
    turns = [allocate_lock() for _ in range(PROCESSES)]
    boxes: list[deque[int]] = [deque() for _ in range(PROCESSES)]
    done = allocate_lock()
    for lock in (*turns, done):
        lock.acquire()
    frames = int(hours * HOUR * 1.5)

    def live(number: int, turn: LockType, following: LockType) -> None:
        for _ in range(frames):
            turn.acquire()
            boxes[number].clear()
            boxes[number - 1].append(number)
            following.release()
        if following is turns[0]:
            done.release()

    threads = [
        Thread(target=live, args=(number, turns[number], turns[(number + 1) % PROCESSES]))
        for number in range(PROCESSES)
    ]
    with as_batch_on_one_core():
        for thread in threads:
            thread.start()
    began = perf_counter()
    turns[0].release()
    done.acquire()
    taken = perf_counter() - began
    for thread in threads:
        thread.join()
    return taken


def measure(hours: float) -> dict[str, Any]:
    """Return every figure of one run."""
    days = [run(hours) for run in (day, day, day_elsewhere)]
    ratios = [each.seconds / each.bare_seconds for each in days]
    first = days[0]
    counts = list(first.ledger.values())
    total = {name: sum(ledger[name] for ledger in counts) for name in counts[0]}
    return {
        "virtual_hours": hours,
        "letters": sum(
            ledger["accepted"]
            for name, ledger in first.ledger.items()
            if name.startswith("neighbour-")
        ),
        "run_seconds": [round(each.seconds, 2) for each in days],
        "run_cpu_seconds": [round(each.cpu_seconds, 2) for each in days],
        "run_seconds_most": round(max(each.seconds for each in days), 2),
        "run_vs_bare_batons": [round(ratio, 2) for ratio in ratios],
        "day_vs_bare_batons": round(median(ratios), 2),
        "digests": [each.digest for each in days],
        "same_ledger_and_order": all(each.came_to == first.came_to for each in days),
        "ledger": total,
    }


def main() -> None:
    """Measure, pinned to one core, and print."""
    parser = argparse.ArgumentParser(description="A day in virtual time, three times.")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--hours", type=float, default=24.0, help="virtual hours of a run (24)")
    chosen = parser.parse_args()
    with pinned():
        result = measure(chosen.hours)
    show(result, as_json=chosen.json)
    if not result["same_ledger_and_order"]:
        raise SystemExit("two runs of one seed differ")


if __name__ == "__main__":
    main()
