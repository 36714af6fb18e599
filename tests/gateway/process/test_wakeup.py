"""A wake-up ends every sleep, may be set by a signal handler, and leaves no descriptor."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

import gateway.process
from gateway.process.wakeup import Wakeup

Act = Callable[[], Any]


@pytest.mark.parametrize("timeout", [30.0, float("inf")])
def test_set_ends_a_wait_on_any_thread_and_every_later_one(timeout: float) -> None:
    wakeup = Wakeup()
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(wakeup.wait(timeout))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    wakeup.set()
    for thread in threads:
        thread.join(10.0)
    assert results == [True] * 3
    assert wakeup.wait(timeout)
    wakeup.close()


def test_a_wait_that_nobody_ends_lasts_its_time() -> None:
    wakeup = Wakeup()
    begun = monotonic()
    assert not wakeup.wait(0.03)
    assert monotonic() - begun >= 0.029
    for timeout in (0.0, -1.0):
        assert not wakeup.wait(timeout)
    wakeup.close()


def test_a_signal_handler_may_set_it_even_while_it_is_being_set() -> None:
    wakeup = Wakeup()
    before = signal.signal(signal.SIGUSR1, lambda number, frame: wakeup.set())
    try:
        with wakeup._using:
            signal.raise_signal(signal.SIGUSR1)
            assert wakeup.is_set
        killer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
        other = Wakeup()
        signal.signal(signal.SIGUSR1, lambda number, frame: other.set())
        killer.start()
        assert other.wait(30.0)
        killer.join()
        other.close()
    finally:
        signal.signal(signal.SIGUSR1, before)
    wakeup.close()


@pytest.fixture
def ours() -> str:
    """The folder of what is struck."""
    return str(gateway.process.__path__[0])


def test_a_handler_that_raises_while_it_is_set_keeps_nobody_from_it(
    everywhere: Callable[[Act, Act, Act], int],
) -> None:
    wakeups: list[Wakeup] = []

    def act() -> None:
        # Many a Python traces the instructions of nothing but what is called a second time.
        wakeups[0].set()
        wakeups[0].set()

    def check() -> None:
        # Either would hang on a lock that was taken, and not given back, by this thread.
        other = threading.Thread(target=wakeups.pop().close, daemon=True)
        other.start()
        other.join(10.0)
        assert not other.is_alive()

    met = everywhere(lambda: wakeups.append(Wakeup()), act, check)
    assert met > 10


def test_a_closed_one_can_be_set_and_waited_for_and_closed_again() -> None:
    wakeup = Wakeup()
    wakeup.close()
    wakeup.set()
    wakeup.close()
    assert wakeup.wait(60.0)


def test_a_forgotten_one_leaves_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        Wakeup()
    assert len(os.listdir("/proc/self/fd")) == before
