"""A broker that is down, dies and comes back: said, borne, and made good."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.lab.bench import Bench, says, settled
from tests.lab.gateway_process import DEVICE, TOPIC
from tests.lab.mosquitto import Mosquitto
from tests.lab.os_processes import until
from tests.lab.simavr import Simavr

pytestmark = [pytest.mark.paced, pytest.mark.needs("simavr", "mosquitto")]

OFTEN = "retry_ceiling = 1.0"
"""For the route: a broker that starts slowly is not waited for ever longer."""


@pytest.fixture
def stopped_broker() -> Iterator[Mosquitto]:
    """A broker that is not started yet; its port is free."""
    broker = Mosquitto()
    yield broker
    broker.close()


def test_a_broker_that_is_down_at_the_start_is_said_and_waited_for(
    stopped_broker: Mosquitto, board: Simavr, tmp_path: Path, measured
) -> None:
    board.start()
    with Bench(tmp_path, stopped_broker, board, mqtt=OFTEN) as bench:
        bench.gateway.start()
        bench.gateway.wait_for_log(r"WARNING .* nobody listens at 127\.0\.0\.1")
        bench.gateway.wait_for_log(r"bench: proven → healthy")
        # The log is told first, from another thread.
        assert until(lambda: mqtt(bench)["state"] == "waiting", 5.0)
        assert "nobody listens" in mqtt(bench)["cause"]

        began = time.monotonic()
        stopped_broker.start()
        bench.settle(state="healthy")
        measured("broker started late → it knows the board", time.monotonic() - began, limit=5.0)
        assert bench.retained("status")["online"] is True
        reply = bench.call("led", '{"on": true}')
        assert reply["ok"] is True
        board.wait_for_led(True)


def test_a_broker_that_was_killed_gets_all_that_is_retained_again(bench: Bench, measured) -> None:
    bench.forget()
    kept = {
        topic: bench.retained(topic)
        for topic in ("status", "devices/bench/state", "devices/bench/info")
    }
    bench.broker.kill()
    bench.gateway.wait_for_log(r"WARNING .* disconnected: .*")
    assert until(lambda: bench.gateway.statistics("mqtt")["connection"] == "waiting", 5.0)

    began = time.monotonic()
    bench.broker.start()
    with bench.broker.listen(f"{TOPIC}/status") as status:
        status.wait_for_next(lambda heard: says(heard, online=True))
        measured("broker killed and started → birth", time.monotonic() - began, limit=5.0)
    bench.settle(state="healthy")
    with bench.broker.listen(f"{DEVICE}/analogue") as telemetry:
        telemetry.wait_for_count(3)
    assert kept == {topic: bench.retained(topic) for topic in kept}
    assert bench.call("led", '{"on": true}')["ok"] is True
    bench.board.wait_for_led(True)
    counts = bench.gateway.statistics("mqtt")["session"]
    assert (counts["connections"], counts["faults"]) == (2, 0)


def test_what_happened_to_the_board_meanwhile_is_told_afterwards(bench: Bench) -> None:
    bench.forget()
    bench.broker.kill()
    bench.board.kill()
    bench.gateway.wait_for_log(r"bench: present → absent")
    bench.broker.start()
    state = bench.settle(state="absent")
    assert state["connected"] is False
    bench.board.start()
    bench.settle(state="healthy")


@pytest.fixture
def eager_bench(broker: Mosquitto, board: Simavr, tmp_path: Path) -> Iterator[Bench]:
    """The usual scene, whose gateway tries to meet its broker once a second at least."""
    board.start()
    with settled(tmp_path, broker, board, mqtt=OFTEN) as bench:
        yield bench


def test_broker_outages_cost_no_thread_and_no_descriptor(eager_bench: Bench, measured) -> None:
    bench = eager_bench
    bench.forget()
    # One first: a way to another mailbox is opened when it is first used, and stays.
    outage(bench, connections=2)
    mqtt = bench.gateway.processes()["mqtt"]
    before = bench.gateway.holdings()["mqtt"]
    outages = 5
    for number in range(outages):
        outage(bench, connections=number + 3)
    assert bench.gateway.processes()["mqtt"] == mqtt
    assert until(
        lambda: len(bench.gateway.holdings()["mqtt"].descriptors) <= len(before.descriptors), 3.0
    )
    after = bench.gateway.holdings()["mqtt"]
    assert len(after.threads) <= len(before.threads), after
    measured(
        f"mqtt: descriptors after {outages} outages, {len(before.descriptors)} at the start",
        len(after.descriptors),
        unit="",
    )


def mqtt(bench: Bench) -> dict[str, Any]:
    """Return what ``gateway ps`` tells of the route."""
    told: dict[str, Any]
    (told,) = (each for each in bench.gateway.ask({"op": "ps"})["routes"] if each["name"] == "mqtt")
    return told


def outage(bench: Bench, *, connections: int) -> None:
    """Kill the broker, start it, and wait until the gateway has met it ``connections`` times."""
    bench.broker.kill()
    assert until(lambda: bench.gateway.statistics("mqtt")["connection"] == "waiting", 5.0)
    bench.broker.start()
    assert until(partial(has_connected, bench, connections), 10.0)


def has_connected(bench: Bench, times: int) -> bool:
    """Tell whether the gateway has met its broker so often."""
    connections: int = bench.gateway.statistics("mqtt")["session"]["connections"]
    return connections >= times
