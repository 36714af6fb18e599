"""Round trips on the bus, over the plainest thing that Python has for the same job.

``thread_roundtrip_vs_simplequeue``: send → filter callback → reply →
wait_for_reply between two thread processes, over an echo of one object
through two `queue.SimpleQueue`. ``fork_roundtrip_vs_pipe``: the same to a
forked process, over an echo of the same 100-byte dict through a
`multiprocessing.Pipe`. Both at two frequencies, which must not matter. The
other figures are those of `benchmarks.flow` and `benchmarks.waits`.

A shared machine changes its speed from one second to the next. So each job
and its baseline take turns of a few milliseconds on the same thread, each
turn gives one ratio of medians, and the median of those is the figure.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from benchmarks import flow, waits
from benchmarks.measure import arguments, pinned, ratio, show, spread
from gateway.application import Application
from gateway.mail.message import Message
from gateway.process.process import Process

BODY = {"subject": "salutation", "text": "x" * 80}
"""About 100 bytes packed."""

WARM_UP = 10
"""Exchanges at the start of each turn that are not counted."""

TURNS = 25
FREQUENCIES = (1.0, 1000.0)
BASELINES = {"thread": "simple_queue", "fork": "pipe"}

Exchange = Callable[[], Any]


class Echo(Process):
    """Answers every salutation with what it got."""

    def birth(self) -> None:
        self.add_filter(subject=r"(?i)^salutation$", callback=self.on_salutation)

    def on_salutation(self, message: Message) -> None:
        self.reply(message, message.body)

    def life(self) -> None:
        """Have a life, so that the frequency counts."""


class Asker(Process):
    """Asks both echoes and both baselines, turn about, and ends."""

    seconds: dict[str, list[list[float]]]
    rounds: int
    pipe: Exchange

    def life(self) -> None:
        with simple_queue() as exchange:
            exchanges: dict[str, Exchange] = {
                "thread": lambda: self._ask("thread"),
                "simple_queue": exchange,
                "fork": lambda: self._ask("fork"),
                "pipe": self.pipe,
            }
            for _ in range(TURNS):
                for name, exchange in exchanges.items():
                    turn = timed(exchange, self.rounds // TURNS + WARM_UP)[WARM_UP:]
                    self.seconds.setdefault(name, []).append(turn)
        self.die()

    def _ask(self, peer: str) -> None:
        self.wait_for_reply(self.send(peer, "salutation", BODY))


def timed(exchange: Exchange, rounds: int) -> list[float]:
    """Return the seconds that each of ``rounds`` exchanges took."""
    seconds = []
    for _ in range(rounds):
        began = perf_counter()
        exchange()
        seconds.append(perf_counter() - began)
    return seconds


@contextmanager
def simple_queue() -> Iterator[Exchange]:
    """Offer an echo of one object through two SimpleQueues."""
    there: queue.SimpleQueue[Any] = queue.SimpleQueue()
    back: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def echo() -> None:
        while (item := there.get()) is not None:
            back.put(item)

    def exchange() -> None:
        there.put(BODY)
        back.get()

    thread = threading.Thread(target=echo)
    thread.start()
    yield exchange
    there.put(None)
    thread.join()


@contextmanager
def pipe(body: object = BODY) -> Iterator[Exchange]:
    """Offer an echo of ``body`` through a Pipe to a forked process."""
    ours, theirs = multiprocessing.Pipe()

    def echo() -> None:
        while (item := theirs.recv()) is not None:
            theirs.send(item)

    def exchange() -> None:
        ours.send(body)
        ours.recv()

    child = multiprocessing.get_context("fork").Process(target=echo)
    child.start()
    yield exchange
    ours.send(None)
    child.join()
    ours.close()
    theirs.close()


def bus(rounds: int, frequency: float) -> dict[str, list[list[float]]]:
    """Return the seconds of each exchange, by job and turn."""
    seconds: dict[str, list[list[float]]] = {}

    class Pair(Application):
        """An echo of each mode."""

        def build(self) -> None:
            self.add_process("thread", Echo, frequency=frequency)
            self.add_process("fork", Echo, mode="fork", frequency=frequency)

    # Before the application has a thread that a fork would not copy.
    with pipe() as exchange:
        given = {"seconds": seconds, "rounds": rounds, "pipe": staticmethod(exchange)}
        application = Pair(main=type("Asker", (Asker,), given))
        application.global_frequency = frequency
        if application.run():
            raise SystemExit("the application failed; see the log above")
    return seconds


def measure(rounds: int) -> dict[str, Any]:
    """Return every figure of one run."""
    result: dict[str, Any] = {}
    figures: dict[str, Any] = {}
    for frequency in FREQUENCIES:
        at = "" if frequency == FREQUENCIES[0] else f"_at_{frequency:g}_hz"
        seconds = bus(rounds, frequency)
        for job, baseline in BASELINES.items():
            over = baseline.replace("_", "")
            result[f"{job}_roundtrip_vs_{over}{at}"] = ratio(seconds[job], seconds[baseline])
        for name, turns in seconds.items():
            figures[name + at] = spread([taken for turn in turns for taken in turn])
    return {**result, **flow.measure(rounds), **waits.measure(rounds), **figures}


def main() -> None:
    """Measure pinned, then unpinned, and print both."""
    chosen = arguments("Round trips on the bus, over plain queues and pipes.")
    with pinned():
        result = measure(chosen.rounds)
    result["unpinned"] = measure(chosen.rounds)
    show(result, as_json=chosen.json)


if __name__ == "__main__":
    main()
