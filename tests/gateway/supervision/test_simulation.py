"""Whole applications in virtual time: what they keep, what is refused, that nothing stays."""

from __future__ import annotations

import gc
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.application import Application
from gateway.bus.mailbox import Mailbox
from gateway.clock import VirtualClock
from gateway.errors import (
    CallTimeoutError,
    ConfigError,
    MailboxFullError,
    RecipientGoneError,
    SimulationError,
    UnknownApiError,
)
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.supervision.restart import RestartPolicy
from gateway.supervision.simulation import Outcome

ROOT = Path(__file__).parents[3]

Build = Callable[[Application], None]

YEAR = 365 * 86400.0


class Mute(Process):
    """Takes everything and answers nothing."""

    def birth(self) -> None:
        self.add_filter(callback=lambda message: None)


class Silent(Process):
    """Has no life, and waits for mail."""


class Echo(Process):
    """Answers with what it was asked."""

    def birth(self) -> None:
        self.add_filter(subject="^echo$", callback=lambda m: self.reply(m, m.body))


def application(
    build: Build = lambda app: None, life: Callable[[Process], None] | None = None
) -> Application:
    """Return an application whose main process has ``life`` at 1 Hz, and ends of no failure."""
    main: type[Process] = Silent
    if life is not None:
        main = type("Main", (Process,), {"life": life})

    class Simulated(Application):
        def build(self) -> None:
            build(self)

    return Simulated(main=main)


def play(scene: Callable[[Process], None], build: Build = lambda app: None) -> Outcome:
    """Play ``scene`` once in the main process's life, and return what came of it."""

    def life(main: Process) -> None:
        scene(main)
        main.die()

    with application(build, life).simulation() as simulation:
        return simulation.run()


# Time


def test_a_process_lives_at_its_frequency_in_virtual_time() -> None:
    frames: list[float] = []

    class Ticker(Process):
        def life(self) -> None:
            frames.append(self._clock.monotonic())

    app = application(lambda app: app.add_process("ticker", Ticker, frequency=4.0))
    outcome = app.simulate(until=10.0)
    assert frames == [n / 4 for n in range(41)]
    assert (outcome.status, outcome.time) == (0, 10.0)


def test_a_day_of_an_application_that_only_sleeps_is_over_at_once() -> None:
    def scene(main: Process) -> None:
        assert main.light_sleep(86400.0)

    outcome = play(scene)
    assert outcome.time == 86400.0
    assert outcome.events < 100


def test_stepping_goes_from_instant_to_instant_or_by_a_tock() -> None:
    frames: list[float] = []
    app = application(life=lambda main: frames.append(main._clock.monotonic()))
    with app.simulation() as simulation:
        assert simulation.step() == 0.0
        assert simulation.step() == 1.0
        assert frames == [0.0, 1.0]
        assert simulation.step(0.25) == 1.25
        assert simulation.step(2.0) == 3.25
        assert frames == [0.0, 1.0, 2.0, 3.0]
        assert simulation.run_until(5.0) == simulation.time == 5.0
        with pytest.raises(ValueError, match="never goes back"):
            simulation.run_until(4.0)
        assert simulation.stop() == 0
        assert simulation.has_ended
        assert simulation.step() == simulation.step(9.0) == simulation.run_until(99.0) == 5.0


WRONG = [
    ("5", TypeError, "is a number of virtual seconds, not '5'"),
    (None, TypeError, "is a number of virtual seconds, not None"),
    (True, TypeError, "is a number of virtual seconds, not True"),
    (nan, ValueError, "is a number of virtual seconds from 0, not nan"),
    (-1, ValueError, "is a number of virtual seconds from 0, not -1"),
    (-inf, ValueError, "is a number of virtual seconds from 0, not -inf"),
]


