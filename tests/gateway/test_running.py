"""A main process in a loop of the caller's own: `Application.running`."""

from __future__ import annotations

import select
import signal
import threading
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from gateway.application import Application
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.clock import RealClock
from gateway.errors import ConfigError
from gateway.process.context import Context
from gateway.process.process import Process
from gateway.process.stepper import AT_ONCE, Stepper
from tests.lab.os_processes import until

PATIENCE = 20.0


class Echo(Process):
    """Answers with what it was asked."""

    def birth(self) -> None:
        self.add_filter(subject="^echo$", callback=lambda m: self.reply(m, m.body))
        self.add_filter(subject="^write back$", callback=self.on_write_back)

    def on_write_back(self, message: Any) -> None:
        for number in range(message.body):
            self.send("main", "news", [self.name, number])


class Main(Process):
    """Keeps what it was told, by whom and where."""

    def birth(self) -> None:
        self.news: list[Any] = []
        self.threads: set[int] = set()
        self.add_filter(subject="^news$", callback=lambda m: self.note(m.body))
        self.add_filter(subject="^bug$", callback=lambda m: 1 / 0)

    def note(self, body: Any) -> None:
        self.news.append(body)
        self.threads.add(threading.get_ident())

    def death(self) -> None:
        self.note("death")


class House(Application):
    shutdown_timeout = 5.0
    global_frequency: float | None = None

    def build(self) -> None:
        self.add_process("near", Echo)
        self.add_process("far", Echo, mode="fork")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(main=Main, sockets=tmp_path / "s")


def turn(main: Stepper, until: Any, patience: float = PATIENCE) -> None:
    """Be the caller's loop: sleep until it is rung for, step, look."""
    main.step()
    while not until():
        rings = select.select([main], [], [], patience)[0]
        assert rings or until(), "it never rang"
        main.step()


def test_a_loop_that_sleeps_on_the_descriptor_misses_nothing(house: House) -> None:
    with house.running() as main:
        process: Any = main.process
        for name in ("near", "far"):
            assert process.wait_for_reply(process.send(name, "echo", 1)).body == 1
            process.send(name, "write back", 100)
        turn(main, lambda: len(process.news) == 200)
        for name in ("near", "far"):
            told = [number for who, number in process.news if who == name]
            assert told == list(range(100))
        assert main.is_active
    assert house.status == 0
    assert process.news[-1] == "death"
    assert process.threads == {threading.get_ident()}, "all of it on the caller's thread"
    assert not main.is_active


def test_a_step_handles_only_so_much_and_rings_for_the_rest(house: House) -> None:
    house.mailbox_size = 2 * AT_ONCE
    with house.running() as main:
        process: Any = main.process
        for number in range(AT_ONCE + 1):
            process.send("main", "news", number)
        assert select.select([main], [], [], 0)[0]
        main.step()
        assert len(process.news) == AT_ONCE
        assert select.select([main], [], [], 0)[0]
        main.step()
        assert len(process.news) == AT_ONCE + 1


def test_life_is_called_when_the_time_is_over_that_step_returned(tmp_path: Path) -> None:
    class Living(Main):
        def life(self) -> None:
            self.note(self.current_frame)
            if self.current_frame == 3:
                self.die()

    app = House(main=Living, sockets=tmp_path / "s")
    app.global_frequency = 50.0
    with app.running() as main:
        process: Any = main.process
        pauses: list[float | None] = [main.step()]
        while main.is_active:
            select.select([main], [], [], pauses[-1])
            pauses.append(main.step())
        assert process.news == [1, 2, 3]
        assert all(pause is not None and pause <= 0.02 for pause in pauses)


def test_any_signal_rings_so_that_the_interpreter_gets_to_its_handler(house: House) -> None:
    before = signal.set_wakeup_fd(-1)
    handler = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    with house.running() as main:
        main.step()
        main.step()
        assert not select.select([main], [], [], 0)[0]
        signal.raise_signal(signal.SIGUSR1)
        assert select.select([main], [], [], PATIENCE)[0], "though its handler does nothing"
        main.step()
        signal.raise_signal(signal.SIGTERM)
        turn(main, lambda: not main.is_active)
        assert not main.is_active
    assert house.status == 0
    assert signal.set_wakeup_fd(before) == -1, "given back"
    signal.signal(signal.SIGUSR1, handler)


