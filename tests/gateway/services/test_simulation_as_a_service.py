"""A simulation behind a proxy: the same words, and who waits is its caller's choice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.clock import VirtualClock
from gateway.errors import CallTimeoutError, RefusedError
from gateway.rpc import later, tell, using
from gateway.services import Services, services
from gateway.services.execution_context import execution
from gateway.services.simulation import Simulation
from tests.lab.os_processes import until

SOON = 10.0


class Walk(Simulation):
    """Takes steps of a length, each in so many seconds."""

    length: float = 1.0
    seconds: float = 0.0
    fails_at: int = -1
    steps = 5

    def on_init(self) -> None:
        self.metres = 0.0

    def on_step(self) -> None:
        if self.current_step == self.fails_at:
            raise ValueError("a stone")
        self.sleep(self.seconds)
        self.metres += self.length

    def on_finish(self) -> float:
        return self.metres


class Night(Walk):
    """In virtual time."""

    make_clock = VirtualClock


@pytest.fixture
def house() -> Iterator[Services]:
    with services() as house:
        yield house.using(workers=3)


@pytest.fixture
def walk(house: Services) -> Walk:
    return house.start("walk", Walk)


def test_run_waits_for_the_result(walk: Walk) -> None:
    assert walk.run() == 5.0
    assert (walk.status, walk.current_step, walk.progress, walk.is_finished, walk.result) == (
        "stopped",
        5,
        1.0,
        True,
        5.0,
    )
    assert walk.profiler_report()["step"]["times"] == 5


def test_later_it_is_asked_for_its_result_and_seen_meanwhile(walk: Walk) -> None:
    walk.steer(seconds=0.05, steps=10_000)
    running = later(walk.run)()
    assert until(lambda: walk.current_step >= 2, SOON)
    assert walk.status == "running"
    walk.steer(steps=0)
    assert running.result(SOON) >= 2.0


@pytest.mark.parametrize("begin", ["inside_run", "tell"])
def test_it_runs_by_itself_and_is_waited_for(walk: Walk, begin: str) -> None:
    walk.steer(seconds=0.01)
    if begin == "tell":
        tell(walk.run)()
        assert until(lambda: walk.status != "created", SOON)
    else:
        walk.inside_run()
    assert walk.wait() == 5.0


def test_each_state_is_seen_from_outside(walk: Walk) -> None:
    seen = [walk.status]
    for phase in (walk.init, walk.start, walk.step, walk.finish, walk.stop):
        phase()
        seen.append(walk.status)
    assert seen == ["created", "initialized", "running", "running", "finished", "stopped"]


def test_it_is_steered_while_it_runs(walk: Walk) -> None:
    walk.steer(steps=1000, seconds=0.05)
    walk.inside_run()
    assert until(lambda: walk.current_step >= 3, SOON)
    walk.steer(length=100, steps=0)
    assert walk.wait() < 1000
    assert walk.parameters["length"] == 100
    with pytest.raises(RefusedError, match="did you mean 'length'"):
        walk.steer(lenght=3)


@pytest.mark.parametrize("terminate", [False, True])
def test_it_is_stopped_in_the_middle(walk: Walk, terminate: bool) -> None:
    walk.steer(seconds=60.0 if terminate else 0.02, steps=1000)
    walk.inside_run()
    assert until(lambda: walk.status == "running", SOON)
    walk.stop(terminate=terminate)
    assert walk.wait() is None
    assert (walk.status, walk.error_message) == ("stopped", "")


def test_an_error_crosses_and_stays_to_be_seen(walk: Walk) -> None:
    walk.steer(fails_at=2)
    with pytest.raises(ValueError, match="a stone"):
        walk.run()
    assert (walk.status, walk.error_message) == ("failed", "ValueError: a stone")
    walk.inside_run()
    with pytest.raises(ValueError, match="a stone"):
        walk.wait()


def test_who_waits_too_long_is_told_and_it_goes_on(walk: Walk) -> None:
    walk.steer(seconds=60.0)
    with pytest.raises(CallTimeoutError):
        using(walk, timeout=0.1).run()
    with pytest.raises(CallTimeoutError, match=r"is running after 0.1 s"):
        walk.wait(0.1)
    assert walk.status == "running"
    walk.stop(terminate=True)


def test_the_context_works_on_a_proxy(walk: Walk) -> None:
    with execution(walk) as steps:
        assert list(steps) == [0, 1, 2, 3, 4]
        assert walk.metres == 5.0
    assert (walk.status, walk.result) == ("stopped", 5.0)
    walk.steer(fails_at=1)
    with pytest.raises(ValueError, match="a stone"), execution(walk) as steps:
        list(steps)
    assert walk.status == "failed"


def test_several_run_in_parallel_in_one_application(house: Services) -> None:
    walks = [house.start(f"walk-{n}", Walk, length=n, seconds=0.02) for n in range(3)]
    running = [later(walk.run)() for walk in walks]
    assert [each.result(SOON) for each in running] == [0.0, 5.0, 10.0]


def test_a_night_in_virtual_time_is_short(house: Services) -> None:
    night = house.start("night", Night, period=3600.0, seconds=600.0, name="the night")
    assert (night.run(), night.time, night.name) == (5.0, 4 * 3600.0 + 600.0, "the night")


def test_one_that_does_not_end_is_ended_with_its_service(house: Services) -> None:
    walk = house.start("walk", Walk, seconds=3600.0)
    walk.inside_run()
    assert house.close(walk)
    assert house.running() == []
