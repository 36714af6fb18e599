"""Waits under stress: nested in a callback under a flood, and for a process that is killed.

``nested_wait_under_flood_p99_ms``: a process that two others flood asks a
third one within a callback and waits for the answer; that wait alone.
``death_notice_ms``: from the SIGKILL of a forked process to the typed error in
a caller that waits for its reply, while others flood each other.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from time import perf_counter
from typing import Any

from benchmarks.measure import spread
from gateway.application import Application
from gateway.errors import AddressError, CallTimeoutError, MailboxFullError, RecipientGoneError
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.supervision.restart import RestartPolicy

AT_ONCE = RestartPolicy(first=0.01, ceiling=0.01, most=100_000)


class Oracle(Process):
    """Answers."""

    def birth(self) -> None:
        self.add_filter(subject="^ask$", callback=lambda message: self.reply(message, message.body))


class Middle(Process):
    """Asks the oracle within a callback, and tells how long that took."""

    def birth(self) -> None:
        self.add_filter(subject="^go$", callback=self.on_go)
        self.add_filter(subject="^noise$", callback=lambda message: None)

    def on_go(self, message: Message) -> None:
        began = perf_counter()
        try:
            self.wait_for_reply(self.send("oracle", "ask", message.body), 20.0)
        except CallTimeoutError:
            self.reply(message, -1.0)
        else:
            self.reply(message, perf_counter() - began)


class Flooder(Process):
    """Writes to ``target`` without end."""

    def life(self) -> None:
        for _ in range(200):
            try:
                self.send(self.parameter("target"), "noise", "x" * 80, timeout=1.0)
            except (MailboxFullError, RecipientGoneError, AddressError):
                return


class Victim(Process):
    """Answers with its number, and then not at all."""

    def birth(self) -> None:
        self.add_filter(subject="^pid$", callback=lambda message: self.reply(message, os.getpid()))
        self.add_filter(subject="^silence$", callback=lambda message: None)


class Sufferer(Process):
    """Drives both, and ends."""

    seconds: dict[str, list[float]]
    rounds: int
    deaths: int

    def life(self) -> None:
        self.seconds["nested"] = [
            self.wait_for_reply(self.send("middle", "go", number, timeout=30.0), 30.0).body
            for number in range(self.rounds)
        ]
        self.seconds["death"] = [self._kill_and_wait() for _ in range(self.deaths)]
        self.die()

    def _kill_and_wait(self) -> float:
        while True:
            try:
                pid = self.wait_for_reply(self.send("victim", "pid"), 5.0).body
                asked = self.send("victim", "silence")
            except (AddressError, RecipientGoneError):
                self.light_sleep(0.001)
                continue
            break
        killed = []

        def kill() -> None:
            killed.append(perf_counter())
            os.kill(pid, signal.SIGKILL)

        killer = threading.Timer(0.002, kill)
        killer.start()
        try:
            self.wait_for_reply(asked, 30.0)
        except RecipientGoneError:
            return perf_counter() - killed[0]
        finally:
            killer.join()
        raise SystemExit("a dead process answered")


class Stress(Application):
    """Everybody, in forked processes."""

    def build(self) -> None:
        self.add_process("oracle", Oracle, mode="fork")
        self.add_process("middle", Middle, mode="fork")
        self.add_process("victim", Victim, mode="fork", restart=AT_ONCE)
        for number in range(2):
            self.add_process(
                f"flooder{number}",
                Flooder,
                mode="fork",
                frequency=1000.0,
                parameters={"target": "middle"},
            )


def measure(rounds: int) -> dict[str, Any]:
    """Return both figures, in milliseconds, and what they are made of."""
    seconds: dict[str, list[float]] = {}
    given = {"seconds": seconds, "rounds": max(100, rounds // 5), "deaths": max(20, rounds // 50)}
    # Each death is told of, as it should be, and is no news here.
    logging.getLogger("gateway").setLevel(logging.CRITICAL)
    if Stress(main=type("Sufferer", (Sufferer,), given)).run():
        raise SystemExit("the application failed; see the log above")
    nested = [taken for taken in seconds["nested"] if taken >= 0]
    waits, deaths = spread(nested), spread(seconds["death"])
    return {
        "nested_wait_under_flood_p99_ms": round(waits["p99_us"] / 1000, 3),
        "nested_wait_timeouts": len(seconds["nested"]) - len(nested),
        "death_notice_ms": round(deaths["median_us"] / 1000, 3),
        "death_notice_p99_ms": round(deaths["p99_us"] / 1000, 3),
        "nested_wait": waits,
        "death_notice": deaths,
    }
