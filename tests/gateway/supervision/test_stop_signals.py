"""Ctrl-C, once, twice, and as wrappers pass it on."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gateway.clock import VirtualClock
from gateway.supervision.stop_signals import ECHO, StopSignals


def at_the_same_time(*calls: Callable[[], object]) -> None:
    """Have all signals that ``calls`` send to the main thread arrive together."""
    held = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        for call in calls:
            call()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def press(number: int) -> None:
    """Send the main thread, and no other one of the test's own, a signal."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, number)


def test_a_second_ctrl_c_forces() -> None:
    clock, asked = VirtualClock(), []

    def force() -> bool:
        asked.append("force")
        return True

    with StopSignals(lambda: asked.append("stop"), force, clock=clock):
        os.kill(os.getpid(), signal.SIGTERM)
        clock.now += ECHO
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert asked == ["stop", "stop", "force"]


def test_who_would_not_hear_it_is_interrupted_by_the_next_one_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printed: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: printed.append(told.exc_type))

    class Dropped:
        def __del__(self) -> None:
            # Python prints what is raised in here, and goes on.
            os.kill(os.getpid(), signal.SIGINT)

    clock, forced = VirtualClock(), 0

    def force() -> bool:
        nonlocal forced
        forced += 1
        return True

    with StopSignals(lambda: None, force, clock=clock):
        os.kill(os.getpid(), signal.SIGINT)
        clock.now += ECHO
        Dropped()
        assert (forced, printed) == (1, [])
        Dropped()
        assert (forced, printed) == (2, [KeyboardInterrupt])
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_one_that_a_wrapper_passes_on_is_the_first_one() -> None:
    clock, asked = VirtualClock(), []

    def force() -> bool:
        asked.append("force")
        return False

    with StopSignals(lambda: asked.append("stop"), force, clock=clock):
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            clock.now += ECHO / 4
    assert asked == ["stop"]


@pytest.mark.parametrize("other", [signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_is_told_from_a_signal_that_comes_just_then(other: int) -> None:
    clock, asked = VirtualClock(), []

    def force() -> bool:
        asked.append("force")
        return True

    with StopSignals(lambda: asked.append("stop"), force, clock=clock) as signals:
        press(signal.SIGTERM)
        clock.now += ECHO
        with pytest.raises(KeyboardInterrupt):
            at_the_same_time(lambda: signals.interrupt(lambda: True), lambda: press(other))
    # One that comes twice before it is handled is handled once.
    assert asked == ["stop"] * (1 if other == signal.SIGTERM else 2)


def test_a_second_ctrl_c_that_comes_with_an_interrupt_forces_and_is_the_only_one() -> None:
    clock, asked = VirtualClock(), []

    def force() -> bool:
        asked.append("force")
        return True

    with StopSignals(lambda: asked.append("stop"), force, clock=clock) as signals:
        press(signal.SIGTERM)
        clock.now += ECHO
        with pytest.raises(KeyboardInterrupt):
            at_the_same_time(
                lambda: signals.interrupt(lambda: "force" not in asked),
                lambda: press(signal.SIGINT),
            )
    assert asked == ["stop", "force"]


def test_nobody_is_interrupted_by_a_signal_that_somebody_else_handles() -> None:
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    used: list[int] = []
    with StopSignals(lambda: None, lambda: True, clock=VirtualClock()) as signals:
        for number in numbers:
            with pytest.raises(KeyboardInterrupt):
                signals.interrupt(lambda: True)
            signal.signal(number, lambda number, frame: used.append(number))
        assert not signals.interrupt(lambda: True)
    assert used == []