@pytest.mark.parametrize(("time", "error", "match"), WRONG)
def test_a_time_that_never_comes_is_refused(time: Any, error: type[Exception], match: str) -> None:
    app = application()
    with pytest.raises(error, match=f"until {match}"):
        app.simulate(until=time)
    # It was refused before anything began, and can still be had.
    with app.simulation() as simulation:
        with pytest.raises(error, match=f"a time {match}"):
            simulation.run_until(time)
        if time is not None:
            with pytest.raises(error, match=f"a step {match}"):
                simulation.step(time)
        assert simulation.run_until(2.0) == 2.0


@pytest.mark.parametrize("time", [inf, 10**400])
def test_a_step_ends(time: float) -> None:
    with (
        application().simulation() as simulation,
        pytest.raises(ValueError, match="a step is a number of virtual seconds that end"),
    ):
        simulation.step(time)


@pytest.mark.parametrize(
    ("limit", "unit"),
    [
        ("most_events", "waits and letters"),
        ("at_once", "waits and letters"),
        ("patience", "real seconds"),
    ],
)
def test_a_limit_that_bounds_nothing_is_refused(limit: str, unit: str) -> None:
    wrong: Any
    for wrong in (nan, -1):
        with pytest.raises(ValueError, match=f"{limit} is a number of {unit} from 0, not {wrong}"):
            application().simulation(**{limit: wrong})
    with pytest.raises(TypeError, match=f"{limit} is a number of {unit}, not '5'"):
        application().simulation(**{limit: "5"})
    endless: dict[str, Any] = {limit: inf}
    assert application().simulate(until=3.0, **endless).time == 3.0


def test_until_stops_a_stepped_application_in_order() -> None:
    ends: list[str] = []

    class Mortal(Process):
        def death(self) -> None:
            ends.append(self.name)

    def build(app: Application) -> None:
        app.add_process("first", Mortal)
        app.add_process("second", Mortal, depends=["first"])

    with application(build).simulation(until=7.0) as simulation:
        simulation.run_until(3.0)
        assert not simulation.has_ended
        assert simulation.run_until(100.0) == 7.0
        assert simulation.has_ended
    assert ends == ["second", "first"]
    assert simulation.outcome().status == 0


def test_whoever_is_not_stepped_to_the_end_leaves_nothing_behind() -> None:
    with application(lambda app: app.add_process("echo", Echo)).simulation() as simulation:
        simulation.step()
        assert threading.active_count() > 1
    assert threading.active_count() == 1


# Mail


def test_a_letter_is_answered_and_the_ledger_balances() -> None:
    def scene(main: Process) -> None:
        answer = main.wait_for_reply(main.send("echo", "echo", {"n": 1}))
        assert answer.body == {"n": 1}

    outcome = play(scene, lambda app: app.add_process("echo", Echo))
    assert outcome.status == 0
    assert outcome.ledger["echo"].delivered == 1
    assert all(balance.is_balanced for balance in outcome.ledger.values())


def test_a_reply_that_does_not_come_is_waited_for_in_virtual_seconds() -> None:
    def scene(main: Process) -> None:
        with pytest.raises(CallTimeoutError):
            main.wait_for_reply(main.send("mute", "echo"), timeout=30.0)

    assert play(scene, lambda app: app.add_process("mute", Mute)).time == 30.0


def test_what_nobody_takes_comes_back_at_the_same_moment() -> None:
    def scene(main: Process) -> None:
        with pytest.raises(UnknownApiError, match="'silent' has no filter for 'echo'"):
            main.wait_for_reply(main.send("silent", "echo"), timeout=30.0)

    assert play(scene, lambda app: app.add_process("silent", Silent)).time == 0.0


def test_a_writer_before_a_full_mailbox_waits_until_there_is_room_or_the_deadline() -> None:
    class Slow(Process):
        def birth(self) -> None:
            self.add_filter(subject="^work$", callback=lambda m: self.light_sleep(10.0) and None)

    times: list[float] = []

    def scene(main: Process) -> None:
        for _ in range(3):
            main.send("slow", "work", timeout=60.0)
            times.append(main._clock.monotonic())
        with pytest.raises(MailboxFullError):
            main.send("slow", "work", timeout=2.0)
        times.append(main._clock.monotonic())

    play(scene, lambda app: app.add_process("slow", Slow, mailbox_size=1, frequency=0))
    # One is in its hands from the moment that it is read, and one waits.
    assert times == [0.0, 0.0, 10.0, 12.0]


