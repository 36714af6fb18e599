"""Telemetry waits in files for the broker, and for a route that was killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import pytest

from gateway.bus.spool import SpoolReader
from gateway.bus.spool_file import SpoolBalance
from gateway.bus.spool_terms import SpoolTerms
from gateway.process.process import Process
from routes.mqtt.router import MqttRouter
from routes.mqtt.settings import Settings
from routes.mqtt.spool_settings import LEAST, SpoolSettings
from tests.lab.little_bus import DEADLINE, LittleBus, statistics
from tests.lab.mosquitto import Mosquitto, Received
from tests.lab.os_processes import until

pytestmark = pytest.mark.needs("mosquitto")

ROOT = Path(__file__).parents[3]
TOPIC = "gateway/lab/devices/board/number"


class Board(Process):
    """Publishes when it is told to."""


@pytest.fixture
def bus(tmp_path):
    with LittleBus(tmp_path / "bus") as bus:
        yield bus


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    """One that drops nothing where a listener has no processor for a moment."""
    with Mosquitto(lines=["max_queued_messages 0"]) as broker:
        yield broker


def run_router(bus: LittleBus, broker: Mosquitto, **options: Any) -> Process:
    settings = Settings(
        broker=broker.url, retry_first=0.05, retry_ceiling=0.2, telemetry_qos=1, **options
    )
    return bus.run(MqttRouter, "mqtt", settings=settings, node="lab")


def numbers(heard: Any) -> list[int]:
    return [int(message.payload) for message in heard.messages if message.topic == TOPIC]


def has_payload(wanted: bytes, message: Received) -> bool:
    return message.payload == wanted


def test_an_outage_longer_than_any_queue_loses_nothing(bus, broker) -> None:
    board = bus.run(Board, "board")
    router = run_router(bus, broker, queue_size=10)
    with broker.listen(TOPIC) as heard:
        broker.wait_for_log("gateway-lab 1")
        broker.freeze()
        for number in range(3000):
            board.publish("devices/board/number", number)
        assert statistics(router)["spool"]["in_hand"] <= 256
        broker.thaw()
        heard.wait_for_count(3000, timeout=30)
        assert numbers(heard) == list(range(3000))
    bus.end(router)
    reader = SpoolReader(bus.office.spool_folder("mqtt"), SpoolTerms(limit=LEAST))
    assert reader.balance() == SpoolBalance(3000, 3000, 0, 0, 0, 0, 0)
    reader.close()


def test_what_a_stopped_route_had_not_sent_its_successor_sends(bus, broker) -> None:
    board = bus.run(Board, "board")
    first = run_router(bus, broker)
    broker.wait_for_log("gateway-lab 1")
    broker.kill()
    for number in range(500):
        board.publish("devices/board/number", number)
    bus.end(first)
    broker.start()
    with broker.listen(TOPIC) as heard:
        run_router(bus, broker)
        heard.wait_for_count(500, timeout=30)
        assert numbers(heard) == list(range(500))


def test_a_route_with_its_hands_full_still_learns_that_there_is_a_connection_again(
    bus, broker
) -> None:
    router = run_router(bus, broker, max_calls=1)
    assert isinstance(router, MqttRouter)
    session, forwarder = router._session, router._forwarder
    assert session is not None
    assert forwarder is not None
    assert until(lambda: statistics(router)["connection"] == "connected", DEADLINE)
    begin, begun, busy, may_go_on = (
        forwarder.begin,
        threading.Event(),
        threading.Event(),
        threading.Event(),
    )

    def hold() -> None:
        busy.set()
        may_go_on.wait(DEADLINE)
        forwarder.begin = begin_and_tell  # type: ignore[method-assign]

    def begin_and_tell(since: float = inf) -> None:
        begin(since)
        begun.set()

    assert router._tray.put(hold)
    assert busy.wait(DEADLINE)
    assert router._tray.put(lambda: None)
    broker.kill()
    assert session.wait_for_state(lambda state: not state.is_connected, DEADLINE)
    assert until(lambda: not router._was_connected, DEADLINE)
    broker.start()
    assert until(lambda: router._was_connected, DEADLINE)
    may_go_on.set()
    assert begun.wait(DEADLINE)


def test_without_a_spool_it_waits_in_memory_as_far_as_there_is_room(bus, broker) -> None:
    board = bus.run(Board, "board")
    router = run_router(bus, broker, spool=SpoolSettings(bytes=0), queue_size=10)
    broker.wait_for_log("gateway-lab 1")
    broker.freeze()
    for number in range(500):
        board.publish("devices/board/number", number)
    assert statistics(router)["spool"] is None
    assert not (bus.office.spool_folder("mqtt")).exists()
    broker.thaw()


def test_a_spool_too_small_to_be_of_use_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes is 0 for no spool, or at least"):
        SpoolSettings(bytes=LEAST - 1)


PROGRAM = """
import os, random, signal, sys
from gateway.application import Application
from gateway.errors import GatewayError
from gateway.process.process import Process
from gateway.supervision.restart import RestartPolicy
from routes.mqtt.router import MqttRouter
from routes.mqtt.settings import Settings

BROKER, SOCKETS, SEED, COUNT = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

class Killable(MqttRouter):
    def birth(self):
        super().birth()
        self.add_filter(subject="^kill$", callback=lambda m: os.kill(os.getpid(), signal.SIGKILL))
        print("born", flush=True)

class Board(Process):
    def birth(self):
        self.draw, self.number = random.Random(SEED), 0
        self.frequency = 1000.0

    def life(self):
        for _ in range(10):
            if self.number < COUNT:
                self.publish("devices/board/number", self.number)
                self.number += 1
        if self.number in (1000, 3000) or self.number < COUNT and self.draw.random() < 0.02:
            try:
                self.send("mqtt", "kill")
            except GatewayError:
                pass  # it is dead already

class Gateway(Application):
    def build(self):
        settings = Settings(broker=BROKER, retry_first=0.05, retry_ceiling=0.2, telemetry_qos=1)
        self.add_process("mqtt", Killable, mode="fork", route="mqtt",
            restart=RestartPolicy(first=0.01, ceiling=0.05, most=1000),
            parameters={"settings": settings, "node": "lab"})
        self.add_process("board", Board, mode="fork", depends=["mqtt"])

sys.exit(Gateway(sockets=SOCKETS).run())
"""


@pytest.mark.timeout(120)
def test_a_route_that_is_killed_again_and_again_loses_nothing(
    broker: Mosquitto, tmp_path: Path
) -> None:
    seed, count = random.SystemRandom().randrange(1 << 32), 5000
    print(f"seed {seed}")
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, str(script), broker.url, str(tmp_path / "s"), str(seed), str(count)]
    with broker.listen(TOPIC) as heard:
        program = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        try:
            heard.wait_for(lambda message: int(message.payload) == count - 1, timeout=60)
            # The last may overtake what a killed route had in its hands.
            while missing := set(range(count)).difference(numbers(heard)):
                wanted = b"%d" % min(missing)
                heard.wait_for(partial(has_payload, wanted), timeout=20)
            program.send_signal(signal.SIGTERM)
            said, _ = program.communicate(timeout=20)
        finally:
            if program.poll() is None:
                os.killpg(program.pid, signal.SIGKILL)
                program.communicate(timeout=DEADLINE)
        arrived = numbers(heard)
    lives = said.count("born")
    assert lives >= 3, "it was to be killed"
    assert program.returncode == 0
    first_time = list(dict.fromkeys(arrived))
    assert first_time == sorted(first_time), "in order, but for repeats"
    assert len(arrived) - count <= 256 * (lives - 1)
