"""A wake-up in virtual time."""

from __future__ import annotations

from math import inf
from random import Random

from gateway.bus.baton import Baton
from gateway.clock import VirtualClock
from gateway.process.simulated_wakeup import SimulatedWakeup


def test_it_ends_every_sleep_at_the_instant_at_which_it_is_set() -> None:
    baton = Baton(VirtualClock(), Random(0))
    wakeup = SimulatedWakeup(baton)
    said: list[tuple[bool, float]] = []

    def sleep(seconds: float) -> None:
        said.append((wakeup.wait(seconds), baton.clock.now))

    def set_it() -> None:
        baton.wait(3.0)
        wakeup.set()
        wakeup.set()

    for seconds in (1.0, 60.0, inf):
        baton.thread(sleep, args=(seconds,)).start()
    baton.thread(set_it).start()
    baton.run(inf)
    assert said == [(False, 1.0), (True, 3.0), (True, 3.0)]
    assert wakeup.is_set
    assert wakeup.wait(5.0)
    wakeup.close()


def test_closing_wakes_who_sleeps() -> None:
    baton = Baton(VirtualClock(), Random(0))
    wakeup = SimulatedWakeup(baton)
    woken: list[bool] = []
    baton.thread(lambda: woken.append(wakeup.wait(inf))).start()
    baton.run(1.0)
    wakeup.close()
    baton.run(1.0)
    assert woken == [True]