def test_a_letter_expires_in_virtual_time_and_bounces() -> None:
    class Late(Process):
        def birth(self) -> None:
            self.light_sleep(5.0)

    def scene(main: Process) -> None:
        letter = main.send("late", "work", expires_in=1.0, receipt=True)
        with pytest.raises(TimeoutError, match="too old"):
            main.wait_for_reply(letter, timeout=60.0)

    outcome = play(scene, lambda app: app.add_process("late", Late))
    assert (outcome.time, outcome.ledger["late"].expired) == (5.0, 1)


@pytest.mark.parametrize("step", [-YEAR, YEAR])
def test_a_clock_that_is_set_makes_no_letter_older_or_younger(step: float) -> None:
    """As NTP does soon after the start of a board that has no clock of its own."""

    class Late(Process):
        def birth(self) -> None:
            self.add_filter(subject="work", callback=self.reply)
            self.light_sleep(5.0)

    def scene(main: Process) -> None:
        old = main.send("late", "work", expires_in=4.0, receipt=True)
        fresh = main.send("late", "work", expires_in=6.0, receipt=True)
        clock = main.office.clock
        assert isinstance(clock, VirtualClock)
        clock.epoch += step
        with pytest.raises(TimeoutError, match="too old"):
            main.wait_for_reply(old, timeout=60.0)
        main.wait_for_reply(fresh, timeout=60.0)

    outcome = play(scene, lambda app: app.add_process("late", Late))
    assert (outcome.time, outcome.ledger["late"].expired) == (5.0, 1)


def test_who_waits_for_a_reply_is_told_of_a_death_at_that_instant() -> None:
    class Fragile(Process):
        def birth(self) -> None:
            self.add_filter(subject="^break$", callback=self.on_break)

        def on_break(self, message: Message) -> None:
            self.light_sleep(3.0)
            raise ZeroDivisionError

    def life(main: Process) -> None:
        with pytest.raises(RecipientGoneError):
            main.wait_for_reply(main.send("fragile", "break"), timeout=60.0)
        assert main._clock.monotonic() == 3.0
        main.die()

    app = application(lambda app: app.add_process("fragile", Fragile), life)
    with app.simulation(fail_fast=False) as simulation:
        outcome = simulation.run()
    assert outcome.status == 0
    assert [failure.process for failure in outcome.failures] == ["fragile"]


def test_retained_values_and_wills_are_told_by_the_same_boss() -> None:
    heard: list[tuple[float, Any]] = []

    class Owner(Process):
        def birth(self) -> None:
            self.declare_will("lamp/state", {"state": "failed"})
            self.publish("lamp/state", {"state": "on"}, retain=True)

        def life(self) -> None:
            if self._clock.monotonic() >= 4.0:
                raise RuntimeError("burnt out")

    class Listener(Process):
        def birth(self) -> None:
            self.light_sleep(2.0)
            self.subscribe("lamp/+", self.on_lamp)

        def on_lamp(self, message: Message) -> None:
            heard.append((self._clock.monotonic(), message.body["state"]))

    def build(app: Application) -> None:
        app.add_process("owner", Owner, restart=RestartPolicy("temporary"))
        app.add_process("listener", Listener)

    application(build).simulate(until=10.0, fail_fast=False)
    assert heard == [(2.0, "on"), (4.0, "failed")]


