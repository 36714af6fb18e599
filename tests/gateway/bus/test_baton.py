"""The baton alone: who runs, in which order, how time moves, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from math import inf
from random import Random
from typing import Any

import pytest

from gateway.bus.baton import Baton, Leave
from gateway.bus.turn import Turn
from gateway.clock import VirtualClock
from gateway.errors import SimulationError

Make = Callable[..., Baton]


@pytest.fixture
def make() -> Iterator[Make]:
    """Return a maker of batons, whose threads are ended afterwards."""
    made: list[Baton] = []

    def baton(seed: int = 0, **limits: Any) -> Baton:
        made.append(Baton(VirtualClock(), Random(seed), **limits))
        return made[-1]

    yield baton
    for each in made:
        assert each.end() == []


def sleeper(baton: Baton, name: str, log: list[tuple[float, str]], *moments: float) -> None:
    def run() -> None:
        for moment in moments:
            baton.wait(moment)
            log.append((baton.clock.now, name))

    baton.thread(run, name=name).start()


def test_time_jumps_from_deadline_to_deadline_and_stops_at_the_horizon(make: Make) -> None:
    baton, log = make(), list[tuple[float, str]]()
    sleeper(baton, "a", log, 1.0, 5.0)
    sleeper(baton, "b", log, 3.0, 1e9)
    assert baton.next_due() == 0.0
    baton.run(4.0)
    assert log == [(1.0, "a"), (3.0, "b")]
    assert baton.next_due() == 5.0
    baton.run(inf)
    assert log[2:] == [(5.0, "a"), (1e9, "b")]
    assert baton.next_due() == inf


def test_the_seed_decides_who_goes_first_at_one_instant(make: Make) -> None:
    orders = set()
    for seed in range(20):
        for _ in range(2):
            baton, log = make(seed), list[tuple[float, str]]()
            for name in "abc":
                sleeper(baton, name, log, 1.0)
            baton.run(1.0)
            orders.add((seed, *(name for _, name in log)))
    # Each seed one order, and not all seeds the same.
    assert len(orders) == 20
    assert len({order[1:] for order in orders}) > 3


def test_who_is_woken_runs_first_come_first_and_before_time_moves(make: Make) -> None:
    baton, log = make(), list[tuple[float, str]]()
    turns = [Turn(baton) for _ in range(3)]

    def wait(number: int) -> None:
        assert turns[number].acquire()
        log.append((baton.clock.now, f"woken {number}"))

    def wake() -> None:
        baton.wait(2.0)
        for number in (2, 0, 1):
            turns[number].release()
        log.append((baton.clock.now, "waker"))

    for number in range(3):
        baton.thread(wait, args=(number,)).start()
    baton.thread(wake).start()
    baton.run(inf)
    assert log == [(2.0, "waker"), (2.0, "woken 2"), (2.0, "woken 0"), (2.0, "woken 1")]


def test_a_turn_is_waited_for_until_a_deadline_and_released_once(make: Make) -> None:
    baton = make()
    turn = Turn(baton)
    said: list[object] = []

    def wait() -> None:
        said.append((turn.acquire(True, 2.0), baton.clock.now))
        turn.release()
        with pytest.raises(RuntimeError):
            turn.release()
        said.append((turn.acquire(True, 2.0), baton.clock.now))
        said.append((turn.acquire(True, 0.0), baton.clock.now))

    baton.thread(wait).start()
    baton.run(inf)
    assert said == [(False, 2.0), (True, 2.0), (False, 2.0)]


def test_join_waits_in_virtual_time(make: Make) -> None:
    baton, log = make(), list[object]()

    def join() -> None:
        worker = baton.thread(lambda: baton.wait(10.0))
        assert not worker.is_alive()
        worker.start()
        worker.join(3.0)
        log.append((worker.is_alive(), baton.clock.now))
        worker.join()
        log.append((worker.is_alive(), baton.clock.now))

    baton.thread(join).start()
    baton.run(inf)
    assert log == [(True, 3.0), (False, 10.0)]


def test_a_wait_too_short_for_the_clock_still_ends_later(make: Make) -> None:
    baton = make()
    baton.clock.now = 1e9
    assert baton.after(1e-12) > baton.clock.now
    assert baton.after(0.0) == baton.clock.now


def test_timers_that_nobody_waits_for_do_not_pile_up(make: Make) -> None:
    baton = make()
    turn = Turn(baton)

    def wait() -> None:
        for number in range(2000):
            assert turn.acquire(True, 1000.0 + number)

    def wake() -> None:
        for number in range(2000):
            turn.release()
            baton.wait(0.001 * (number + 1))
        assert len(baton._timers) < 200

    failures: list[BaseException] = []

    def noted(target: Callable[[], None]) -> None:
        try:
            target()
        except AssertionError as failure:
            failures.append(failure)

    baton.thread(noted, args=(wait,)).start()
    baton.thread(noted, args=(wake,)).start()
    baton.run(inf)
    assert failures == []
    assert baton.clock.now == pytest.approx(2.0)


def test_the_end_makes_everybody_leave_whatever_they_wait_for(make: Make) -> None:
    baton, left = make(), list[str]()

    def wait(name: str, deadline: float) -> None:
        try:
            baton.wait(deadline)
        except Leave:
            left.append(name)
            with pytest.raises(Leave):
                baton.wait(inf)
            with pytest.raises(Leave):
                baton.thread(lambda: None).start()
            raise

    for name, deadline in (("a", inf), ("b", 99.0)):
        baton.thread(wait, args=(name, deadline)).start()
    baton.run(1.0)
    baton.thread(lambda: left.append("never ran")).start()
    assert baton.end() == []
    assert left == ["a", "b"]
    assert threading.active_count() == 1


def test_a_strand_in_a_real_wait_is_left_behind_by_name(make: Make) -> None:
    baton, gate = make(patience=0.05), threading.Event()
    stuck = baton.thread(gate.wait, args=(20.0,), name="stuck")
    stuck.start()
    baton.thread(lambda: baton.wait(inf), name="other").start()
    with pytest.raises(SimulationError, match="'stuck' neither waits nor writes"):
        baton.run(inf)
    assert list(baton.strands) == [stuck]
    assert baton.end() == ["stuck"]
    gate.set()
    stuck.join_really(5.0)


def test_a_long_computation_that_writes_now_and_then_is_no_stuck_one(make: Make) -> None:
    baton = make(patience=0.1)

    def work() -> None:
        until = time.monotonic() + 0.5
        while time.monotonic() < until or baton.events <= 10:
            baton.count()
            time.sleep(0.001)

    baton.thread(work).start()
    baton.run(inf)
    assert baton.events > 10


def test_the_driver_may_not_wait_and_a_strand_may_not_drive(make: Make) -> None:
    baton, errors = make(), list[str]()
    with pytest.raises(SimulationError, match="drives a simulation may not wait"):
        baton.wait(1.0)

    def drive() -> None:
        with pytest.raises(SimulationError) as refused:
            baton.run(inf)
        errors.append(str(refused.value))

    baton.thread(drive, name="worker").start()
    with pytest.raises(SimulationError):
        baton.run(inf)
    assert errors[0].startswith("the thread 'worker'")
