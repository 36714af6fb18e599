"""What goes one way: letters a second to a forked process, and large bodies.

``oneway_fork_vs_mp_queue``: letters with the whole envelope and a body of 100
bytes, counted by a filter's callback in a forked process, against the same
bodies through a `multiprocessing.Queue` of the same bound; more than 1 is faster. The
fewer letters fit into a socket (``max_dgram_qlen``: 10, and 512 where systemd runs), the
more often the writer waits.
``large_body_2mb_vs_pipe``: a body of 2 MB there and its length back, over the
same through a `multiprocessing.Pipe`; less than 1 is faster.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.measure import ratio, spread
from gateway.application import Application
from gateway.mail.message import Message
from gateway.process.process import Process

BODY = {"subject": "salutation", "text": "x" * 80}
LARGE = b"\x5a" * 2_000_000
BATCH = 2000
"""Letters of one turn."""

QUEUE_LENGTH = Path("/proc/sys/net/unix/max_dgram_qlen")

BOUND = 256
"""Items that the queue holds: as many as a mailbox."""


class Counter(Process):
    """Counts letters, and tells how many there were when it is asked."""

    def birth(self) -> None:
        self.count = 0
        self.add_filter(subject=r"(?i)^salutation$", callback=self.on_salutation)
        self.add_filter(subject="^count$", callback=self.on_count)
        self.add_filter(subject="^length$", callback=self.on_length)

    def on_salutation(self, message: Message) -> None:
        self.count += 1

    def on_count(self, message: Message) -> None:
        self.reply(message, self.count)

    def on_length(self, message: Message) -> None:
        self.reply(message, len(message.body))


class Sender(Process):
    """Takes turns with the baselines, and ends."""

    seconds: dict[str, list[list[float]]]
    turns: int
    queue: Any
    pipe: Any

    def life(self) -> None:
        self._large()
        for _ in range(self.turns):
            for name, job in (
                ("bus", self._letters),
                ("mp_queue", self._bodies),
                ("large_bus", self._large),
                ("large_pipe", self._large_by_pipe),
            ):
                self.seconds.setdefault(name, []).append(job())
        self.die()

    def _letters(self) -> list[float]:
        began = perf_counter()
        for _ in range(BATCH):
            self.send("counter", "salutation", BODY)
        # Behind the others, in the same lane: they have all been counted then.
        self.wait_for_reply(self.send("counter", "count"), 60.0)
        return [(perf_counter() - began) / BATCH]

    def _bodies(self) -> list[float]:
        there, back = self.queue
        began = perf_counter()
        for _ in range(BATCH):
            there.put(BODY)
        there.put("count")
        back.get()
        return [(perf_counter() - began) / BATCH]

    def _large(self) -> list[float]:
        found = []
        for _ in range(10):
            began = perf_counter()
            self.wait_for_reply(self.send("counter", "length", LARGE), 60.0)
            found.append(perf_counter() - began)
        return found

    def _large_by_pipe(self) -> list[float]:
        found = []
        for _ in range(10):
            began = perf_counter()
            self.pipe.send({"subject": "length", "body": LARGE})
            self.pipe.recv()
            found.append(perf_counter() - began)
        return found


@contextmanager
def counting_queue() -> Iterator[tuple[Any, Any]]:
    """Offer a `multiprocessing.Queue` to a process that counts, and one back."""
    context = multiprocessing.get_context("fork")
    there, back = context.Queue(BOUND), context.Queue()

    def count() -> None:
        counted = 0
        while (item := there.get()) is not None:
            if item == "count":
                back.put(counted)
            else:
                counted += 1

    child = context.Process(target=count)
    child.start()
    yield there, back
    there.put(None)
    child.join()
    for each in (there, back):
        each.close()
        each.join_thread()


@contextmanager
def measuring_pipe() -> Iterator[Any]:
    """Offer a `multiprocessing.Pipe` to a process that answers with the body's length."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def answer() -> None:
        while (item := theirs.recv()) is not None:
            theirs.send(len(item["body"]))

    child = context.Process(target=answer)
    child.start()
    yield ours
    ours.send(None)
    child.join()
    ours.close()
    theirs.close()


class House(Application):
    """One process that counts."""

    def build(self) -> None:
        self.add_process("counter", Counter, mode="fork")


def measure(rounds: int) -> dict[str, Any]:
    """Return both figures, and what they are made of."""
    seconds: dict[str, list[list[float]]] = {}
    # Before the application has a thread that a fork would not copy.
    with counting_queue() as queue, measuring_pipe() as pipe:
        given = {"seconds": seconds, "turns": max(5, rounds // 500), "queue": queue, "pipe": pipe}
        if House(main=type("Sender", (Sender,), given)).run():
            raise SystemExit("the application failed; see the log above")
    flat = {name: [each for turn in turns for each in turn] for name, turns in seconds.items()}
    return {
        "oneway_fork_vs_mp_queue": round(
            median(
                queued[0] / sent[0]
                for sent, queued in zip(seconds["bus"], seconds["mp_queue"], strict=True)
            ),
            2,
        ),
        "large_body_2mb_vs_pipe": ratio(seconds["large_bus"], seconds["large_pipe"]),
        "max_dgram_qlen": int(QUEUE_LENGTH.read_text()),
        "oneway_fork_per_second": round(1 / median(flat["bus"])),
        "oneway_mp_queue_per_second": round(1 / median(flat["mp_queue"])),
        **{name: spread(flat[name]) for name in ("large_bus", "large_pipe")},
    }