def test_the_restart_policy_decides_in_virtual_time_where_that_is_wanted() -> None:
    births: list[float] = []

    class Broken(Process):
        def birth(self) -> None:
            births.append(self._clock.monotonic())
            raise ValueError("no")

    policy = RestartPolicy(most=2, within=60.0, first=1.0, ceiling=1.0, slowly=600.0)
    app = application(lambda app: app.add_process("broken", Broken, restart=policy))
    outcome = app.simulate(until=602.2, fail_fast=False)
    assert len(births) == len(outcome.failures) == 4
    assert 0.5 <= births[1] <= 1.0
    assert 300.0 <= births[3] - births[2] <= 600.0
    assert outcome.failures[0].error == "ValueError: no"


def test_child_threads_take_turns_and_are_joined_in_virtual_time() -> None:
    done: list[float] = []

    def scene(main: Process) -> None:
        main.add_child_thread("work", lambda: work(main))
        main.add_child_thread("ask", lambda: done.append(ask(main)))
        assert main.child_threads_alive() == ["work", "ask"]
        assert main.join_child_threads(1.0) == ["work"]
        assert main._clock.monotonic() == 1.0
        assert main.join_child_threads(60.0) == []
        assert main._clock.monotonic() == 3.0
        assert main.child_thread_janitor() == 2

    def work(main: Process) -> None:
        main.light_sleep(3.0)
        done.append(3.0)

    def ask(main: Process) -> float:
        return float(main.wait_for_reply(main.send("echo", "echo", 0.5)).body)

    play(scene, lambda app: app.add_process("echo", Echo))
    assert done == [0.5, 3.0]


def test_what_lives_behind_a_router_reads_a_mailbox_of_its_own() -> None:
    """As the thread of a driver does, once its link is a simulated one."""

    class Router(Process):
        def birth(self) -> None:
            for device in ("wheels", "arm", "lamp"):
                box = self.open_mailbox(device)
                self.add_child_thread(device, partial(self.serve, box))

        def serve(self, box: Mailbox) -> None:
            while self.is_active:
                message = box.get(1.0)
                if message is not None:
                    self.light_sleep(0.25)
                    self.reply(message, f"{box.name}: {message.subject}")

    def scene(main: Process) -> None:
        letters = [main.send(f"{device}@serial", "move") for device in ("arm", "wheels")]
        answers = [main.wait_for_reply(letter).body for letter in letters]
        assert answers == ["arm@serial: move", "wheels@serial: move"]
        assert main._clock.monotonic() == 1.25
        assert main.wait_for_reply(main.send("lamp@serial", "on")).body == "lamp@serial: on"

    def life(main: Process) -> None:
        if main.current_frame == 2:
            scene(main)
            main.die()

    app = application(lambda app: app.add_process("serial", Router), life)
    with app.simulation() as simulation:
        assert simulation.run().status == 0
    assert simulation.ledger()["lamp@serial"].delivered == 1


