"""Round trips on the bus, over the plainest thing that Python has for the same job.

``thread_roundtrip_vs_simplequeue``: send → filter callback → reply →
wait_for_reply between two thread processes, over an echo of one object
through two `queue.SimpleQueue`. ``fork_roundtrip_vs_pipe``: the same to a
forked process, over an echo of the same 100-byte dict through a
`multiprocessing.Pipe`. Both at two frequencies, which must not matter.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
from time import perf_counter
from typing import Any

from benchmarks.measure import arguments, pinned, show, spread
from gateway.application import Application
from gateway.mail.message import Message
from gateway.process.process import Process

BODY = {"subject": "salutation", "text": "x" * 80}
"""About 100 bytes packed."""

WARM_UP = 100
"""Exchanges before each turn that are not counted."""

TURNS = 10
FREQUENCIES = (1.0, 1000.0)


class Echo(Process):
    """Answers every salutation with what it got."""

    def birth(self) -> None:
        self.add_filter(subject=r"(?i)^salutation$", callback=self.on_salutation)

    def on_salutation(self, message: Message) -> None:
        self.reply(message, message.body)

    def life(self) -> None:
        """Have a life, so that the frequency counts."""


class Asker(Process):
    """Asks the echo, again and again, and ends."""

    seconds: dict[str, list[float]]
    peers: tuple[str, ...]
    rounds: int

    def life(self) -> None:
        for peer in self.peers:
            self.seconds[peer] = [self._once(peer) for _ in range(self.rounds + WARM_UP)][WARM_UP:]
        self.die()

    def _once(self, peer: str) -> float:
        began = perf_counter()
        self.wait_for_reply(self.send(peer, "salutation", BODY))
        return perf_counter() - began


class Pair(Application):
    """An echo of each mode and somebody who asks."""

    frequency = 1.0

    def build(self) -> None:
        self.add_process("thread", Echo, frequency=self.frequency)
        self.add_process("fork", Echo, mode="fork", frequency=self.frequency)


def bus(rounds: int, frequency: float) -> dict[str, list[float]]:
    """Return the seconds of each round trip, by mode."""
    seconds: dict[str, list[float]] = {}
    asker = type(
        "Asker", (Asker,), {"seconds": seconds, "peers": ("thread", "fork"), "rounds": rounds}
    )
    application = Pair(main=asker)
    application.frequency = frequency
    application.global_frequency = frequency
    if application.run():
        raise SystemExit("the application failed; see the log above")
    return seconds


def simple_queue(rounds: int) -> list[float]:
    """Return the seconds of each echo of one object through two SimpleQueues."""
    there: queue.SimpleQueue[Any] = queue.SimpleQueue()
    back: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def echo() -> None:
        while (item := there.get()) is not None:
            back.put(item)

    thread = threading.Thread(target=echo)
    thread.start()
    seconds = []
    for _ in range(rounds + WARM_UP):
        began = perf_counter()
        there.put(BODY)
        back.get()
        seconds.append(perf_counter() - began)
    there.put(None)
    thread.join()
    return seconds[WARM_UP:]


def pipe(rounds: int) -> list[float]:
    """Return the seconds of each echo of the dict through a Pipe to a forked process."""
    ours, theirs = multiprocessing.Pipe()

    def echo() -> None:
        while (item := theirs.recv()) is not None:
            theirs.send(item)

    child = multiprocessing.get_context("fork").Process(target=echo)
    child.start()
    seconds = []
    for _ in range(rounds + WARM_UP):
        began = perf_counter()
        ours.send(BODY)
        ours.recv()
        seconds.append(perf_counter() - began)
    ours.send(None)
    child.join()
    ours.close()
    theirs.close()
    return seconds[WARM_UP:]


def measure(rounds: int) -> dict[str, Any]:
    """Return every figure of one run.

    The machine's speed wanders, so each job takes turns with its baseline,
    and the medians are taken over all turns.
    """
    seconds: dict[str, list[float]] = {}
    for _ in range(TURNS):
        turn = {"simple_queue": simple_queue(rounds // TURNS), "pipe": pipe(rounds // TURNS)}
        for frequency in FREQUENCIES:
            for mode, found in bus(rounds // TURNS, frequency).items():
                turn[f"{mode}_at_{frequency:g}_hz"] = found
        for name, found in turn.items():
            seconds.setdefault(name, []).extend(found)
    figures = {name: spread(found) for name, found in seconds.items()}

    def ratio(job: str, baseline: str) -> float:
        return round(figures[job]["median_us"] / figures[baseline]["median_us"], 2)

    return {
        "thread_roundtrip_vs_simplequeue": ratio("thread_at_1_hz", "simple_queue"),
        "fork_roundtrip_vs_pipe": ratio("fork_at_1_hz", "pipe"),
        "thread_roundtrip_vs_simplequeue_at_1000_hz": ratio("thread_at_1000_hz", "simple_queue"),
        "fork_roundtrip_vs_pipe_at_1000_hz": ratio("fork_at_1000_hz", "pipe"),
        **figures,
    }


def main() -> None:
    """Measure pinned, then unpinned, and print both."""
    chosen = arguments("Round trips on the bus, over plain queues and pipes.")
    with pinned():
        result = measure(chosen.rounds)
    result["unpinned"] = measure(chosen.rounds)
    show(result, as_json=chosen.json)


if __name__ == "__main__":
    main()
