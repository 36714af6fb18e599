"""Whoever calls somebody who is killed is told, whatever kind of call it is."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from benchmarks.deaths import CALLS, Call, Doomed, left_open
from gateway import Process
from gateway.errors import RecipientGoneError
from gateway.rpc import remote
from gateway.testing.stage import play


@pytest.mark.parametrize("kind", CALLS.values(), ids=CALLS)
def test_who_waits_for_the_dead_is_told(kind: Call) -> None:
    def scene(main: Process) -> tuple[float, int]:
        doomed = remote(main, "doomed", timeout=20)
        killer = threading.Timer(0.05, os.kill, (doomed.pid(), signal.SIGKILL))
        killer.start()
        began = time.monotonic()
        with pytest.raises(RecipientGoneError):
            kind(main, doomed)
        killer.join()
        return time.monotonic() - began, left_open(main)

    took, left = play(scene, doomed=(Doomed, "fork"))
    assert took < 1.5
    assert left == 0
