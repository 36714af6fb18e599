"""Boards come and go, hang and come to; whoever listens at the broker knows within seconds."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.bench import Bench, body_of, says, settled
from tests.lab.gateway_process import DEVICE
from tests.lab.mosquitto import Mosquitto, Received
from tests.lab.os_processes import holdings, until
from tests.lab.simavr import Simavr

pytestmark = [pytest.mark.paced, pytest.mark.needs("simavr", "mosquitto")]

PATIENCE = 3.0
"""Seconds of silence after which the bench board is stale: its driver's heartbeat."""

CYCLES = 20
SEED = "GATEWAY_TEST_SEED"
"""The environment variable that repeats the random moments of an earlier run."""


def test_an_unplugged_board_is_told_with_its_cause_and_comes_back(bench: Bench, measured) -> None:
    with bench.broker.listen(f"{DEVICE}/events/+") as events:
        bench.states.skip()
        began = time.monotonic()
        bench.board.kill()
        lost = bench.wait_for_state(connected=False)
        measured("emulator killed → connected: false", time.monotonic() - began, limit=2.0)
        assert lost["cause"]
        absent = bench.settle(state="absent")
        assert "nothing is plugged in" in absent["cause"]
        assert bench.retained("devices/bench/state") == absent
        event = events.wait_for_next(lambda heard: heard.topic.endswith("/disconnected"))
        assert body_of(event)["cause"]

        began = time.monotonic()
        bench.board.start()
        bench.wait_for_state(connected=True)
        measured("emulator started again → connected: true", time.monotonic() - began, limit=3.0)
        bench.settle(state="healthy")
        assert bench.retained("devices/bench/state")["connected"] is True
        event = events.wait_for_next(lambda heard: heard.topic.endswith("/connected"))
        assert body_of(event)["identity"]["model"] == "bench-board"


def test_a_call_to_an_unplugged_board_is_answered_with_the_reason(bench: Bench) -> None:
    bench.board.kill()
    bench.settle(state="absent")
    reply = bench.call("led", '{"on": true}')
    assert reply["ok"] is False
    assert reply["error"]["code"]
    assert reply["error"]["reason"]


def test_a_frozen_board_is_stale_then_an_error_and_healthy_once_thawed(
    bench: Bench, measured
) -> None:
    with bench.broker.listen(f"{DEVICE}/events/+") as events:
        bench.states.skip()
        began = time.monotonic()
        bench.board.freeze()
        stale = bench.wait_for_state(state="stale")
        measured("emulator frozen → stale", time.monotonic() - began, limit=PATIENCE + 0.5)
        assert stale["connected"] is True
        assert "silent" in stale["cause"]
        assert bench.retained("devices/bench/state") == stale
        error = events.wait_for_next(lambda heard: heard.topic.endswith("/comms_error"))
        measured(
            "emulator frozen → comms_error", time.monotonic() - began, limit=2 * PATIENCE + 0.5
        )
        assert "silent" in body_of(error)["cause"]

        began = time.monotonic()
        bench.board.thaw()
        bench.settle(state="healthy")
        measured("emulator thawed → healthy", time.monotonic() - began, limit=2.0)
    assert bench.call("led", '{"on": true}')["ok"] is True


def test_a_port_that_is_absent_at_the_start_is_waited_for(
    broker: Mosquitto, board: Simavr, tmp_path: Path, measured
) -> None:
    with Bench(tmp_path, broker, board) as bench:
        bench.gateway.start()
        absent = bench.settle(state="absent", connected=False)
        assert bench.retained("status")["online"] is True
        bench.gateway.wait_for_log(r"bench: .*nothing is plugged in")
        assert absent["cause"]
        began = time.monotonic()
        board.start()
        bench.wait_for_state(connected=True)
        measured("plugged in for the first time → connected: true", time.monotonic() - began)
        assert bench.call("led", '{"on": true}')["ok"] is True
        board.wait_for_led(True)


