"""What a proxy looks like, and how it travels."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import pytest

from gateway.errors import (
    BodyError,
    CallTimeoutError,
    RecipientGoneError,
    RefusedError,
    RemoteError,
)
from gateway.process.process import Process
from gateway.rpc import later, remote, tell, using
from gateway.services import Services, is_running, name_of
from gateway.testing.stage import play
from tests.lab.little_robot import Clash, Learned, Robot, Slotted
from tests.lab.os_processes import until

PATIENCE = 20.0


def test_it_has_methods_of_every_kind(robot: Robot) -> None:
    assert robot.grip(3, gently=True) == "3 N, gently"
    assert robot.add(1, 2, 3) == 6
    assert robot.kind() == "Robot"
    assert list(robot.scan(3)) == [0, 1, 2]


def test_it_has_properties_and_attributes_to_read_and_set(robot: Robot) -> None:
    assert (robot.speed, robot.half, robot.wheels, robot.helper) == (3, 1.5, 4, None)
    robot.half = 5
    assert robot.speed == 10
    robot.speed = 4
    assert robot.half == 2
    robot.wheels = 6
    assert robot.wheels == 6


def test_what_has_no_dictionary_has_slots(house: Services) -> None:
    slotted = house.start("slotted", Slotted)
    slotted.speed = 8
    assert slotted.speed == 8


def test_a_property_that_cannot_be_set_says_so(robot: Robot) -> None:
    with pytest.raises(AttributeError, match="reader"):
        robot.reader = 3  # type: ignore[misc]
    with pytest.raises(AttributeError, match=r"'grip' of .* is a method, which cannot be set"):
        robot.grip = print  # type: ignore[method-assign, assignment]
    with pytest.raises(AttributeError, match="nothing is deleted from afar"):
        del robot.speed


def test_a_slip_of_the_pen_is_an_error_with_what_was_meant(robot: Any) -> None:
    with pytest.raises(AttributeError, match="has no 'gripp'; did you mean 'grip'"):
        assert robot.gripp
    with pytest.raises(AttributeError, match="has no 'sped'; did you mean 'speed'"):
        robot.sped = 3
    assert not hasattr(robot, "sped")
    assert not hasattr(robot, "_secret")
    with pytest.raises(TypeError, match="call one of its methods"):
        robot()


def test_attributes_come_and_go_with_the_object(robot: Any) -> None:
    assert not hasattr(robot, "kept")
    assert "kept" not in dir(robot)
    robot.keep(None)
    assert robot.kept is None
    assert "kept" in dir(robot)


def test_dir_is_what_can_be_used_and_repr_says_what_it_is(house: Services, robot: Any) -> None:
    assert {"grip", "half", "speed", "wheels"} <= set(dir(robot))
    assert not [name for name in dir(robot) if name.startswith("_")]
    assert repr(robot) == "<service 'robot': tests.lab.little_robot:Robot>"
    assert name_of(robot) == "robot"
    assert is_running(robot)
    house.close(robot)
    assert dir(robot) == []
    assert repr(robot) == "<service 'robot': tests.lab.little_robot:Robot>"


def test_no_name_of_the_object_is_hidden(house: Services) -> None:
    clash = house.start("clash", Clash)
    for name in dir(Clash):
        if not name.startswith("_"):
            found = getattr(clash, name)
            assert (found() if callable(found) else found) == name


def test_the_terms_of_calls_hold_for_it(robot: Any) -> None:
    assert later(robot.grip)(force=2).result() == "2 N"
    assert using(robot, sync=False).speed.result() == 3
    tell(robot.keep)(None)
    assert until(lambda: hasattr(robot, "kept"), PATIENCE)
    with pytest.raises(CallTimeoutError):
        using(robot, timeout=0.1).hang()


def test_any_remote_tree_reads_and_sets_it_too(house: Services, robot: Robot) -> None:
    tree = remote(house.process, "robot")
    assert tree.half() == 1.5
    tree.half(4)
    assert robot.speed == 8


# How it travels


def test_it_is_an_argument_and_a_result(house: Services, robot: Any) -> None:
    helper: Any = house.start("helper", Robot, helper=robot)
    assert helper.helper == robot
    assert helper.helper.grip(2) == "2 N"
    assert helper.let_help(robot, 4) == "4 N"
    assert helper.let_help(helper=robot, force=5) == "5 N"
    for _ in range(4):
        # From the third on its desk knows the way by heart.
        assert helper.both() == [robot, {"ports": [1]}]
    helper.helper = None
    assert helper.helper is None
    helper.helper = robot
    assert helper.helper == robot


def test_at_home_it_is_the_object_itself_and_the_object_comes_out_as_a_proxy(robot: Any) -> None:
    assert robot.is_me(robot)
    assert robot.myself() == robot
    assert robot.myself().speed == 3
    assert robot.team() == [{"first": robot}]


def test_a_service_hands_itself_to_another(house: Services, robot: Robot) -> None:
    other = house.start("other", Robot)
    assert robot.hand_to(other)


def test_it_is_pickled_and_copied(house: Services, robot: Any) -> None:
    for again in (pickle.loads(pickle.dumps(robot)), copy.copy(robot), copy.deepcopy([robot])[0]):
        assert again == robot
        assert hash(again) == hash(robot)
        assert again.speed == 3
    packed = pickle.dumps(robot)
    house.close(robot)
    with pytest.raises(RecipientGoneError):
        assert pickle.loads(packed).speed


class Plain(Process):
    """Has no services, and a method all the same."""

    def birth(self) -> None:
        from gateway.rpc import api_of

        api_of(self).add("take", repr)


class Receiver(Plain):
    def birth(self) -> None:
        super().birth()
        Services(self)


def test_a_process_takes_one_when_it_has_services() -> None:
    def scene(main: Process) -> None:
        with Services(main) as house:
            robot = house.start("robot", Robot)
            assert remote(main, "receiver").take(robot) == "<service 'robot'>"
            assert remote(main, "receiver").take([{"it": robot}]) == "[{'it': <service 'robot'>}]"
            with pytest.raises(RefusedError, match=r"needs gateway\.services\.Services\(process\)"):
                remote(main, "plain").take(robot)

    play(scene, plain=(Plain, "fork"), receiver=(Receiver, "fork"))


# Bad input


def test_what_a_method_raises_is_raised_here_with_its_type(robot: Robot) -> None:
    with pytest.raises(ZeroDivisionError, match="no wheels") as caught:
        robot.fail("no wheels")
    assert isinstance(caught.value, RemoteError)
    assert "in fail" in caught.value.remote_traceback
    assert robot.speed == 3, "and it goes on"


def test_wrong_arguments_are_refused_with_what_would_be_right(robot: Any) -> None:
    for wrong in (
        lambda: robot.grip("much"),
        robot.grip,
        lambda: robot.grip(1, 2),
        lambda: robot.grip(1, hard=True),
    ):
        with pytest.raises(RefusedError, match=r"right is grip\(force: int, gently: bool"):
            wrong()
    with pytest.raises(RefusedError, match="half: Expected `float`, got `str`"):
        robot.half = "much"


def test_what_cannot_be_sent_is_a_typed_error_on_both_ways(robot: Any) -> None:
    with pytest.raises(BodyError, match="what 'lock' returned cannot be sent"):
        robot.lock()
    with pytest.raises(BodyError, match="argument 2 cannot be sent"):
        robot.add(1, threading.Lock())
    with pytest.raises(BodyError):
        robot.speed = object()


def test_a_method_that_never_returns_costs_a_deadline_and_with_workers_nobody_else(
    house: Services,
) -> None:
    robot = house.using(workers=2, grace=0.1).start("robot", Robot)
    with pytest.raises(CallTimeoutError, match="'hang'"):
        using(robot, timeout=0.2).hang()
    assert robot.grip(1) == "1 N"


@pytest.mark.parametrize("workers", [0, 3])
def test_four_threads_at_once_get_each_their_own(house: Services, workers: int) -> None:
    robot = house.using(workers=workers).start("robot", Robot)
    wrong: list[Any] = []
    rounds = 200

    def work(offset: int) -> None:
        for number in range(offset, offset + rounds):
            if robot.grip(number) != f"{number} N" or robot.add(number, 1) != number + 1:
                wrong.append(number)
            if robot.speed != 3:
                wrong.append("speed")

    threads = [threading.Thread(target=work, args=(n * rounds,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert wrong == []


def test_eight_threads_on_one_proxy_swap_and_lose_nothing(house: Services) -> None:
    robot = using(house.start("robot", Robot), timeout=60)
    calls = 5_000
    right = [0] * 8

    def work(thread: int) -> None:
        for number in range(thread * calls, (thread + 1) * calls):
            right[thread] += robot.grip(number) == f"{number} N"

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert right == [calls] * 8


def test_a_service_that_dies_in_a_call_or_between_two_is_a_typed_error_at_once(
    house: Services,
) -> None:
    robot = house.start("robot", Robot)
    with pytest.raises(RecipientGoneError):
        robot.crash()
    for use in (lambda: robot.speed, lambda: robot.grip(1), lambda: later(robot.grip)(1)):
        with pytest.raises(RecipientGoneError, match="the service 'robot' is gone"):
            use()
    with pytest.raises(RecipientGoneError):
        robot.speed = 3

    robot = house.start("robot", Robot)
    waiting = later(using(robot, timeout=PATIENCE).hang)()
    robot = house.using(workers=2).start("other", Robot)
    robot.kill(0.05)
    with pytest.raises(RecipientGoneError):
        using(robot, timeout=PATIENCE).hang()
    assert until(lambda: not is_running(robot), PATIENCE)
    house.close("robot")
    with pytest.raises(RecipientGoneError):
        waiting.result()


def test_a_client_that_dies_leaves_the_service_to_the_others() -> None:
    def scene(main: Process) -> None:
        with Services(main) as house:
            robot = house.start("robot", Robot)
            remote(main, "client").take(robot)
            with pytest.raises(RecipientGoneError):
                remote(main, "client").use_and_crash()
            # Once it has heard of the death, and not only we.
            assert until(lambda: not robot.knows("client"), PATIENCE)
            assert robot.speed == 77

    play(scene, client=(Client, "fork"))


class Client(Process):
    def birth(self) -> None:
        from gateway.rpc import api_of

        Services(self)
        api_of(self).add("take", self.take)
        api_of(self).add("use_and_crash", self.use_and_crash)

    def take(self, robot: Any) -> None:
        self.robot = robot

    def use_and_crash(self) -> None:
        import os

        self.robot.speed = 77
        later(self.robot.grip)(1)
        os._exit(1)


# Functions of a service


def test_a_function_is_there_for_everybody_and_gone_for_everybody(
    house: Services, robot: Any
) -> None:
    other: Any = house.get_proxy("robot")
    assert not hasattr(other, "spin")
    robot.learn("spin")
    for proxy in (robot, other):
        assert proxy.spin(5) == 15
        assert "spin" in dir(proxy)
    kept = robot.spin
    assert robot.unlearn("spin")
    for proxy in (robot, other):
        assert not hasattr(proxy, "spin")
        assert "spin" not in dir(proxy)
    with pytest.raises(RefusedError, match="'spin'"):
        kept(5)


def test_a_function_takes_no_name_that_there_is(robot: Any) -> None:
    for name in ("grip", "speed", "half", "wheels"):
        with pytest.raises(RefusedError, match=f"{name!r} already: choose another name"):
            robot.learn(name)
    with pytest.raises(ValueError, match="is no name"):
        robot.learn("_private")
    robot.learn("spin")
    with pytest.raises(AttributeError, match="is a function, which cannot be set"):
        robot.spin = 3


def test_a_constructor_may_register_some(house: Services) -> None:
    learned: Any = house.start("learned", Learned, "extra")
    assert learned.extra() == "taken"
    with pytest.raises(RefusedError, match="taken: registered, and there already"):
        house.start("clash", Learned, "taken")
