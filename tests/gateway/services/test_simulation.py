from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Annotated, Any

import pytest
from msgspec import Meta

from gateway.clock import VirtualClock
from gateway.errors import CallTimeoutError, RefusedError
from gateway.services.execution_context import execution
from gateway.services.simulation import Simulation
from gateway.services.simulation_state import State

SOON = 5.0


class Drive(Simulation):
    """Notes everything that is done to it."""

    speed: Annotated[float, Meta(ge=0, le=10)] = 1.0
    gears: int = 1
    steps = 3

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.told: list[str] = []
        self.metres = 0.0

    def note(self, what: str) -> None:
        self.told.append(f"{what} {self.status}")

    def on_init(self) -> None:
        self.note("init")
        self.metres = 0.0

    def on_start(self) -> None:
        self.note("start")

    def on_step(self) -> Any:
        self.note(f"step {self.current_step}")
        self.metres += self.speed

    def on_finish(self) -> float:
        self.note("finish")
        return self.metres

    def on_stop(self) -> None:
        self.note("stop")

    def on_steer(self, before: dict[str, Any]) -> None:
        self.note(f"steered {before}")


class Hooked(Drive):
    """Does something else in one phase."""

    def __init__(self, phase: str, hook: Callable[[Hooked], Any], **values: Any) -> None:
        super().__init__(**values)
        original = getattr(self, f"on_{phase}")

        def hooked() -> Any:
            original()
            return hook(self)

        setattr(self, f"on_{phase}", hooked)


