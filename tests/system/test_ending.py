"""However it ends, or a part of it is killed: nothing is left, and everybody is told."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.lab.bench import Bench, body_of, says
from tests.lab.gateway_process import TOPIC
from tests.lab.mosquitto import Mosquitto
from tests.lab.os_processes import until
from tests.lab.simavr import Simavr

pytestmark = [pytest.mark.paced, pytest.mark.needs("simavr", "mosquitto")]

DEADLINE = 10.0
"""Seconds that the whole application may take to end."""

UNHURT = dict.fromkeys(("health", "main", "mqtt", "serial", "unix_socket"), 0)
"""How often each process was restarted where none had to be."""


@pytest.mark.parametrize(
    ("number", "to_all"),
    [
        (signal.SIGTERM, False),
        (signal.SIGTERM, True),
        (signal.SIGINT, False),
        (signal.SIGINT, True),
    ],
    ids=["kill", "systemd", "kill-INT", "Ctrl-C"],
)
def test_a_signal_ends_it_in_order(bench: Bench, measured, number, to_all) -> None:
    began = time.monotonic()
    (bench.gateway.signal_all if to_all else bench.gateway.signal)(number)
    status = bench.gateway.wait(DEADLINE)
    measured(
        f"{number.name}{' to all' if to_all else ''} → end",
        time.monotonic() - began,
        limit=DEADLINE,
    )
    assert status == 0, bench.gateway.log
    bench.gateway.wait_until_nobody_is_left(0.5)
    said = bench.retained("status")
    assert (said["online"], said["cause"]) == (False, "the gateway was stopped")
    # What was told of the board holds no longer.
    assert bench.retained("devices/bench/state")["connected"] is False
    assert left_in(bench.gateway.sockets) == []
    assert not [line for line in bench.gateway.log if "Traceback" in line or " ERROR " in line]


def test_a_signal_ends_it_also_with_neither_board_nor_broker(
    board: Simavr, tmp_path: Path, measured
) -> None:
    broker = Mosquitto()
    try:
        with Bench(tmp_path, broker, board) as bench:
            bench.gateway.start()
            bench.gateway.wait_for_log("nobody listens")
            began = time.monotonic()
            bench.gateway.signal(signal.SIGTERM)
            assert bench.gateway.wait(DEADLINE) == 0
            measured("SIGTERM → end, nothing there", time.monotonic() - began, limit=DEADLINE)
            bench.gateway.wait_until_nobody_is_left(0.5)
            assert left_in(bench.gateway.sockets) == []
    finally:
        broker.close()


def test_a_frozen_broker_does_not_hold_up_the_end(bench: Bench, measured) -> None:
    bench.broker.freeze()
    began = time.monotonic()
    bench.gateway.signal(signal.SIGTERM)
    assert bench.gateway.wait(DEADLINE) == 0
    measured("SIGTERM → end, broker frozen", time.monotonic() - began, limit=DEADLINE)
    bench.gateway.wait_until_nobody_is_left(0.5)
    bench.broker.thaw()


def test_a_killed_serial_router_says_failed_and_comes_back(bench: Bench, measured) -> None:
    victim = bench.gateway.processes()["serial"]
    bench.states.skip()
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    failed = bench.wait_for_state(state="failed")
    measured("serial router killed → failed", time.monotonic() - began, limit=2.0)
    assert failed["connected"] is False
    assert "died" in failed["cause"]
    assert abs(failed["since"] - time.time()) < 5
    bench.wait_for_state(connected=True)
    measured("serial router killed → connected again", time.monotonic() - began, limit=5.0)
    bench.settle(state="healthy")
    assert bench.retained("devices/bench/state")["connected"] is True
    assert bench.call("led", '{"on": true}')["ok"] is True
    bench.board.wait_for_led(True)
    assert bench.gateway.processes()["serial"] != victim
    assert restarts(bench) == {**UNHURT, "serial": 1}


def test_a_killed_mqtt_router_leaves_its_will_and_is_born_again(bench: Bench, measured) -> None:
    victim = bench.gateway.processes()["mqtt"]
    with bench.broker.listen(f"{TOPIC}/status") as status:
        status.wait_for_next(lambda heard: says(heard, online=True))
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        will = status.wait_for_next(lambda heard: says(heard, online=False))
        measured("mqtt router killed → will", time.monotonic() - began, limit=2.0)
        assert "silent" in body_of(will)["cause"]
        status.wait_for_next(lambda heard: says(heard, online=True))
        measured("mqtt router killed → birth", time.monotonic() - began, limit=5.0)
    assert bench.retained("status")["online"] is True
    assert bench.retained("devices/bench/state")["state"] == "healthy"
    assert bench.retained("devices/bench/info")["identity"]["model"] == "bench-board"
    assert bench.call("led", '{"on": true}')["ok"] is True
    bench.board.wait_for_led(True)
    assert restarts(bench) == {**UNHURT, "mqtt": 1}


def test_when_the_main_process_is_killed_all_end_and_the_next_one_begins(
    bench: Bench, measured
) -> None:
    began = time.monotonic()
    bench.gateway.signal(signal.SIGKILL)
    assert bench.gateway.wait() == -signal.SIGKILL
    bench.gateway.wait_until_nobody_is_left(5.0)
    measured("main process killed → nobody left", time.monotonic() - began, limit=5.0)
    assert bench.retained("status")["online"] is False

    began, started = time.monotonic(), time.time()
    bench.gateway.start()
    bench.states.wait_for_next(
        lambda heard: says(heard, state="healthy") and body_of(heard)["since"] >= started
    )
    measured("started in the same folder → healthy", time.monotonic() - began, limit=DEADLINE)
    assert bench.retained("status")["online"] is True
    assert bench.call("led", '{"on": true}')["ok"] is True
    bench.board.wait_for_led(True)
    bench.gateway.signal(signal.SIGTERM)
    assert bench.gateway.wait(DEADLINE) == 0
    assert left_in(bench.gateway.sockets) == []


def test_when_the_fork_server_is_killed_it_ends_as_failed(bench: Bench, measured) -> None:
    began = time.monotonic()
    os.kill(bench.gateway.processes()["fork server"], signal.SIGKILL)
    assert bench.gateway.wait(DEADLINE) == 1
    measured("fork server killed → end with status 1", time.monotonic() - began, limit=DEADLINE)
    bench.gateway.wait_until_nobody_is_left(0.5)
    bench.gateway.wait_for_log("CRITICAL .* the fork server died")
    assert bench.retained("status")["online"] is False
    assert left_in(bench.gateway.sockets) == []


def restarts(bench: Bench) -> dict[str, int]:
    """Return how often each process was restarted, once all of them live."""
    processes: list[dict[str, object]] = []

    def all_live() -> bool:
        processes[:] = bench.gateway.ask({"op": "ps"})["processes"]
        return all(each["state"] == "living" for each in processes)

    assert until(all_live, 5.0), processes
    return {str(each["name"]): int(str(each["restarts"])) for each in processes}


def left_in(folder: Path) -> list[str]:
    """Return what lies in the folder of sockets, but for the lock, which stays."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_socket())
