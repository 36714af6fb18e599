"""A lock in virtual time: first come first served, given up at its deadline, lost by nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from math import inf
from random import Random

import pytest

from gateway.bus.baton import Baton
from gateway.clock import VirtualClock
from gateway.errors import SimulationError
from gateway.process.simulated_lock import SimulatedLock


@pytest.fixture
def baton() -> Iterator[Baton]:
    baton = Baton(VirtualClock(), Random(0), at_once=1000)
    yield baton
    baton.end()


def test_who_waits_lets_the_others_go_on_and_gets_it_in_the_order_of_coming(baton: Baton) -> None:
    lock = SimulatedLock(baton)
    said: list[tuple[str, float]] = []

    def take(name: str, after: float) -> None:
        baton.wait(after)
        assert lock.acquire(timeout=60.0)
        said.append((name, baton.clock.now))
        # Whoever comes back at once is behind those who wait.
        baton.wait(baton.clock.now + 1.0)
        lock.release()
        assert lock.acquire(timeout=60.0)
        said.append((name, baton.clock.now))
        lock.release()

    for name, after in (("c", 0.3), ("a", 0.1), ("b", 0.2)):
        baton.thread(take, args=(name, after)).start()
    baton.run(inf)
    assert [name for name, _ in said] == ["a", "b", "c", "a", "b", "c"]
    assert [time for _, time in said] == pytest.approx([0.1, 1.1, 2.1, 3.1, 3.1, 3.1])


def test_its_deadline_is_virtual_and_who_gave_up_is_passed_over(baton: Baton) -> None:
    lock = SimulatedLock(baton)
    said: list[tuple[str, bool, float]] = []

    def hold() -> None:
        assert lock.acquire(timeout=0.0)
        baton.wait(10.0)
        lock.release()

    def take(name: str, timeout: float) -> None:
        found = lock.acquire(timeout=timeout)
        said.append((name, found, baton.clock.now))
        if found:
            lock.release()

    baton.thread(hold).start()
    for name, timeout in (("now", 0.0), ("soon", 4.0), ("ever", inf)):
        baton.thread(take, args=(name, timeout)).start()
    baton.run(inf)
    assert said == [("now", False, 0.0), ("soon", False, 4.0), ("ever", True, 10.0)]


def test_its_holder_may_take_it_again_and_nobody_else_may_give_it_back(baton: Baton) -> None:
    lock = SimulatedLock(baton)
    said: list[object] = []

    def hold() -> None:
        assert lock.acquire(timeout=0.0)
        assert lock.acquire(timeout=0.0)
        baton.wait(1.0)
        lock.release()
        baton.wait(2.0)
        lock.release()

    def meddle() -> None:
        with pytest.raises(RuntimeError, match="not this thread's to give back"):
            lock.release()
        assert lock.acquire(timeout=5.0)
        said.append(baton.clock.now)
        lock.release()

    baton.thread(hold).start()
    baton.thread(meddle).start()
    baton.run(inf)
    assert said == [2.0]


def test_who_leaves_as_the_simulation_ends_keeps_nobody_from_leaving(baton: Baton) -> None:
    lock = SimulatedLock(baton)
    left: list[str] = []

    def hold(name: str) -> None:
        try:
            assert lock.acquire(timeout=inf)
            try:
                baton.wait(inf)
            finally:
                lock.release()
        finally:
            left.append(name)

    for name in ("holder", "first", "second"):
        baton.thread(hold, args=(name,), name=name).start()
    baton.run(1.0)
    assert baton.end() == []
    assert left == ["holder", "first", "second"]


def test_who_tries_again_and_again_without_waiting_is_found_out(baton: Baton) -> None:
    lock = SimulatedLock(baton)

    def hold() -> None:
        assert lock.acquire(timeout=0.0)
        baton.wait(inf)

    def spin() -> None:
        while not lock.acquire(timeout=0.0):
            pass

    baton.thread(hold).start()
    baton.thread(spin, name="spinner").start()
    with pytest.raises(SimulationError, match=r"time stands still at 0 s: .* by 'spinner'"):
        baton.run(inf)


def test_threads_that_the_simulation_does_not_know_are_refused(baton: Baton) -> None:
    lock = SimulatedLock(baton)
    refused: list[BaseException] = []

    def take() -> None:
        try:
            lock.acquire(timeout=0.0)
        except SimulationError as error:
            refused.append(error)

    stranger = threading.Thread(target=take)
    stranger.start()
    stranger.join(10.0)
    assert "may not take a lock" in str(refused[0])


def test_whoever_drives_may_take_one_that_is_free_and_never_waits(baton: Baton) -> None:
    lock = SimulatedLock(baton)
    assert lock.acquire(timeout=0.0)
    lock.release()

    def hold() -> None:
        assert lock.acquire(timeout=0.0)
        baton.wait(inf)

    baton.thread(hold).start()
    baton.run(1.0)
    with pytest.raises(SimulationError, match="may not wait for a lock: step it"):
        lock.acquire(timeout=1.0)