def test_a_bug_in_a_child_thread_is_a_bug_of_its_process() -> None:
    def scene(main: Process) -> None:
        main.add_child_thread("work", lambda: 1 // 0)
        main.light_sleep(1.0)

    with pytest.raises(SimulationError, match="'main' failed at 1 s: ZeroDivisionError"):
        application(life=scene).simulate(until=5.0)


def test_the_stop_gives_up_who_does_not_end_and_says_so() -> None:
    class Stubborn(Process):
        def life(self) -> None:
            self.wait_for_reply(self.send("mute", "anything"), timeout=1e6)

    def build(app: Application) -> None:
        app.add_process("mute", Mute)
        app.add_process("stubborn", Stubborn, depends=["mute"])

    outcome = application(build).simulate(until=10.0, fail_fast=False)
    assert outcome.status == 1
    assert outcome.time >= 10.0 + Application.shutdown_timeout


def test_the_emergency_brake_ends_a_simulation_as_failed() -> None:
    class Guard(Process):
        def life(self) -> None:
            if self.current_frame == 3:
                self.ebrake("smoke")

    app = application(lambda app: app.add_process("guard", Guard, frequency=1.0))
    with app.simulation() as simulation:
        outcome = simulation.run()
    assert (outcome.status, outcome.time, app.brake) == (1, 2.0, "guard: smoke")


# One seed, one order


class Gossip(Process):
    """Writes to others as chance has it, asks now and then, sleeps, publishes."""

    def birth(self) -> None:
        self.add_filter(subject="^say$", callback=lambda m: None)
        self.add_filter(subject="^ask$", callback=lambda m: self.reply(m, self.random.random()))
        self.subscribe("news/#", lambda m: None)

    def life(self) -> None:
        others = [name for name in self.parameter("names") if name != self.name]
        chance = self.random.random()
        if chance < self.parameter("bug", 0.0):
            raise ValueError("unlucky")
        try:
            if others and chance < 0.5:
                self.send(self.random.choice(others), "say", {"chance": chance}, timeout=2.0)
            elif others and chance < 0.7:
                other = self.random.choice(others)
                self.wait_for_reply(self.send(other, "ask"), timeout=0.7)
            elif chance < 0.8:
                self.publish(f"news/{self.name}", chance, retain=chance < 0.75)
            else:
                self.light_sleep(chance)
        except (TimeoutError, ConnectionError, LookupError):
            self.publish("news/failures", self.name)


def gossip(seed: int, names: list[str], frequencies: list[float], size: int, bug: float) -> Outcome:
    def build(app: Application) -> None:
        for name, frequency in zip(names, frequencies, strict=False):
            app.add_process(
                name,
                Gossip,
                frequency=frequency,
                mailbox_size=size,
                mailbox_order="priority" if size % 2 else "fifo",
                parameters={"names": names, "bug": bug},
            )

    return application(build).simulate(until=8.0, seed=seed, fail_fast=False)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 5),
    frequencies=st.lists(st.sampled_from([0.5, 1.0, 3.0, 7.0]), min_size=5, max_size=5),
    size=st.integers(1, 4),
    bug=st.sampled_from([0.0, 0.1]),
)
def test_one_seed_gives_one_ledger_and_one_order_of_mail(
    seed: int, count: int, frequencies: list[float], size: int, bug: float
) -> None:
    names = [f"p{number}" for number in range(count)]
    first = gossip(seed, names, frequencies, size, bug)
    assert first == gossip(seed, names, frequencies, size, bug)
    assert all(balance.is_balanced for balance in first.ledger.values())
    assert {failure.error for failure in first.failures} <= {"ValueError: unlucky"}


class Worker(Process):
    """Asks the others for some work, and does theirs, which takes a moment."""

    def birth(self) -> None:
        self.add_filter(subject="^work$", callback=self.on_work)
        self.subscribe("done/#", lambda message: None)

    def on_work(self, message: Message) -> None:
        self.light_sleep(self.random.random() * 0.01)
        self.publish(f"done/{self.name}", None)
        self.reply(message, "done")

    def life(self) -> None:
        for other in sorted({"a", "b", "c"} - {self.name}):
            try:
                self.send(other, "work", timeout=0.01)
            except (RecipientGoneError, MailboxFullError):
                self.parameter("refused").append(self.name)


@pytest.mark.parametrize("policy", ["block", "reject", "drop_oldest"])
def test_an_ordinary_stop_fails_nobody_whatever_the_seed(policy: Any) -> None:
    def stopped(seed: int) -> tuple[Outcome, list[str]]:
        refused: list[str] = []

        def build(app: Application) -> None:
            for name in "abc":
                app.add_process(
                    name,
                    Worker,
                    frequency=50.0,
                    mailbox_policy=policy,
                    parameters={"refused": refused},
                )

        outcome = application(build).simulate(until=0.5, seed=seed)
        assert all(balance.is_balanced for balance in outcome.ledger.values())
        return outcome, refused

    for seed in range(40):
        first, _ = found = stopped(seed)
        assert (first.status, first.failures) == (0, ())
        assert found == stopped(seed)