def test_a_bug_rises_in_step_and_the_application_ends_as_failed(house: House) -> None:
    def use() -> None:
        with house.running() as main:
            seen.append(main.process)
            main.process.send("main", "bug")
            main.step()

    seen: list[Any] = []
    with pytest.raises(ZeroDivisionError):
        use()
    assert house.status == 1
    assert seen[0].news == ["death"]


def test_a_birth_that_fails_rises_and_everything_ends(tmp_path: Path) -> None:
    deaths: list[str] = []

    class Unborn(Process):
        def birth(self) -> None:
            raise ZeroDivisionError

        def death(self) -> None:
            deaths.append(self.name)

    app = House(main=Unborn, sockets=tmp_path / "s")
    with pytest.raises(ZeroDivisionError), app.running():
        pytest.fail("it was never born")
    assert (deaths, app.status) == (["main"], 1)


def test_a_death_that_raises_is_the_status(tmp_path: Path) -> None:
    class Unwell(Process):
        def death(self) -> None:
            raise ZeroDivisionError

    app = House(main=Unwell, sockets=tmp_path / "s")
    with pytest.raises(ZeroDivisionError), app.running():
        pass
    assert app.status == 1


def test_a_stop_from_elsewhere_ends_the_loop(house: House) -> None:
    with house.running() as main:
        threading.Thread(target=house.stop).start()
        turn(main, lambda: not main.is_active)
        assert main.step() is None
    assert house.status == 0
    with pytest.raises(ConfigError, match="runs once"), house.running():
        pytest.fail("it ran before")
    with pytest.raises(ConfigError, match="does not run"):
        house.statistics()


def test_a_window_that_is_not_used_is_not_stuck_and_one_that_hangs_is(house: House) -> None:
    house.stuck_after = 0.2
    with house.running() as main:
        process: Any = main.process
        asked: list[Any] = []
        process.subscribe("processes/main/events/stuck", lambda m: asked.append(m.body["action"]))
        deadline = monotonic() + 0.5
        turn(main, lambda: monotonic() > deadline, 0.5)
        told = process.wait_for_reply(process.send("boss", "ps")).body
        assert [each["stuck"] for each in told if each["name"] == "main"] == [False]
        process.send("main", "news", "and nobody steps")
        # The window hangs until that is found; then its loop goes on.
        boss: Any = house._boss
        found = boss._heartbeats.stuck
        assert until(lambda: boss._heartbeats.stuck > found, PATIENCE)
        turn(main, lambda: asked)
        assert asked[0] == "report"


def test_what_lives_in_its_own_loop_is_not_stepped(tmp_path: Path) -> None:
    office = Office(tmp_path / "s", clock=RealClock())
    box = Mailbox("a", clock=office.clock)
    process = Process(Context("a", office, box))
    with pytest.raises(ValueError, match="loop of its own"):
        Stepper(process)
    process._ending.close()
    box.close()
    office.shut()


def test_what_is_to_be_called_soon_or_later_is_called_by_a_step(house: House) -> None:
    with house.running() as main:
        process: Any = main.process
        process.call_soon(lambda: process.note("soon"))
        assert main.step() is None
        assert process.news == ["soon"]
        process.call_later(30.0, lambda: process.note("much later"))
        left = main.step()
        assert left is not None
        assert 0 < left <= 30.0
        process.call_later(0.05, lambda: process.note("later"))
        left = main.step()
        while "later" not in process.news:
            select.select([main], [], [], left)
            left = main.step()
        assert process.threads == {threading.get_ident()}


def test_a_call_soon_of_another_thread_rings(house: House) -> None:
    with house.running() as main:
        process: Any = main.process
        main.step()
        other = threading.Thread(target=process.call_soon, args=(lambda: process.note("soon"),))
        other.start()
        turn(main, lambda: process.news == ["soon"])
        other.join()