@pytest.fixture
def fast_bench(broker: Mosquitto, board: Simavr, tmp_path: Path) -> Iterator[Bench]:
    """The usual scene with more telemetry: 100 readings a second."""
    board.start()
    # It would ask everybody after half a minute, which opens ways that stay.
    no_health = "[health]\nenabled = false\n"
    with settled(tmp_path, broker, board, hz=100, more=no_health) as bench:
        yield bench


@pytest.mark.timeout(180)
def test_twenty_cycles_at_random_moments_cost_nothing(fast_bench: Bench, measured) -> None:
    bench, pause = fast_bench, threading.Event()
    seed = int(os.environ.get(SEED) or time.time_ns() % 1_000_000)
    print(f"{SEED}={seed}")
    dice = random.Random(seed)
    # Once before we count: a way to another mailbox is opened when it is first used, and stays.
    bench.board.kill()
    bench.settle(connected=False)
    bench.board.start()
    bench.settle(state="healthy")
    assert bench.call("led", '{"on": true}')["ok"] is True
    pids = bench.gateway.processes()
    before = least_held(pids)
    took = []
    with bench.broker.listen(f"{DEVICE}/analogue") as telemetry:
        for cycle in range(CYCLES):
            telemetry.skip()
            for _ in range(dice.randrange(1, 30)):
                telemetry.wait_for_next(lambda _: True)
            pause.wait(dice.uniform(0, 0.02))
            bench.board.kill()
            pause.wait(dice.uniform(0, 0.6))
            if dice.random() < 0.3:  # pulled again while it is opened, or proven
                bench.board.start()
                pause.wait(dice.uniform(0, 0.4))
                bench.board.kill()
            started, began = time.time(), time.monotonic()
            bench.board.start()
            bench.states.wait_for_next(connected_since(started))
            took.append(time.monotonic() - began)
            assert took[-1] <= 3.0, f"cycle {cycle} with {SEED}={seed}: {took[-1]:.2f} s"
        telemetry.skip()
        telemetry.wait_for_next(lambda _: True)
    assert bench.call("led", '{"on": true}')["ok"] is True
    bench.board.wait_for_led(True)

    measured(f"{len(took)} recoveries of {CYCLES} ({SEED}={seed}), slowest", max(took), limit=3.0)
    assert bench.gateway.processes() == pids
    assert until(lambda: not more_than(before, pids), 10.0), more_than(before, pids)
    after = least_held(pids)
    for name, (threads, descriptors) in after.items():
        measured(f"{name}: threads, {before[name][0]} at the start", threads, unit="")
        measured(f"{name}: descriptors, {before[name][1]} at the start", descriptors, unit="")


def connected_since(moment: float) -> Callable[[Received], bool]:
    """Return what accepts a board that was proven after ``moment``, in seconds since 1970."""
    return lambda heard: says(heard, connected=True) and body_of(heard)["since"] >= moment


Held = dict[str, tuple[int, int]]


def held(pids: dict[str, int]) -> Held:
    """Return how many threads and descriptors each process has now."""
    found = {name: holdings(pid) for name, pid in pids.items()}
    return {name: (len(has.threads), len(has.descriptors)) for name, has in found.items()}


def least_held(pids: dict[str, int]) -> Held:
    """Return the least of several looks: a question of ours is itself a descriptor for a moment."""
    looks: list[Held] = []

    def look() -> bool:
        looks.append(held(pids))
        return len(looks) >= 30

    assert until(look, 10.0)
    return {
        name: (min(look[name][0] for look in looks), min(look[name][1] for look in looks))
        for name in pids
    }


def more_than(before: Held, pids: dict[str, int]) -> list[str]:
    """Describe every process that has more than ``before``."""
    now = held(pids)
    return [
        f"{name}: {now[name]} after {before[name]}: {holdings(pids[name])}"
        for name in before
        if now[name][0] > before[name][0] or now[name][1] > before[name][1]
    ]
