"""Starting, finding and closing services."""

from __future__ import annotations

import os
import signal
import sys
import threading
from functools import partial
from math import inf, nan
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from gateway import Application, Process
from gateway.errors import (
    AddressError,
    BodyError,
    CallTimeoutError,
    ConfigError,
    RecipientGoneError,
    RefusedError,
    RemoteError,
)
from gateway.mail.signature import command
from gateway.rpc import later, remote
from gateway.services import Services, closing, is_running, services
from gateway.services.service_line import ServiceLine
from gateway.testing.stage import Echo, play
from tests.lab.little_robot import Crashes, Door, Hangs, Robot, Slow, make_robot
from tests.lab.os_processes import until

PATIENCE = 20.0


# Starting


def test_a_service_is_an_object_in_an_os_process_of_its_own(house: Services) -> None:
    robot = house.start("robot", Robot, 5, name="rob")
    assert (robot.speed, robot.name, robot.grip(force=3)) == (5, "rob", "3 N")
    pid, on_main_thread = robot.where()
    assert pid != os.getpid()
    assert on_main_thread


@pytest.mark.parametrize("factory", [make_robot, "tests.lab.little_robot:make_robot"])
def test_a_function_makes_one_as_well_and_so_does_a_name(house: Services, factory: Any) -> None:
    assert house.start("robot", factory, 7).name == "made"


def test_arguments_may_be_of_any_size(house: Services) -> None:
    words = "x" * 1_000_000
    assert house.start("robot", Robot, name=words).name == words


def test_a_name_that_is_taken_is_refused_and_what_has_it_goes_on(
    house: Services, robot: Robot
) -> None:
    with pytest.raises(RefusedError, match="'robot' already: choose another name"):
        house.start("robot", Robot)
    with pytest.raises(RefusedError, match="'main' already"):
        house.start("main", Robot)
    assert robot.speed == 3


def test_what_the_constructor_raises_is_raised_where_it_was_started(house: Services) -> None:
    with pytest.raises(ValueError, match="200 is too fast") as caught:
        house.start("robot", Robot, 200)
    assert isinstance(caught.value, RemoteError)
    assert caught.value.remote_type == "ValueError"
    assert "little_robot.py" in caught.value.remote_traceback
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        house.start("robot", "tests.lab.little_robot:Robot", colour="red")
    assert house.start("robot", Robot).speed == 3, "and the name is free"


@pytest.mark.parametrize("how", ["exit", "kill", "leave"])
def test_one_that_dies_in_its_constructor_is_told_of_at_once(house: Services, how: str) -> None:
    began = monotonic()
    with pytest.raises(RecipientGoneError, match="'robot' died while it made its Crashes"):
        house.start("robot", Crashes, how)
    assert monotonic() - began < house._terms.timeout / 2
    assert house.running() == []


def test_one_that_hangs_in_its_constructor_is_given_up_and_ended(house: Services) -> None:
    with pytest.raises(CallTimeoutError, match=r"has not made its Hangs within 0\.5 s"):
        house.using(timeout=0.5).start("robot", Hangs)
    assert until(lambda: "robot" not in house.process.recipients(), PATIENCE)
    assert house.start("robot", Robot).speed == 3


def test_what_cannot_be_found_by_its_name_is_refused_before_anything_is_started(
    house: Services,
) -> None:
    class Local:
        pass

    factories: list[Any] = [Local, lambda: 3, Robot().grip]
    for factory in factories:
        with pytest.raises(ConfigError, match="move it to the top of its module"):
            house.start("robot", factory)
    with pytest.raises(ConfigError, match="no class"):
        house.start("robot", "tests.lab.little_robot:Nobody")
    with pytest.raises(BodyError, match="argument 1 cannot be sent: it holds a lock"):
        house.start("robot", "tests.lab.little_robot:Robot", threading.Lock())
    with pytest.raises(BodyError, match=r"remote_function\(process, function\)"):
        house.start("robot", Robot, helper=lambda: 3)
    assert house.process.process_names() == ["main"]


def test_what_is_no_factory_is_refused_with_what_would_be_right(house: Services) -> None:
    wrong: Any
    for wrong in (Robot(), partial(Robot, 3), None):
        with pytest.raises(ConfigError, match="has no name: start it with a class or a function"):
            house.start("robot", wrong)
    with pytest.raises(RefusedError, match="'builtins:print' returned nothing"):
        house.start("robot", print)


