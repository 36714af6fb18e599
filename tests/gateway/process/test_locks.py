"""Named locks: taken together in one order, held by one thread, given up at a deadline."""

from __future__ import annotations

import threading
from collections.abc import Iterator

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


def test_two_threads_that_want_both_never_block_each_other(threads: ChildThreads) -> None:
    locks = Locks()
    locks.add("a", "b")
    counts: list[int] = []

    def work(*names: str) -> None:
        for _ in range(200):
            with locks.take(*names, timeout=5.0):
                counts.append(1)

    threads.start("one", lambda: work("a", "b"))
    threads.start("two", lambda: work("b", "a"))
    assert threads.join(20.0) == []
    assert len(counts) == 400


def test_a_thread_may_take_again_what_it_holds_and_adding_again_changes_nothing() -> None:
    locks = Locks()
    locks.add("a")
    with locks.take("a", timeout=0.0):
        locks.add("a")
        with locks.take("a", timeout=0.0):
            pass
    with pytest.raises(ValueError, match="nobody added the lock 'b'; there are a"):
        locks.take("a", "b", timeout=0.0).__enter__()
