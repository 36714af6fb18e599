"""Ctrl-C, once, twice, and as wrappers pass it on."""

from __future__ import annotations

import os
import signal

import pytest

from gateway.clock import VirtualClock
from gateway.supervision.stop_signals import ECHO, StopSignals


def test_a_second_ctrl_c_forces() -> None:
    clock, asked = VirtualClock(), []

    def force() -> None:
        asked.append("force")
        raise KeyboardInterrupt

    with StopSignals(lambda: asked.append("stop"), force, clock=clock):
        os.kill(os.getpid(), signal.SIGTERM)
        clock.now += ECHO
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert asked == ["stop", "stop", "force"]


def test_one_that_a_wrapper_passes_on_is_the_first_one() -> None:
    clock, asked = VirtualClock(), []
    with StopSignals(lambda: asked.append("stop"), lambda: asked.append("force"), clock=clock):
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            clock.now += ECHO / 4
    assert asked == ["stop"]
