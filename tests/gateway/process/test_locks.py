"""Named locks: taken together in one order, held by one thread, given up at a deadline."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.errors import CallTimeoutError
from gateway.process.locks import Locks
from gateway.process.threads import ChildThreads


@pytest.fixture
def threads() -> Iterator[ChildThreads]:
    threads = ChildThreads("test", lambda error: None)
    yield threads
    assert threads.join(10.0) == []


def test_a_lock_that_stays_taken_is_a_time_out_and_leaves_none_of_the_others_held(
    threads: ChildThreads,
) -> None:
    locks = Locks()
    locks.add("arm", "camera")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with locks.take("camera", timeout=5.0):
            held.set()
            assert done.wait(10.0)

    threads.start("holder", hold)
    assert held.wait(10.0)
    with pytest.raises(CallTimeoutError, match="'camera' stayed taken"), locks.take(timeout=0.01):
        pytest.fail("it was held")
    free: list[bool] = []

    def take_arm() -> None:
        with locks.take("arm", timeout=5.0):
            free.append(True)

    threads.start("other", take_arm)
    done.set()
    assert threads.join(10.0) == []
    assert free == [True]


class Recorder:
    """A lock that notes when it is taken and given back."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name = name
        self._notes = notes

    def acquire(self, *, timeout: float) -> bool:
        self._notes.append(f"take {self._name}")
        return True

    def release(self) -> None:
        self._notes.append(f"give {self._name}")


def test_those_that_are_taken_together_are_taken_in_one_order_so_that_nobody_deadlocks() -> None:
    notes: list[str] = []
    locks = Locks()
    made: Any = {name: Recorder(name, notes) for name in ("b", "c", "a")}
    locks._locks = made
    for names in (("c", "a"), ("a", "c"), ()):
        with locks.take(*names, timeout=1.0):
            pass
    both = ["take a", "take c", "give c", "give a"]
    assert notes == [*both, *both, "take a", "take b", "take c", "give c", "give b", "give a"]


def test_a_thread_may_take_again_what_it_holds_and_adding_again_changes_nothing() -> None:
    locks = Locks()
    locks.add("a")
    with locks.take("a", timeout=0.0):
        locks.add("a")
        with locks.take("a", timeout=0.0):
            pass
    with pytest.raises(ValueError, match="nobody added the lock 'b'; there are a"):
        locks.take("a", "b", timeout=0.0).__enter__()
