from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from math import inf

import pytest

from gateway.testing import lockstep
from gateway.testing.lockstep import Lockstep

Start = Callable[[Callable[[Lockstep], None]], Lockstep]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a thread that lives in virtual time; it ends with the test."""
    running: list[tuple[Lockstep, threading.Thread]] = []

    def started(life: Callable[[Lockstep], None]) -> Lockstep:
        pace = Lockstep()
        thread = threading.Thread(target=life, args=(pace,))
        running.append((pace, thread))
        thread.start()
        pace.wait_parked()
        return pace

    yield started
    for pace, thread in running:
        pace.set_free()
        thread.join(10.0)
        assert not thread.is_alive()


def ticking(ticks: list[float], every: float = 1.0, until: float = 1000.0) -> Callable[..., None]:
    def life(pace: Lockstep) -> None:
        while pace.clock.now < until:
            pace.sleep(pace.clock.now + every)
            ticks.append(pace.clock.now)

    return life


def test_time_passes_as_far_as_it_was_granted_and_no_further(start: Start) -> None:
    ticks: list[float] = []
    pace = start(ticking(ticks))
    assert ticks == []
    pace.grant(2.5)
    assert pace.clock.now == 2.5
    assert len(ticks) >= 2
    pace.grant(0.0)
    assert pace.clock.now == 2.5


def test_a_nudge_ends_a_sleep_before_its_time(start: Start) -> None:
    woken: list[float] = []

    def life(pace: Lockstep) -> None:
        while len(woken) < 3:
            pace.sleep(inf)
            woken.append(pace.clock.now)

    pace = start(life)
    pace.nudge()
    assert len(woken) == 1
    assert pace.clock.now <= 0.0


def test_time_never_goes_back(start: Start) -> None:
    seen: list[float] = []

    def life(pace: Lockstep) -> None:
        for until in (5.0, 1.0, 6.0):
            while pace.clock.now < until:
                pace.sleep(until)
            seen.append(pace.clock.now)
        pace.sleep(inf)

    pace = start(life)
    pace.grant(10.0)
    assert seen == sorted(seen)
    assert pace.clock.now == 10.0


def test_a_thread_that_does_not_come_to_rest_is_told_of(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def life(pace: Lockstep) -> None:
        pace.sleep(0.0)
        go.wait(20.0)

    pace = start(life)
    monkeypatch.setattr(lockstep, "PATIENCE", 0.05)
    with pytest.raises(AssertionError, match="waits by itself"):
        pace.grant(1.0)
    go.set()


def test_a_thread_that_is_forgotten_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockstep, "FORGOTTEN", 0.05)
    with pytest.raises(RuntimeError, match="forgotten its device"):
        Lockstep().sleep(1.0)
