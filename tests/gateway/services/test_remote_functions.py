"""Functions that are handed to others and evaluated where they came from."""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
from time import monotonic
from typing import Any

import pytest

from gateway.errors import (
    AddressError,
    CallTimeoutError,
    RecipientGoneError,
    RefusedError,
    UnknownApiError,
)
from gateway.process.process import Process
from gateway.rpc import api_of, later, remote, tell, using
from gateway.services import (
    Services,
    home,
    is_inside,
    register_function,
    remote_function,
    services,
    this_service,
)
from gateway.services import remote_functions as room
from gateway.services.home import Home, home_of
from gateway.testing.stage import play
from tests.lab.little_robot import Robot
from tests.lab.os_processes import until

PATIENCE = 20.0


def test_it_is_called_over_there_and_evaluated_here(house: Services, robot: Robot) -> None:
    where: list[tuple[int, bool]] = []

    def note(force: int) -> int:
        where.append((os.getpid(), threading.current_thread() is threading.main_thread()))
        return force + 1

    with house.remote_function(note) as handed:
        assert robot.call(handed, 3) == 4
        assert handed(5) == 6, "here it is what it was"
    assert where[0] == (os.getpid(), False), "while this thread waits for the robot"


def test_it_may_stand_anywhere_in_an_argument_and_go_on_to_others(
    house: Services, robot: Any
) -> None:
    other: Any = house.start("other", Robot)
    with house.remote_function(lambda number: number * 2) as handed:
        robot.helper = {"deep": [handed]}
        assert robot.helper["deep"][0] is handed, "back home it is itself"
        robot.keep(handed)
        assert robot.call_kept(4) == 8
        assert robot.kept(5) == 10, "a function that an attribute holds"
        other.keep(robot.kept)
        assert other.call_kept(6) == 12


def test_what_it_raises_is_raised_over_there_and_comes_back(house: Services, robot: Robot) -> None:
    def fail() -> None:
        raise ZeroDivisionError("not here")

    with house.remote_function(fail) as handed, pytest.raises(ZeroDivisionError, match="not here"):
        robot.call(handed)


def test_its_arguments_are_checked_and_may_be_references(house: Services, robot: Any) -> None:
    def speed_of(other: Robot, plus: int) -> int:
        return other.speed + plus

    other = house.start("other", Robot, 7)
    with house.remote_function(speed_of) as handed:
        assert robot.call(handed, other, 1) == 8
        with pytest.raises(RefusedError, match="'plus': Expected `int`"):
            robot.call(handed, other, "much")


def test_it_runs_on_its_own_thread_where_it_must(house: Services, robot: Robot) -> None:
    threads: list[threading.Thread] = []

    def note(word: str) -> str:
        threads.append(threading.current_thread())
        return word

    with house.remote_function(note, on_own_thread=True, timeout=PATIENCE) as handed:
        answer = later(robot.call)(handed, "hello")
        assert until(lambda: bool(house.process.mailman() or threads), PATIENCE)
        assert answer.result() == "hello"
    assert threads == [threading.current_thread()]


def test_one_whose_thread_is_not_free_in_time_expires(house: Services, robot: Robot) -> None:
    ran: list[int] = []
    with house.remote_function(ran.append, on_own_thread=True, timeout=0.2) as handed:
        with pytest.raises(TimeoutError):
            robot.call(handed, 1)
        statistics = house._home.functions()._inner.desk
        assert statistics is not None
        assert until(lambda: statistics.statistics()["running"] == 0, PATIENCE)
        house.process.mailman()
        assert ran == [], "whose turn is over has none"


def test_who_waits_for_its_own_thread_is_told_when_that_ends() -> None:
    """And no thread of ours goes on waiting; a fixture looks."""
    with services() as house:
        robot = house.using(grace=0.1).start("robot", Robot)
        handed = house.remote_function(print, on_own_thread=True, timeout=PATIENCE)
        using(later(robot.call), timeout=PATIENCE)(handed)
        desk = house._home.functions()._inner.desk
        assert desk is not None
        assert until(lambda: desk.statistics()["running"] == 1, PATIENCE)
        began = monotonic()
    assert monotonic() - began < PATIENCE / 2