def test_a_class_that_comes_later_than_the_application_is_not_found(
    house: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late:
        pass

    Late.__qualname__ = "Late"
    monkeypatch.setattr(sys.modules[__name__], "Late", Late, raising=False)
    with pytest.raises(ConfigError, match="after the application had begun"):
        house.start("late", Late)


def test_the_terms_of_a_start_are_checked(house: Services) -> None:
    for wrong in (
        {"timeout": 0},
        {"timeout": "5"},
        {"grace": 0},
        {"workers": -1},
        {"workers": 2.5},
        {"colour": "red"},
    ):
        with pytest.raises(ValueError):
            house.using(**wrong)


def test_workers_call_methods_beside_each_other(house: Services) -> None:
    robot = house.using(workers=2).start("robot", Robot)
    _, on_main_thread = robot.where()
    assert not on_main_thread


# Finding


def test_the_registry_has_what_runs_and_nothing_that_died(house: Services) -> None:
    assert house.running() == []
    house.start("a", Robot)
    b = house.start("b", Robot)
    assert house.running() == ["a", "b"]
    with pytest.raises(RecipientGoneError):
        b.crash()
    assert until(lambda: house.running() == ["a"], PATIENCE)
    with pytest.raises(AddressError, match="no service 'b' runs; there are a"):
        house.get_proxy("b")
    with pytest.raises(AddressError, match="no service 'main' runs"):
        house.get_proxy("main")


class Asker(Process):
    """Finds services from another OS process."""

    @command
    def speed(self, name: str) -> int:
        found: int = Services(self).get_proxy(name).speed
        return found

    @command
    def running(self) -> list[str]:
        return Services(self).running()

    @command
    def start(self, name: str) -> list[str]:
        Services(self).start(name, Robot, 9)
        return Services(self).running()

    @command
    def start_slowly(self, name: str, begun: str, go_on: str) -> None:
        Services(self).start(name, Slow, begun, go_on)

    @command
    def crash(self) -> None:
        os._exit(1)


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_every_process_finds_and_starts_services(mode: Any) -> None:
    def scene(main: Process) -> None:
        asker = remote(main, "asker")
        with Services(main) as house:
            house.start("robot", Robot, 4)
            assert asker.running() == ["robot"]
            assert asker.speed("robot") == 4
            assert asker.start("other") == ["other", "robot"]
            assert house.get_proxy("other").speed == 9
        assert house.running() == ["other"], "the other one was not started here"

    play(scene, asker=(Asker, mode))


def test_a_service_outlives_who_started_it(house: Services) -> None:
    class Play(Application):
        def build(self) -> None:
            self.add_process("asker", Asker, mode="fork")

    with Play().running() as main:
        asker = remote(main.process, "asker")
        asker.start("robot")
        robot = Services(main.process).get_proxy("robot")
        with pytest.raises(RecipientGoneError):
            asker.crash()
        assert robot.speed == 9


def test_a_service_whose_starter_dies_before_it_is_made_ends(tmp_path: Path) -> None:
    begun, go_on = tmp_path / "begun", tmp_path / "go on"

    def scene(main: Process) -> None:
        asker = remote(main, "asker")
        assert asker.running() == [], "it lives by now"
        pid = main.active_subprocesses()["asker"]
        answer = later(asker.start_slowly)("slow", str(begun), str(go_on))
        assert until(begun.exists, PATIENCE)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RecipientGoneError):
            answer.result()
        go_on.touch()
        assert until(lambda: "slow" not in main.process_names(), PATIENCE)

    play(scene, asker=(Asker, "fork"))


def test_a_service_starts_services_of_its_own(house: Services, robot: Robot) -> None:
    child = robot.raise_child("child")
    assert child.speed == 4
    assert house.running() == ["child", "robot"]


# Closing


def test_a_service_is_closed_by_name_or_proxy_once(house: Services) -> None:
    first, second = house.start("first", Robot), house.start("second", Robot)
    assert house.close("first")
    assert house.close(second)
    assert not is_running(first)
    assert house.running() == []
    assert not house.close("first")
    assert not house.close(second)
    assert not house.close("never there")


def test_only_services_are_closed() -> None:
    def scene(main: Process) -> None:
        for name in ("echo", "main"):
            with pytest.raises(RefusedError, match="is a process, and no service"):
                Services(main).close(name)

    play(scene, echo=Echo)


