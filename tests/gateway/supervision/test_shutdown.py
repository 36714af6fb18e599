"""When a stop interrupts main, by a clock that the test sets."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from gateway.clock import VirtualClock
from gateway.process.process import Process
from gateway.supervision.member import Member
from gateway.supervision.restart import Restarts
from gateway.supervision.shutdown import GRACE, Shutdown
from gateway.supervision.spec import ProcessSpec

TICK = 0.0625
"""Seconds between two steps; a power of two, so that sums are exact."""


class Told:
    """Tells nobody anything."""

    def tell_to_die(self, member: Member, why: str) -> None:
        member.told_to_die = True


class Stop:
    """A stop of a main that nothing ends, alone."""

    def __init__(self, timeout: float, main_by: float) -> None:
        self.clock = VirtualClock()
        self.interrupts: list[float] = []
        spec = ProcessSpec("main", Process)
        main = Member(spec, Restarts(spec.restart, Random(1)), state="living")
        main.interrupt = self._interrupt
        ending: Any = Told()
        self.shutdown = Shutdown(
            ending,
            {"main": main},
            [["main"]],
            timeout,
            main_by=main_by,
            monotonic=self.clock.monotonic,
        )

    def _interrupt(self) -> bool:
        self.interrupts.append(self.clock.now)
        return True

    def run(self, *, until: float = 600.0) -> float:
        """Step until it is over, or that time; return when that was."""
        while not self.shutdown.step() and self.clock.now < until:
            self.clock.now += TICK
        return self.clock.now


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize(
    ("main_by", "interrupts"),
    [
        pytest.param(0.0, [0.0, 4.0], id="it was late"),
        pytest.param(1.0, [1.0, 4.0], id="the brake came in its own time"),
        pytest.param(3.5, [3.5, 4.5], id="the brake came early in its own time"),
        pytest.param(4.0, [4.0, 5.0], id="it was told by the brake"),
    ],
)
def test_main_is_interrupted_when_its_time_is_over_and_at_the_deadline(
    main_by: float, interrupts: list[float], at_once: bool
) -> None:
    stop = Stop(4.0, main_by)
    stop.shutdown.at_once = at_once
    assert stop.run() >= interrupts[-1] + GRACE, "its death has as long once more"
    assert stop.interrupts == interrupts


def test_a_brake_between_the_interrupts_takes_none_away() -> None:
    stop = Stop(4.0, 0.0)
    stop.run(until=2.0)
    stop.shutdown.at_once = True
    stop.run()
    assert stop.interrupts == [0.0, 4.0]


@pytest.mark.parametrize("timeout", [0.0, 0.125])
def test_its_death_has_some_time_however_short_the_timeout_is(timeout: float) -> None:
    stop = Stop(timeout, 0.0)
    assert stop.run() == timeout + 2 * GRACE
    assert stop.interrupts == [0.0, GRACE]


def test_a_stop_whose_first_step_comes_late_interrupts_twice_all_the_same() -> None:
    stop = Stop(4.0, 4.0)
    stop.clock.now += 60.0
    assert stop.run() >= 60.0 + 2 * GRACE
    assert stop.interrupts == [60.0, 60.0 + GRACE]


def test_one_that_is_hurried_interrupts_nobody_and_waits_for_no_interrupt() -> None:
    stop = Stop(300.0, 300.0)
    stop.shutdown.hurry()
    assert stop.run() <= 2 * GRACE
    assert stop.interrupts == []
