from __future__ import annotations

import threading
import time

import pytest

from gateway.services.interruption import Interruptible, Interruption


def run_in_thread(hook: Interruptible, function, told: list[str]) -> threading.Thread:
    def run() -> None:
        try:
            hook.run(function)
        except Interruption:
            told.append("interrupted")
        else:
            told.append("returned")

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_loop_that_never_ends_is_ended() -> None:
    hook, begun = Interruptible(), threading.Event()
    told: list[str] = []

    def spin() -> None:
        begun.set()
        while True:
            pass

    thread = run_in_thread(hook, spin, told)
    assert begun.wait(5.0)
    assert hook.interrupt()
    thread.join(5.0)
    assert told == ["interrupted"]


def test_its_own_except_does_not_swallow_it_and_its_finally_runs() -> None:
    hook, begun = Interruptible(), threading.Event()
    told: list[str] = []

    def stubborn() -> None:
        try:
            begun.set()
            while True:
                try:
                    time.monotonic()
                except Exception:  # noqa: BLE001 - that is the point
                    told.append("swallowed")
        finally:
            told.append("put back")

    thread = run_in_thread(hook, stubborn, told)
    assert begun.wait(5.0)
    hook.interrupt()
    thread.join(5.0)
    assert told == ["put back", "interrupted"]


def test_where_nothing_runs_nothing_is_interrupted() -> None:
    hook = Interruptible()
    assert not hook.interrupt()
    assert hook.run(lambda: 3) == 3
    assert not hook.interrupt()


def test_nothing_is_raised_outside_however_it_falls() -> None:
    """The function is about to return whenever the interruption comes."""
    hook, over = Interruptible(), threading.Event()

    def interrupt() -> None:
        while not over.is_set():
            hook.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    returned = interrupted = 0
    try:
        for _ in range(20_000):
            try:
                hook.run(lambda: None)
            except Interruption:
                interrupted += 1
            else:
                returned += 1
    finally:
        over.set()
        thread.join(5.0)
    assert returned + interrupted == 20_000


def test_what_raises_raises_that() -> None:
    hook = Interruptible()
    with pytest.raises(ZeroDivisionError):
        hook.run(lambda: 1 // 0)
    assert hook.run(lambda: "again") == "again"


def test_two_at_once_are_refused() -> None:
    hook = Interruptible()
    with pytest.raises(ValueError, match="runs in it already"):
        hook.run(lambda: hook.run(lambda: None))