def test_a_proxy_of_one_life_never_meets_the_next(house: Services) -> None:
    old: Any = house.start("robot", Robot, 1)
    house.close(old)
    new: Any = house.start("robot", Robot, 2)
    with pytest.raises(RecipientGoneError, match="the service 'robot' is gone"):
        assert old.speed
    assert not house.close(old), "which closes nobody else"
    assert new.speed == 2
    assert old != new


def test_who_gives_a_start_up_harms_no_successor(
    house: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else may have the name by then."""
    found: list[Robot] = []
    give_up = Services._give_up

    def too_late(services: Services, *given: Any) -> None:
        if not found:
            assert until(lambda: "robot" not in house.process.process_names(), PATIENCE)
            found.append(house.start("robot", Robot))
        give_up(services, *given)

    monkeypatch.setattr(Services, "_give_up", too_late)
    with pytest.raises(ValueError, match="too fast"):
        house.start("robot", Robot, 200)
    assert is_running(found[0])
    assert found[0].speed == 3


def test_who_closes_what_is_over_harms_no_successor(
    house: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where it has not heard of that."""
    old = house.start("robot", Robot)
    house.close(old)
    new = house.start("robot", Robot)
    monkeypatch.setattr(ServiceLine, "is_alive", lambda line: True)
    assert not house.close(old)
    assert new.speed == 3


@pytest.mark.parametrize("by_name", [True, False])
def test_a_service_closes_itself(house: Services, robot: Any, by_name: bool) -> None:
    assert robot.retire(by_name=by_name)
    assert until(lambda: house.running() == [], PATIENCE)
    assert house.start("robot", Robot).speed == 3


def test_what_cannot_be_a_service_is_not_closed(house: Services) -> None:
    for wrong in (None, 5, Robot, [house]):
        with pytest.raises(TypeError, match="give its name, or its proxy"):
            house.close(wrong)


def test_a_context_closes_it_on_proxy_and_on_services(house: Services) -> None:
    inner: Any
    with house.start("one", Robot) as inner:  # type: ignore[attr-defined]
        assert inner.speed == 3
    with closing(house.start("two", Robot)) as typed:
        assert typed.speed == 3
    with Services(house.process) as some:
        some.start("three", Robot)
        some.using(workers=1).start("four", Robot)
        house.start("five", Robot)
    assert house.running() == ["five"]
    assert list(some._started) == []
    assert house.close_all() == []
    assert house.running() == []


@pytest.mark.parametrize("timeout", [None, "5", True, inf, nan])
def test_a_wrong_timeout_is_refused_before_anything_ends(house: Services, timeout: Any) -> None:
    robot = house.start("robot", Robot)
    for close in (
        lambda: house.close(robot, timeout=timeout),
        lambda: house.close("robot", timeout=timeout),
        lambda: house.close_all(timeout=timeout),
    ):
        with pytest.raises((TypeError, ValueError), match="a timeout is a number of seconds"):
            close()
    assert robot.speed == 3
    assert house.close_all() == []


def test_one_that_hangs_is_killed_when_its_grace_is_over(house: Services) -> None:
    robot = house.using(grace=0.2).start("robot", Robot)
    with pytest.raises(CallTimeoutError):
        hang_for_a_moment(robot)
    began = monotonic()
    assert house.close("robot", timeout=PATIENCE)
    took = monotonic() - began
    assert took < house.process.application.shutdown_timeout, "which is when the boss would kill it"
    assert house.running() == []


def hang_for_a_moment(robot: Robot) -> None:
    from gateway.rpc import using

    using(robot, timeout=0.2).hang()


def test_a_context_manager_is_entered_and_left(house: Services, tmp_path: Path) -> None:
    log = tmp_path / "log"
    house.start("door", Door, str(log))
    assert log.read_text() == "open\n"
    house.close("door")
    assert log.read_text() == "open\nclosed\n"


def test_it_works_on_any_thread_and_ends_with_its_house() -> None:
    found: list[Any] = []

    def work() -> None:
        with services() as house:
            robot = house.start("robot", Robot)
            found.extend(robot.where())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(PATIENCE)
    assert len(found) == 2
    assert not Path(f"/proc/{found[0]}").exists()


def test_ten_names_leave_nothing_with_the_boss(house: Services) -> None:
    before = house.process.application.statistics()
    for number in range(10):
        house.close(house.start(f"robot-{number}", Robot))
    after = house.process.application.statistics()
    for count in ("members", "retained", "subscriptions"):
        assert after[count] == before[count]
    assert until(lambda: house.process.process_names() == ["main"], PATIENCE)