class Gate:
    """Where a step waits until it is let on."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self, simulation: Simulation) -> None:
        self.reached.set()
        assert self.open.wait(SOON)


WHOLE = [
    "init initializing",
    "start starting",
    "step 0 running",
    "step 1 running",
    "step 2 running",
    "finish finishing",
    "stop stopping",
]


# From beginning to end


def test_it_goes_through_every_phase_and_returns_its_result() -> None:
    drive = Drive(speed=2.0)
    assert drive.status == "created"
    assert drive.run() == 6.0
    assert drive.told == WHOLE
    assert (drive.status, drive.result, drive.is_finished, drive.progress) == (
        "stopped",
        6.0,
        True,
        1.0,
    )


def test_it_runs_again_from_its_beginning() -> None:
    drive = Drive(beginning_step=10)
    drive.run()
    assert (drive.beginning_step, drive.current_step) == (10, 13)
    assert drive.run() == 3.0
    assert (drive.told[9], drive.current_step) == ("step 10 running", 13)


def test_a_step_says_that_it_was_the_last() -> None:
    drive = Hooked("step", lambda me: me.metres >= 2, steps=None)
    assert drive.run() == 2.0
    assert (drive.current_step, drive.progress) == (2, 1.0)


def test_without_steps_it_comes_to_its_result_at_once() -> None:
    drive = Drive(steps=0)
    assert drive.run() == 0.0
    assert "step 0 running" not in drive.told


def test_a_simulation_must_say_what_a_step_is() -> None:
    with pytest.raises(NotImplementedError, match="does not say what a step is: on_step"):
        Simulation().run()


# What goes wrong


@pytest.mark.parametrize("phase", ["init", "start", "step", "finish", "stop"])
def test_a_hook_that_raises_ends_in_failed_with_its_error(phase: str) -> None:
    drive = Hooked(phase, lambda me: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drive.run()
    assert drive.status == "failed"
    assert drive.error_message == "ZeroDivisionError: division by zero"
    assert sum(each.startswith("stop") for each in drive.told) == 1, "it is put back once"


def test_a_failed_one_stays_failed_when_it_is_stopped_and_runs_again() -> None:
    faults = [True]
    drive = Hooked("step", lambda me: faults and faults.pop() and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drive.run()
    drive.stop()
    assert drive.status == "failed"
    assert drive.run() == 3.0
    assert (drive.status, drive.error_message) == ("stopped", "")


def test_the_error_that_came_first_is_told() -> None:
    drive = Hooked("step", lambda me: 1 / 0)
    drive.on_stop = [].pop  # type: ignore[method-assign]
    with pytest.raises(IndexError):
        drive.run()
    assert drive.error_message == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("phase", ["start", "step", "finish"])
def test_what_was_stopped_meanwhile_just_ends(phase: str) -> None:
    drive = Drive()
    drive.init()
    drive.stop()
    assert not getattr(drive, phase)()
    assert drive.status == "stopped"


@pytest.mark.parametrize("phase", ["start", "step", "finish"])
def test_a_phase_that_does_not_come_now_is_refused_and_changes_nothing(phase: str) -> None:
    drive = Drive()
    with pytest.raises(RefusedError, match=f"Drive is created: {phase} comes when"):
        getattr(drive, phase)()
    assert (drive.status, drive.told) == ("created", [])


def test_a_step_beyond_the_last_is_refused() -> None:
    drive = Drive()
    drive.init()
    drive.start()
    assert drive.step(10) is False
    with pytest.raises(RefusedError, match="taken its last step: finish it"):
        drive.step()
    drive.stop()


# Parameters and steering


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"sped": 1}, r"no parameter 'sped' \(did you mean 'speed'\?\)"),
        ({"speed": "fast"}, "'speed': Expected `float`, got `str`"),
        ({"speed": 11}, "'speed': Expected `float` <= 10"),
        ({"told": []}, "no parameter 'told'"),
        ({"metres": 3}, "no parameter 'metres'"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        Drive(**values)
    drive = Drive()
    with pytest.raises(RefusedError, match=said):
        drive.steer(gears=2, **values)
    assert drive.parameters == {"steps": 3, "period": 0.0, "speed": 1.0, "gears": 1}


def test_steering_comes_between_two_steps() -> None:
    gate = Gate()
    drive = Hooked("step", gate)
    drive.inside_run()
    assert gate.reached.wait(SOON)
    drive.steer(speed=5, gears=2)
    drive.steer(speed=7)
    assert drive.speed == 1.0, "the step under way is not disturbed"
    gate.open.set()
    assert drive.wait(SOON) == 1 + 7 + 7
    assert "steered {'speed': 1.0, 'gears': 1} running" in drive.told
    assert drive.told.index("steered {'speed': 1.0, 'gears': 1} running") == 3


def test_at_rest_it_is_steered_at_once_and_asked_nothing() -> None:
    drive = Drive()
    drive.steer(speed=4)
    assert (drive.speed, drive.told) == (4.0, [])


def test_its_own_code_may_steer_and_stop_it() -> None:
    def steer(me: Hooked) -> None:
        me.steer(speed=3)
        if me.current_step == 1:
            me.stop()

    drive = Hooked("step", steer)
    assert drive.run() is None
    assert (drive.metres, drive.status) == (4.0, "stopped")


def test_steering_that_raises_fails_it() -> None:
    drive = Drive()
    drive.on_steer = lambda before: before["nothing"]  # type: ignore[method-assign]
    with pytest.raises(KeyError), execution(drive):
        drive.steer(speed=2)
    assert drive.status == "failed"


# Stopping


def test_a_stop_comes_after_the_step_that_is_under_way() -> None:
    gate = Gate()
    drive = Hooked("step", gate)
    drive.inside_run()
    assert gate.reached.wait(SOON)
    drive.stop()
    assert drive.status == "running"
    gate.open.set()
    assert drive.wait(SOON) is None
    assert drive.told[2:] == ["step 0 running", "stop stopping"]
    assert (drive.status, drive.is_finished, drive.current_step) == ("stopped", False, 1)


def endless(simulation: Simulation) -> None:
    begun[simulation.name].set()
    while True:
        pass


def asleep(simulation: Simulation) -> None:
    begun[simulation.name].set()
    simulation.sleep(3600)


begun: dict[str, threading.Event] = {}


@pytest.mark.parametrize("phase", ["init", "start", "step", "finish"])
@pytest.mark.parametrize("hook", [endless, asleep])
def test_a_stop_at_once_ends_what_is_under_way(
    phase: str, hook: Callable[[Simulation], None]
) -> None:
    name = f"{phase} {hook.__name__}"
    begun[name] = threading.Event()
    drive = Hooked(phase, hook, name=name)
    drive.inside_run()
    assert begun[name].wait(SOON)
    began = monotonic()
    drive.stop(terminate=True)
    assert drive.wait(SOON) is None
    assert monotonic() - began < 10.0
    assert (drive.status, drive.error_message) == ("stopped", "")
    assert drive.told[-1] == "stop stopping"


def test_its_own_code_may_end_it_at_once() -> None:
    def end(me: Hooked) -> None:
        me.stop(terminate=True)
        me.note("went on")

    drive = Hooked("step", end)
    assert drive.run() is None
    assert drive.told[-2:] == ["step 0 running", "stop stopping"]


@pytest.mark.parametrize(
    ("calls", "status", "stops"),
    [
        ([], "stopped", 0),
        (["init"], "stopped", 1),
        (["init", "start"], "stopped", 1),
        (["init", "start", "step"], "stopped", 1),
        (["init", "start", "step", "finish"], "stopped", 1),
        (["run"], "stopped", 1),
    ],
)
@pytest.mark.parametrize("terminate", [False, True])
def test_a_stop_comes_in_every_state(
    calls: list[str], status: str, stops: int, terminate: bool
) -> None:
    drive = Drive()
    for call in calls:
        getattr(drive, call)()
    drive.stop(terminate=terminate)
    drive.stop(terminate=terminate)
    assert drive.status == status
    assert sum(each.startswith("stop") for each in drive.told) == stops
    assert drive.run() == 3.0, "it is as good as new"


def test_a_stop_before_the_first_moment_is_not_lost() -> None:
    for _ in range(50):
        drive = Hooked("step", lambda me: None, steps=None)
        drive.inside_run()
        drive.stop()
        assert drive.wait(SOON) is None
        assert drive.status == "stopped"


def test_a_stop_at_once_is_never_lost_and_breaks_nothing() -> None:
    """Wherever it falls: in a hook, between two, in a sleep, on the way out."""
    for number in range(200):
        drive = Hooked("step", lambda me: me.sleep(0.0001), steps=None)
        drive.inside_run()
        for _ in range(number):
            drive.status  # noqa: B018 - time passes
        drive.stop(terminate=True)
        assert drive.wait(SOON) is None
        assert (drive.status, drive.error_message) == ("stopped", "")


def test_giving_back_is_not_cut_short() -> None:
    drive = Hooked("step", lambda me: me.sleep(3600))
    slept: list[float] = []

    def put_back() -> None:
        began = monotonic()
        drive.sleep(0.02)
        slept.append(monotonic() - began)

    drive.on_stop = put_back  # type: ignore[method-assign]
    drive.inside_run()
    drive.stop(terminate=True)
    drive.wait(SOON)
    assert slept == [] or slept[0] >= 0.02


# Who runs it


def test_a_second_thread_is_refused_beside_the_one_that_runs_it() -> None:
    gate = Gate()
    drive = Hooked("step", gate)
    drive.inside_run()
    assert gate.reached.wait(SOON)
    for phase in ("run", "init", "start", "step", "finish", "inside_run"):
        with pytest.raises(RefusedError, match="run by another thread"):
            getattr(drive, phase)()
    with pytest.raises(RefusedError), execution(drive):
        pytest.fail("it is another's")
    gate.open.set()
    assert drive.wait(SOON) == 3.0, "who was refused has not stopped it"


def test_many_run_inside_one_process_side_by_side() -> None:
    together = threading.Barrier(8)
    drives = [Hooked("step", lambda me: together.wait(SOON), steps=1) for _ in range(8)]
    for drive in drives:
        drive.inside_run()
    assert [drive.wait(SOON) for drive in drives] == [1.0] * 8


def test_who_waits_is_told_what_it_raised_or_that_it_goes_on() -> None:
    failed = Hooked("step", lambda me: 1 / 0)
    failed.inside_run()
    with pytest.raises(ZeroDivisionError):
        failed.wait(SOON)
    gate = Gate()
    drive = Hooked("step", gate)
    drive.inside_run()
    with pytest.raises(CallTimeoutError, match=r"Hooked is .* after 0.01 s: wait longer, or stop"):
        drive.wait(0.01)
    gate.open.set()
    drive.wait(SOON)


# Time


def test_in_virtual_time_a_day_takes_no_longer_than_its_steps() -> None:
    clock = VirtualClock()
    times: list[float] = []
    drive = Hooked("step", lambda me: times.append(me.time), clock=clock, period=3600.0, steps=25)
    began = monotonic()
    drive.run()
    assert monotonic() - began < 10.0
    assert times == [3600.0 * hour for hour in range(25)]


def test_what_is_slept_in_a_step_counts_towards_the_next() -> None:
    clock = VirtualClock()
    times: list[float] = []

    def rest(me: Hooked) -> None:
        times.append(clock.now)
        me.sleep([1.0, 25.0, 1.0][me.current_step])

    Hooked("step", rest, clock=clock, period=10.0).run()
    assert times == [0.0, 10.0, 35.0], "one that was late is not made up for"


def test_in_real_time_steps_come_a_period_apart_and_a_stop_does_not_wait_for_it() -> None:
    times: list[float] = []
    drive = Hooked("step", lambda me: times.append(monotonic()), period=0.03)
    began = monotonic()
    drive.run()
    # One that is late, on a busy machine, has the next one come sooner after it.
    assert len(times) > 2
    assert all(time - began >= number * 0.03 for number, time in enumerate(times))
    gate = Gate()
    gate.open.set()
    slow = Hooked("step", gate, period=3600.0)
    slow.inside_run()
    assert gate.reached.wait(SOON)
    slow.stop()
    slow.wait(SOON)
    assert slow.status == "stopped"


# What is seen


def test_the_profile_tells_what_each_phase_cost() -> None:
    drive = Hooked("step", lambda me: me.sleep(0.01))
    drive.run()
    report = drive.profiler_report()
    assert {phase: share["times"] for phase, share in report.items()} == {
        "init": 1,
        "start": 1,
        "step": 3,
        "finish": 1,
        "stop": 1,
    }
    assert 0.03 <= report["step"]["seconds"] < SOON
    assert 0.01 <= report["step"]["longest"] <= report["step"]["seconds"]
    assert report["step"]["processor_seconds"] < report["step"]["seconds"]
    drive.run()
    assert drive.profiler_report()["step"]["times"] == 3, "of the last run"


def test_who_waits_is_told_what_went_wrong_when_it_was_stopped() -> None:
    gate = Gate()
    drive = Hooked("step", gate)
    drive.on_stop = [].pop  # type: ignore[method-assign]
    drive.inside_run()
    assert gate.reached.wait(SOON)
    drive.stop()
    gate.open.set()
    with pytest.raises(IndexError):
        drive.wait(SOON)
    assert (drive.status, drive.error_message) == ("failed", "IndexError: pop from empty list")


def test_progress_is_told_where_it_is_known() -> None:
    drive = Drive(steps=4, beginning_step=100)
    assert drive.progress == 0.0
    drive.init()
    drive.start()
    drive.step()
    assert (drive.progress, drive.current_step) == (0.25, 101)
    drive.stop()
    assert Drive(steps=None).progress is None


def test_it_has_a_name() -> None:
    assert Drive().name == "Drive"
    assert repr(Drive(name="left")) == "<simulation left: created, step 0>"


def test_each_state_is_seen_as_a_status() -> None:
    drive = Drive()
    seen = [drive.status]
    for phase in ("init", "start", "step", "finish", "stop"):
        getattr(drive, phase)()
        seen.append(drive.status)
    during = {each.split()[-1] for each in drive.told}
    drive = Hooked("start", lambda me: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drive.run()
    assert {*seen, *during, drive.status} == set(State)


# The execution context


def test_the_context_does_the_mundane_parts() -> None:
    drive = Drive()
    with execution(drive) as steps:
        assert drive.status == "running"
        assert list(steps) == [0, 1, 2]
    assert drive.told == WHOLE
    assert drive.result == 3.0


def test_who_leaves_the_loop_early_has_it_finished() -> None:
    drive = Drive(steps=None)
    with execution(drive) as steps:
        for number in steps:
            if number == 4:
                break
    assert (drive.result, drive.status) == (5.0, "stopped")


def test_what_raises_within_the_block_stops_it() -> None:
    drive = Drive()
    with pytest.raises(LookupError), execution(drive):
        raise LookupError
    assert drive.told == [*WHOLE[:2], "stop stopping"]
    assert (drive.status, drive.error_message) == ("stopped", "")


def test_a_step_that_raises_in_the_loop_stops_it() -> None:
    drive = Hooked("step", lambda me: 1 / 0)
    with pytest.raises(ZeroDivisionError), execution(drive) as steps:
        list(steps)
    assert (drive.status, drive.told[-1]) == ("failed", "stop failed")


def test_one_that_is_stopped_within_the_loop_ends_it() -> None:
    drive = Drive(steps=None)
    numbers = []
    with execution(drive) as steps:
        for number in steps:
            numbers.append(number)
            if number == 1:
                drive.stop()
    assert (numbers, drive.result, drive.status) == ([0, 1], None, "stopped")