def test_two_threads_that_want_the_first_one_get_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def scene(main: Process) -> None:
        both = threading.Barrier(2, timeout=PATIENCE)
        found: list[Home] = []

        class Meeting(Home):
            def __init__(self, process: Process) -> None:
                with contextlib.suppress(threading.BrokenBarrierError):
                    both.wait(0.2)
                super().__init__(process)

        monkeypatch.setattr(home, "Home", Meeting)
        threads = [threading.Thread(target=lambda: found.append(home_of(main))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert found[0] is found[1] is main.services

    play(scene)


def test_who_calls_it_waits_no_longer_than_was_said(house: Services, robot: Robot) -> None:
    ends = threading.Event()
    with house.remote_function(ends.wait, timeout=0.1) as handed:
        with pytest.raises(CallTimeoutError, match="'functions@main' did not answer"):
            robot.call(handed)
        ends.set()


def test_it_is_withdrawn_by_close(house: Services, robot: Any) -> None:
    handed = house.remote_function(lambda: 1)
    robot.keep(handed)
    assert robot.call_kept() == 1
    handed.close()
    handed.close()
    with pytest.raises(UnknownApiError, match="'main' has withdrawn the function"):
        robot.call_kept()
    assert handed() == 1


class Owner(Process):
    """Hands a function of its own to a robot."""

    def birth(self) -> None:
        Services(self)
        api_of(self).add("hand", self.hand)
        api_of(self).add("crash", lambda: os._exit(1))

    def hand(self, robot: Any) -> None:
        robot.keep(remote_function(self, lambda number: number + os.getpid(), name="plus_pid"))


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_every_process_hands_out_some_and_a_dead_owner_is_told_of_at_once(mode: Any) -> None:
    def scene(main: Process) -> None:
        with Services(main) as house:
            robot: Any = house.start("robot", Robot)
            owner = remote(main, "owner")
            owner.hand(robot)
            assert robot.call_kept(0) > 0
            assert house.functions() == ["plus_pid@owner"]
            if mode == "thread":
                main.stop_process("owner")
            else:
                with pytest.raises(RecipientGoneError):
                    owner.crash()
                main.stop_process("owner")
            with pytest.raises(RecipientGoneError, match="the owner 'owner' of 'plus_pid' is gone"):
                using(robot, timeout=PATIENCE).call_kept(0)
            assert house.functions() == []

    play(scene, owner=(Owner, mode))


def test_one_with_a_name_is_found_by_everybody(house: Services, robot: Any) -> None:
    with house.remote_function(lambda x: x / 2, name="halve"):
        robot.learn("spin")
        assert house.functions() == ["halve@main", "spin@robot"]
        assert house.get_function("halve@main")(5) == 2.5
        assert house.get_function("spin@robot")(5) == 15
        with pytest.raises(RefusedError, match="'main' has a function 'halve' already"):
            house.remote_function(print, name="halve")
        with pytest.raises(AddressError, match="there are halve@main, spin@robot"):
            house.get_function("half@main")
    assert house.functions() == ["spin@robot"]
    house.remote_function(print, name="halve").close()


def test_one_that_is_found_is_not_waited_for_because_of_others(house: Services) -> None:
    busy = house.using(grace=0.1).start("busy", Robot)
    with house.remote_function(lambda x: x / 2, name="halve"):
        tell(busy.hang)()
        began = monotonic()
        assert house.get_function("halve@main", timeout=PATIENCE)(5) == 2.5
        assert monotonic() - began < PATIENCE / 2


def test_a_service_finds_functions_and_its_own_too(house: Services, robot: Any) -> None:
    robot.learn("spin")
    with house.remote_function(lambda x: x / 2, name="halve"):
        assert robot.knows_functions() == ["halve@main", "spin@robot"]
        assert robot.call_by_name("spin@robot", 5) == 15


def test_it_is_pickled_as_a_reference(house: Services, robot: Any) -> None:
    with house.remote_function(lambda: 7, name="seven"):
        found = house.get_function("seven@main")
        robot.keep(found)
        assert robot.call_kept() == 7
        assert found() == 7, "at home it is what was handed out"
        assert pickle.loads(pickle.dumps(found)) is found
        over_there = robot.kept
        assert pickle.loads(pickle.dumps(over_there))() == 7


def test_what_cannot_be_is_refused(house: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="cannot be called"):
        house.remote_function(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is no name"):
        house.remote_function(print, name="_private")
    with pytest.raises(ValueError, match="is no deadline"):
        house.remote_function(print, timeout=0)
    monkeypatch.setattr(room, "MOST", 1)
    with house.remote_function(print), pytest.raises(RefusedError, match="close some"):
        house.remote_function(print)
    house.remote_function(print).close()


def test_outside_of_a_service_nothing_is_registered() -> None:
    assert not is_inside()
    with pytest.raises(RefusedError, match="this is no service"):
        register_function("spin", print)
    with pytest.raises(RefusedError, match="this is no service"):
        this_service()
