"""Whoever reads a property of a service that is killed is told at once."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest

from gateway.errors import RecipientGoneError
from gateway.services import Services
from tests.gateway.rpc.test_transactions import nothing_is_left

ROUNDS = 200


class Doomed:
    """Is killed while somebody reads or sets it."""

    @property
    def pid(self) -> int:
        """The OS process."""
        return os.getpid()

    @property
    def endless(self) -> int:
        """Nothing that anybody has ever read."""
        time.sleep(30)
        return 0

    @endless.setter
    def endless(self, value: int) -> None:
        time.sleep(30)


def reading(doomed: Any) -> None:
    assert doomed.endless


def setting(doomed: Any) -> None:
    doomed.endless = 1


@pytest.mark.alone
@pytest.mark.parametrize("use", [reading, setting])
def test_a_killed_service_is_a_typed_error_at_once(
    house: Services,
    use: Callable[[Any], None],
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    chance = random.Random(1)
    killed_at: list[float] = []
    seconds: list[float] = []
    for _ in range(ROUNDS):
        doomed = house.start("doomed", Doomed)
        assert doomed.pid

        def kill(pid: int = doomed.pid) -> None:
            killed_at.append(time.monotonic())
            os.kill(pid, signal.SIGKILL)

        killer = threading.Timer(chance.uniform(0.002, 0.01), kill)
        killer.start()
        with pytest.raises(RecipientGoneError):
            use(doomed)
        seconds.append(time.monotonic() - killed_at[-1])
        killer.join()
    ordered = sorted(seconds)
    half, most = median(ordered), ordered[int(ROUNDS * 0.99)]
    record_property(f"{use.__name__}_median_ms", round(half * 1e3, 2))
    record_property(f"{use.__name__}_p99_ms", round(most * 1e3, 2))
    with capsys.disabled():
        print(f" [median {half * 1e3:.2f} ms, p99 {most * 1e3:.2f} ms]", end="")
    assert nothing_is_left(house.process)
    # What it takes on a quiet machine is printed; a busy one may take ten times as long.
    assert half <= 0.05
    assert most <= 0.5