class Machine(Process):
    """Its threads want the same two locks, for a while each."""

    def birth(self) -> None:
        self.add_locks("arm", "camera")
        self.holders: list[str] = []
        for name in "abc":
            self.add_child_thread(name, partial(self.work, name))

    def work(self, name: str) -> None:
        note = self.parameter("note")
        while self.light_sleep(self.random.random()):
            try:
                with self.get_locks("camera", "arm", timeout=self.random.random()):
                    assert self.holders == []
                    self.holders.append(name)
                    self.light_sleep(self.random.random())
                    self.holders.remove(name)
                    note((self._clock.monotonic(), name, "had its turn"))
            except CallTimeoutError:
                note((self._clock.monotonic(), name, "gave up"))


def test_threads_wait_for_named_locks_in_virtual_time_and_one_seed_gives_one_order() -> None:
    def work(seed: int) -> list[tuple[float, str, str]]:
        noted: list[tuple[float, str, str]] = []

        def build(app: Application) -> None:
            app.add_process("machine", Machine, parameters={"note": noted.append})

        outcome = application(build).simulate(until=60.0, seed=seed)
        assert (outcome.status, outcome.failures) == (0, ())
        return noted

    orders = [work(seed) for seed in range(10)]
    assert orders == [work(seed) for seed in range(10)]
    for order in orders:
        assert {(name, said) for _, name, said in order} == {
            (name, said) for name in "abc" for said in ("had its turn", "gave up")
        }
    assert len({str(order) for order in orders}) == 10


def test_the_deadline_for_a_lock_is_virtual() -> None:
    said: list[float] = []

    def scene(main: Process) -> None:
        def hold() -> None:
            with main.get_locks("arm"):
                main.light_sleep(3600.0)

        main.add_locks("arm")
        main.add_child_thread("holder", hold)
        main.light_sleep(1.0)
        with pytest.raises(CallTimeoutError, match="'arm' stayed taken for 60 s"):
            main.get_locks("arm", timeout=60.0).__enter__()
        said.append(main._clock.monotonic())
        with main.get_locks("arm", timeout=7200.0):
            said.append(main._clock.monotonic())

    play(scene)
    assert said == pytest.approx([61.0, 3600.0])


def test_another_seed_gives_another_order() -> None:
    names = ["a", "b", "c"]
    outcomes = {gossip(seed, names, [3.0] * 3, 4, 0.0).digest for seed in range(5)}
    assert len(outcomes) == 5


