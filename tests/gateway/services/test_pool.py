from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import VirtualClock
from gateway.errors import (
    BodyError,
    CallCancelledError,
    CallTimeoutError,
    ConfigError,
    RecipientGoneError,
    RefusedError,
)
from gateway.services import Services, closing, services
from gateway.services.pool import SimulationPool
from gateway.services.pool_events import PoolEvent
from gateway.services.progress_line import ProgressLine
from gateway.services.simulation import Simulation
from tests.lab.os_processes import is_gone, until

SOON = 10.0


class Double(Simulation):
    """Doubles a number, in so many seconds."""

    number: int = 0
    seconds: float = 0.0
    steps = 2

    def on_step(self) -> None:
        self.sleep(self.seconds / 2)

    def on_finish(self) -> int:
        return self.number * 2


class Trouble(Double):
    """Does something else in its first step, where it is told."""

    what: str = ""
    path: str = ""

    def on_step(self) -> None:
        getattr(self, self.what or "nothing")()

    def nothing(self) -> None:
        """Nothing."""

    def raises(self) -> None:
        raise ValueError("too heavy")

    def exits(self) -> None:
        os._exit(3)

    def is_killed(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def spins(self) -> None:
        while True:
            pass

    def hangs(self) -> None:
        time.sleep(3600)

    def meets(self) -> None:
        """Wait until somebody else is where this one is."""
        (Path(self.path) / str(self.number)).touch()
        assert until(lambda: len(list(Path(self.path).iterdir())) >= 2, SOON)

    def has_a_child(self) -> None:
        said = subprocess.run(
            [sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True, check=True
        )
        self.number = int(said.stdout)

    def leaves_a_child(self) -> None:
        child = subprocess.Popen(["sleep", "3600"])
        Path(self.path).write_text(str(child.pid))

    def leaves_a_child_and_dies(self) -> None:
        self.leaves_a_child()
        self.exits()

    def has_a_service(self) -> None:
        with closing(Services.here().start(f"child-{self.number}", Double, number=4)) as child:
            self.number = child.run()


class Unsendable(Double):
    """Returns what no letter carries."""

    def on_finish(self) -> Any:
        return object()


class Day(Simulation):
    """A day in virtual time."""

    make_clock = VirtualClock
    steps = 24
    period = 3600.0

    def on_step(self) -> None:
        """Nothing; the time passes."""

    def on_finish(self) -> float:
        return self.time


@pytest.fixture
def house() -> Iterator[Services]:
    with services() as house:
        yield house


@pytest.fixture
def pool(house: Services) -> Iterator[SimulationPool]:
    with SimulationPool(house, workers=2, report_every=0.02) as pool:
        yield pool


def end(pid: int) -> bool:
    """End what a failing test has left; False, so that it fails."""
    os.kill(pid, signal.SIGKILL)
    return False


# What comes of them


def test_results_come_in_order_whoever_ends_first(pool: SimulationPool) -> None:
    delays = [0.2, 0.0, 0.1, 0.0]
    items = [{"number": number, "seconds": delay} for number, delay in enumerate(delays)]
    outcomes = pool.run(Double, items)
    assert [outcome.get() for outcome in outcomes] == [0, 2, 4, 6]
    assert [outcome.parameters for outcome in outcomes] == items
    assert [outcome.name for outcome in outcomes] == [f"Double {n}" for n in range(4)]
    assert {outcome.steps for outcome in outcomes} == {2}
    assert outcomes[0].seconds >= 0.2


def test_they_run_at_the_same_time_in_processes_of_their_own(
    pool: SimulationPool, tmp_path: Path
) -> None:
    items = [{"what": "meets", "number": number, "path": str(tmp_path)} for number in range(2)]
    outcomes = pool.run(Trouble, items)
    assert [outcome.get() for outcome in outcomes] == [0, 2]
    assert len({outcome.worker for outcome in outcomes}) == 2


def test_workers_are_kept_for_the_next_run(house: Services, pool: SimulationPool) -> None:
    for _ in range(3):
        assert [o.get() for o in pool.run(Double, [{"number": n} for n in range(20)])] == [
            *range(0, 40, 2)
        ]
    assert len(house.running()) <= 2
    assert pool.replaced == 0


def test_in_virtual_time_a_day_is_over_at_once(pool: SimulationPool) -> None:
    assert [outcome.get() for outcome in pool.run(Day, [{}, {"steps": 2}])] == [82_800.0, 3600.0]


def test_nothing_to_do_is_done(pool: SimulationPool, house: Services) -> None:
    assert pool.run(Double, []) == []
    assert house.running() == []


# What goes wrong


def test_an_error_is_that_of_its_item(pool: SimulationPool) -> None:
    outcomes = pool.run(Trouble, [{"what": what} for what in ("", "raises", "")])
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    assert [outcome.steps for outcome in outcomes] == [2, 0, 2]
    with pytest.raises(ValueError, match="too heavy"):
        outcomes[1].get()
    assert pool.replaced == 0, "who raised is fit for more"


@pytest.mark.parametrize("what", ["exits", "is_killed"])
def test_a_worker_that_dies_costs_its_item_and_is_replaced(
    pool: SimulationPool, house: Services, what: str
) -> None:
    items = [{"what": what if number == 2 else "", "number": number} for number in range(8)]
    outcomes = pool.run(Trouble, items)
    lost = outcomes.pop(2)
    with pytest.raises(RecipientGoneError, match="the worker of Trouble 2 died of it"):
        lost.get()
    assert [outcome.get() for outcome in outcomes] == [0, 2, 6, 8, 10, 12, 14]
    assert pool.replaced == 1
    assert lost.worker not in house.running()


def test_one_that_takes_too_long_is_ended_and_its_worker_goes_on(house: Services) -> None:
    with SimulationPool(house, workers=1, timeout=0.3, report_every=0.02) as pool:
        (late,) = pool.run(Trouble, [{"what": "spins"}])
        assert isinstance(late.error, CallTimeoutError)
        pool.timeout = SOON
        (other,) = pool.run(Trouble, [{"number": 1}])
        assert other.get() == 2
        assert pool.replaced == 0


def test_one_that_cannot_be_ended_takes_its_worker_with_it(house: Services) -> None:
    with SimulationPool(house, workers=1, timeout=0.3, report_every=0.02) as pool:
        (late,) = pool.run(Trouble, [{"what": "hangs"}])
        assert isinstance(late.error, CallTimeoutError)
        pool.timeout = SOON
        (other,) = pool.run(Trouble, [{"number": 1}])
        assert other.get() == 2
        assert pool.replaced == 1


@pytest.mark.parametrize(
    ("simulation", "parameters", "error", "said"),
    [
        (Unsendable, {}, BodyError, "returned"),
        (Double, {"number": object()}, BodyError, "cannot be sent"),
        (Double, {"numbr": 1}, RefusedError, "did you mean 'number'"),
        (Double, {"number": "one"}, RefusedError, "Expected `int`"),
        ("statistics:NormalDist", {}, ConfigError, "is no Simulation"),
    ],
)
def test_what_cannot_be_is_the_error_of_its_item(
    pool: SimulationPool,
    simulation: Any,
    parameters: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    (outcome,) = pool.run(simulation, [parameters])
    with pytest.raises(error, match=said):
        outcome.get()


def test_a_class_that_nobody_else_can_find_is_refused(pool: SimulationPool) -> None:
    class Hidden(Double):
        pass

    with pytest.raises(ConfigError, match="move it to the top of its module"):
        pool.run(Hidden, [{}])


# Children


def test_a_simulation_may_have_a_process_of_its_own(pool: SimulationPool) -> None:
    assert pool.run(Trouble, [{"what": "has_a_child"}])[0].get() == 84


def test_a_simulation_may_have_a_service_of_its_own(pool: SimulationPool) -> None:
    items = [{"what": "has_a_service", "number": number, "steps": 1} for number in range(2)]
    assert [outcome.get() for outcome in pool.run(Trouble, items)] == [16, 16]


@pytest.mark.parametrize("what", ["leaves_a_child", "leaves_a_child_and_dies"])
def test_what_it_leaves_behind_ends_with_its_worker(
    house: Services, tmp_path: Path, what: str
) -> None:
    path = tmp_path / "child"
    with SimulationPool(house, workers=1) as pool:
        pool.run(Trouble, [{"what": what, "path": str(path), "steps": 1}])
        child = int(path.read_text())
        if what == "leaves_a_child":
            assert not is_gone(child)
        else:
            assert until(lambda: is_gone(child), SOON) or end(child)
    assert until(lambda: is_gone(child), SOON) or end(child)


# Progress


def test_events_tell_what_happens(pool: SimulationPool) -> None:
    items = [{"number": number, "seconds": 0.2} for number in range(3)]
    events = list(pool.events(Double, items))
    kinds = Counter(event.kind for event in events)
    assert (kinds["started"], kinds["finished"]) == (3, 3)
    assert kinds["progress"] >= 3
    assert {event.progress for event in events} >= {0.0, 0.5, 1.0}
    assert [event.done for event in events] == sorted(event.done for event in events)
    assert (events[-1].done, events[-1].failed, events[-1].total) == (3, 0, 3)
    for number in range(3):
        own = [event.kind for event in events if event.number == number]
        assert (own[0], own[-1]) == ("started", "finished")


def test_progress_that_nobody_reads_does_not_pile_up(pool: SimulationPool) -> None:
    events = pool.events(Double, [{"seconds": 0.5}])
    assert next(events).kind == "started"
    run = pool._run
    assert run is not None
    until(lambda: any(event.outcome for event in run._told), SOON)
    assert [event.kind for event in run._told] in (["progress", "finished"], ["finished"])
    assert [event.kind for event in events][-1] == "finished"


def test_who_leaves_the_loop_ends_the_run(pool: SimulationPool) -> None:
    events = pool.events(Double, [{"seconds": 60.0} for _ in range(10)])
    assert next(events).kind == "started"
    events.close()
    assert pool.run(Double, [{"number": 2}])[0].get() == 4


def test_a_run_is_cancelled_from_anywhere(pool: SimulationPool) -> None:
    def cancel(event: PoolEvent) -> None:
        if event.kind == "finished":
            pool.cancel()

    items = [{"number": n, "seconds": 0.0 if n == 0 else 60.0} for n in range(6)]
    began = time.monotonic()
    outcomes = pool.run(Double, items, progress=cancel)
    assert time.monotonic() - began < SOON
    assert outcomes[0].get() == 0
    assert all(isinstance(outcome.error, CallCancelledError) for outcome in outcomes[1:])
    assert pool.run(Double, [{"number": 2}])[0].get() == 4, "it is as good as new"
    pool.cancel()


def test_what_the_callback_raises_ends_the_run(pool: SimulationPool) -> None:
    def fail(event: PoolEvent) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        pool.run(Double, [{"seconds": 60.0}], progress=fail)
    assert pool.run(Double, [{"number": 2}])[0].get() == 4


def test_one_run_at_a_time_and_none_when_it_is_closed(pool: SimulationPool) -> None:
    events = pool.events(Double, [{"seconds": 0.1}])
    next(events)
    with pytest.raises(RefusedError, match="one run at a time"):
        pool.run(Double, [{}])
    events.close()
    pool.close()
    pool.close()
    with pytest.raises(RefusedError, match="this pool is closed"):
        pool.run(Double, [{}])


def test_events_that_nobody_reads_are_no_run(pool: SimulationPool) -> None:
    pool.events(Double, [{"seconds": 60.0}])
    assert pool.run(Double, [{"number": 2}])[0].get() == 4


def test_closing_the_pool_ends_its_workers(house: Services, pool: SimulationPool) -> None:
    pool.run(Double, [{}])
    assert len(house.running()) == 1
    pool.close()
    assert house.running() == []


@pytest.mark.parametrize("options", [{"workers": -1}, {"timeout": 0.0}, {"report_every": 0.0}])
def test_a_pool_that_makes_no_sense_is_refused(house: Services, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="workers"):
        SimulationPool(house, **options)


# The line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(kind: Any, number: int, progress: float | None, done: int, failed: int = 0) -> PoolEvent:
    outcome: Any = "over" if kind in ("finished", "failed") else None
    return PoolEvent(kind, number, f"Drive {number}", progress, 0, done, failed, 4, outcome)


def test_the_line_says_how_far_it_is() -> None:
    stream = Terminal()
    times = iter([0.0, 1.0, 2.0, 62.0, 63.0])
    line = ProgressLine(stream, now=lambda: next(times))
    line(told("started", 0, 0.0, 0))
    line(told("progress", 0, 0.5, 0))
    line(told("failed", 0, None, 1, 1))
    line(told("started", 1, 0.0, 1, 1))
    line(told("finished", 1, 1.0, 4, 1))
    shown = [each.rstrip() for each in stream.getvalue().split("\r")[1:]]
    assert shown == [
        "0 of 4 done, 1 at work [....................]",
        "0 of 4 done, 1 at work [==..................] 0:07 left",
        "1 of 4 done, 1 failed, 0 at work [=====...............] 0:06 left",
        "1 of 4 done, 1 failed, 1 at work [=====...............] 3:06 left",
        "4 of 4 done, 1 failed in 1:03",
    ]
    assert stream.getvalue().endswith("\n")


def test_where_it_is_no_terminal_the_line_comes_once() -> None:
    stream = io.StringIO()
    times = iter([0.0, 1.0])
    line = ProgressLine(stream, now=lambda: next(times))
    line(told("started", 0, 0.0, 0))
    line(told("finished", 0, 1.0, 4))
    assert stream.getvalue() == "4 of 4 done in 0:01\n"
