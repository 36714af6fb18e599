"""Ctrl-C, once, twice, and as wrappers pass it on."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest

from gateway.clock import VirtualClock
from gateway.supervision.stop_signals import ECHO, StopSignals


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