def test_the_hash_seed_of_the_interpreter_does_not_matter() -> None:
    code = (
        "from tests.gateway.supervision.test_simulation import gossip;"
        "print(gossip(3, ['a', 'b', 'c'], [3.0] * 3, 4, 0.1))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1] == f"{gossip(3, ['a', 'b', 'c'], [3.0] * 3, 4, 0.1)}\n"


def test_many_simulations_in_one_os_process_leave_nothing() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    gc.collect()
    before = descriptors(), threading.active_count()
    for seed in range(50):
        with application(lambda app: app.add_process("echo", Echo)).simulation(seed=seed) as one:
            one.step(1.0)
            # No descriptor is made in the first place, so that none waits for the collector.
            assert descriptors() == before[0]
    assert (descriptors(), threading.active_count()) == before


# What is refused


def test_what_is_no_thread_is_refused_by_name() -> None:
    app = application(lambda app: app.add_process("echo", Echo, mode="fork"))
    with pytest.raises(ConfigError, match="'echo' has the mode 'fork'"):
        app.simulate(until=1.0)


def test_a_bug_ends_the_simulation_and_names_the_process() -> None:
    class Buggy(Process):
        def life(self) -> None:
            if self.current_frame == 5:
                raise KeyError("oops")

    app = application(lambda app: app.add_process("buggy", Buggy, frequency=2.0))
    with app.simulation() as simulation:
        with pytest.raises(SimulationError, match="'buggy' failed at 2 s: KeyError: 'oops'"):
            simulation.run_until(60.0)
        assert simulation.has_ended
        assert simulation.outcome().status == 1
    assert threading.active_count() == 1


def test_everybody_waiting_for_ever_is_an_error_that_names_them() -> None:
    with application(lambda app: app.add_process("silent", Silent)).simulation() as simulation:
        simulation.step()
        with pytest.raises(SimulationError, match="'main', 'boss', 'silent' wait for ever"):
            simulation.step()
    assert threading.active_count() == 1
    with (
        application(lambda app: app.add_process("silent", Silent)).simulation() as simulation,
        pytest.raises(SimulationError, match="nothing will ever happen again"),
    ):
        simulation.run()


def test_who_idles_until_a_given_moment_is_no_deadlock() -> None:
    assert application().simulate(until=60.0).time == 60.0


@pytest.mark.parametrize(
    "spin",
    [
        lambda main: main.mailman(0.0),
        lambda main: main.light_sleep(0.0),
        lambda main: main.send("main", "to myself") and main.mailman(0.0),
    ],
    ids=["mailman", "sleep", "send"],
)
def test_a_process_that_never_lets_time_pass_is_named(spin: Callable[[Process], object]) -> None:
    def life(main: Process) -> None:
        while True:
            spin(main)

    with pytest.raises(SimulationError, match=r"time stands still at 0 s: .* by 'main'"):
        application(life=life).simulate(until=5.0, at_once=1000)
    assert threading.active_count() == 1


def test_a_process_that_neither_waits_nor_writes_is_named_and_interrupted() -> None:
    def life(main: Process) -> None:
        while True:
            pass

    with pytest.raises(SimulationError, match="'main' neither waits nor writes"):
        application(life=life).simulate(until=5.0, patience=0.1)
    assert threading.active_count() == 1


def test_a_process_that_catches_everything_ends_all_the_same() -> None:
    def life(main: Process) -> None:
        while True:
            try:
                main.send("silent", "more", timeout=0.0)
            except Exception:  # noqa: BLE001 - what a careless author writes
                continue

    app = application(lambda app: app.add_process("silent", Silent), life)
    with pytest.raises(SimulationError, match="time stands still"):
        app.simulate(until=5.0, at_once=1000)


def test_more_events_than_allowed_end_it() -> None:
    app = application(life=lambda main: None)
    with pytest.raises(SimulationError, match="when 500 events were over"):
        app.simulate(until=1e9, most_events=500)


def test_a_thread_that_the_simulation_does_not_know_is_refused() -> None:
    errors: list[BaseException] = []

    def write(main: Process) -> None:
        for deed in (
            lambda: main.send("main", "hello"),
            lambda: main.mailman(1.0),
            lambda: main.light_sleep(1.0),
            lambda: main.wait_for_reply(Message("1", "1", 1, 0.0, "a", "b", "c")),
            main.die,
        ):
            try:
                deed()
            except SimulationError as error:
                errors.append(error)

    def life(main: Process) -> None:
        foreign = threading.Thread(target=write, args=(main,), name="library")
        foreign.start()
        foreign.join()

    with pytest.raises(SimulationError, match="the thread 'library' does not belong"):
        application(life=life).simulate(until=5.0)
    assert len(errors) == 5
    assert "may not write to 'main'" in str(errors[0])


def test_a_real_descriptor_is_refused() -> None:
    def life(main: Process) -> None:
        with select.epoll() as real:
            main.watch(real.fileno(), lambda events: None)

    with pytest.raises(SimulationError, match="'main' watches a real descriptor"):
        application(life=life).simulate(until=5.0)


def test_an_interrupted_driver_ends_every_thread() -> None:
    def life(main: Process) -> None:
        if main.current_frame == 3:
            ident = threading.main_thread().ident
            assert ident is not None
            signal.pthread_kill(ident, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        application(life=life).simulate(until=1e7)
    assert threading.active_count() == 1


def test_an_application_is_simulated_once() -> None:
    app = application()
    app.simulate(until=1.0)
    with pytest.raises(ConfigError, match="runs once"):
        app.simulate(until=1.0)
