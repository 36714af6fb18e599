"""Who watches a fleet: ``python -m benchmarks.fleet_operator URL``, asked by lines of JSON.

A program of its own with one session of the gateway's own kind. It counts what it is
sent, apart what the broker had retained; it measures how old each reading is on arrival,
on the machine's monotonic clock; it calls nodes and times their answers. Nothing
else is done with a message, so that what is measured is the broker and the session,
not a dashboard's drawing.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import threading
from collections.abc import Sequence
from random import Random
from time import monotonic
from typing import Any

import msgspec

from benchmarks.fleet_node import CLOCK, device_name, name_of
from benchmarks.fleet_program import serve
from benchmarks.footprint import pss
from gateway.mail.codec import to_json
from routes.mqtt.connection_state import ConnectionState
from routes.mqtt.incoming import Incoming
from routes.mqtt.network_loop import Status
from routes.mqtt.session import Session
from routes.mqtt.settings import SessionSettings

CONNECT = 30.0
"""Seconds that a dashboard may take to be connected."""
QUIET = 2.0
"""Seconds without any retained message after which no more is coming."""


class Reading(msgspec.Struct):
    """What is looked at in a reading."""

    sent: float


class Answer(msgspec.Struct):
    """What is looked at in an answer to a call."""

    ok: bool
    id: int


class Operator:
    """One session at a time; every method is called by `serve`'s thread."""

    def __init__(self, url: str) -> None:
        self._settings = SessionSettings(broker=url)
        self._session: Session | None = None
        self._number = itertools.count()
        self._changed = threading.Condition()
        self._began = 0.0
        self._forget()

    def watch(self, topics: Sequence[str]) -> None:
        """Subscribe to ``topics`` on a connection of its own."""
        self._forget()
        me = f"fleet/operators/{next(self._number)}"
        said = to_json({"online": True})
        session = Session(
            self._settings,
            client_id=me.replace("/", "-"),
            status=Status(topic=me, online=said, offline=b"", lost=b""),
            clock=CLOCK,
            random=Random(1),
            subscriptions=topics,
            on_message=self._hear,
            on_state=self._on_state,
        )
        self._session = session
        session.start()
        if session.wait_for_state(lambda state: state.is_connected, CONNECT) is None:
            raise SystemExit(f"the operator is not connected within {CONNECT:g} s")

    def snapshot(self, expected: int, timeout: float) -> dict[str, Any]:
        """Wait until so many retained messages have come, or no more do; say when, and how many."""
        limit = monotonic() + timeout
        with self._changed:
            while self._retained < expected and monotonic() < limit:
                before = self._retained
                self._changed.wait_for(
                    lambda: self._retained >= expected, min(QUIET, limit - monotonic())
                )
                if self._retained == before:
                    break
            seconds = self._last_retained - self._began
            return {
                "expected": expected,
                "messages": self._retained,
                "bytes": self._retained_bytes,
                "seconds": round(max(0.0, seconds), 3),
            }

    def restart_count(self) -> None:
        """Count from now on."""
        with self._changed:
            self._messages = self._bytes = 0
            self._late.clear()

    def call(self, nodes: int, per_second: float, seconds: float, seed: int) -> dict[str, Any]:
        """Call nodes at random for ``seconds``; return how long each answer took."""
        random, session = Random(seed), self._session
        assert session is not None
        over, pause = monotonic() + seconds, threading.Event()
        asked: dict[int, float] = {}
        while monotonic() < over:
            identifier = len(asked)
            topic = f"gateway/{name_of(random.randrange(nodes))}/devices/{device_name(0)}/led/call"
            asked[identifier] = monotonic()
            session.publish(topic, to_json({"args": {"on": True}, "id": identifier}), qos=1)
            pause.wait(1 / per_second)
        with self._changed:
            self._changed.wait_for(lambda: len(self._answers) >= len(asked), 10.0)
            took = [self._answers[each] - asked[each] for each in asked if each in self._answers]
        return {"asked": len(asked), "took": sorted(took)}

    def report(self) -> dict[str, Any]:
        """Return what came since `restart_count`, and what this process costs."""
        with self._changed:
            return {
                "messages": self._messages,
                "bytes": self._bytes,
                "late": sorted(self._late),
                "pss": pss(os.getpid()),
            }

    def leave(self) -> None:
        """Disconnect."""
        session, self._session = self._session, None
        if session is not None:
            session.stop(5.0)

    def _forget(self) -> None:
        with self._changed:
            self._messages = self._bytes = self._retained = self._retained_bytes = 0
            self._last_retained = self._began = monotonic()
            self._late: list[float] = []
            self._answers: dict[int, float] = {}

    # On the session's thread

    def _on_state(self, state: ConnectionState) -> None:
        if state.is_connected:
            self._began = monotonic()

    def _hear(self, incoming: Incoming) -> None:
        now = monotonic()
        size = len(incoming.payload) + len(incoming.topic)
        with self._changed:
            if incoming.retained:
                self._retained += 1
                self._retained_bytes += size
                self._last_retained = now
                self._changed.notify_all()
                return
            self._messages += 1
            self._bytes += size
            if incoming.topic.endswith("/analogue"):
                sent = msgspec.json.decode(incoming.payload, type=Reading).sent
                self._late.append(now - sent)
            elif incoming.topic.endswith("/reply"):
                answer = msgspec.json.decode(incoming.payload, type=Answer)
                self._answers[answer.id] = now
                self._changed.notify_all()


def main() -> None:
    """Watch until standard input ends."""
    parser = argparse.ArgumentParser(description="Who watches a fleet.")
    parser.add_argument("url")
    logging.getLogger("routes").setLevel(logging.CRITICAL)
    operator = Operator(parser.parse_args().url)
    try:
        serve(
            {
                "watch": operator.watch,
                "snapshot": operator.snapshot,
                "restart_count": operator.restart_count,
                "call": operator.call,
                "report": operator.report,
                "leave": operator.leave,
            }
        )
    finally:
        operator.leave()


if __name__ == "__main__":
    main()
