"""Trees of remote functions: paths, terms, and what a call gives back."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from typing import Any

import pytest

from gateway import Process
from gateway.errors import (
    AddressError,
    BodyError,
    CallTimeoutError,
    RefusedError,
    UnknownApiError,
)
from gateway.rpc import Transaction, command, later, remote, tell, using
from gateway.testing.stage import Echo, play
from tests.gateway.rpc.robot import Keeper, Robot

MODES = pytest.mark.parametrize("mode", ["thread", "fork"])


@MODES
def test_attributes_of_any_depth_give_a_call(mode: Any) -> None:
    def scene(main: Process) -> tuple[Any, ...]:
        robot = remote(main, "robot")
        return robot.ping(), robot.arm.grip(force=3), robot.arm.grip(4, speed=2.5)

    assert play(scene, robot=(Robot, mode)) == ("pong", "3 N at 1 m/s", "4 N at 2.5 m/s")


def test_a_call_waits_five_seconds_unless_said_otherwise() -> None:
    assert remote_terms(lambda main: remote(main, "robot").ping).timeout == 5.0


def test_a_tree_a_branch_and_a_call_have_terms_of_their_own() -> None:
    def scene(main: Process) -> list[float]:
        robot = remote(main, "robot", timeout=2.0)
        arm = using(robot.arm, timeout=3.0)
        places = [robot.ping, robot.camera.shoot, arm, arm.grip, using(arm.grip, timeout=4.0)]
        return [place._terms.timeout for place in places]

    assert play(scene) == [2.0, 2.0, 3.0, 3.0, 4.0]


def remote_terms(place: Any) -> Any:
    return play(lambda main: place(main)._terms)


@MODES
def test_a_call_that_is_not_answered_ends_at_its_deadline(mode: Any) -> None:
    def scene(main: Process) -> float:
        keeper = remote(main, "keeper", timeout=0.2)
        began = time.monotonic()
        with pytest.raises(CallTimeoutError, match=r"'keeper' did not answer 'keep'"):
            keeper.keep()
        return time.monotonic() - began

    # The usual deadline is 5 s.
    assert 0.2 <= play(scene, keeper=(Keeper, mode)) < 4.0


@MODES
def test_later_returns_at_once_and_has_the_result_afterwards(mode: Any) -> None:
    def scene(main: Process) -> tuple[bool, Any, bool]:
        begun = later(remote(main, "robot").camera.shoot)(exposure=0.1)
        early = begun.done()
        return early, begun.result(), begun.done()

    assert play(scene, robot=(Robot, mode)) == (False, "a picture", True)


@MODES
def test_a_callback_is_called_on_the_processs_own_thread(mode: Any) -> None:
    def scene(main: Process) -> tuple[Any, bool]:
        seen: list[tuple[Transaction[Any], int]] = []
        robot = remote(main, "robot")
        using(robot.ping, callback=lambda ended: seen.append((ended, threading.get_ident())))()
        deadline = time.monotonic() + 5
        while not seen and time.monotonic() < deadline:
            main.mailman(timeout=0.5)
        ended, thread = seen[0]
        return ended.result(), thread == threading.get_ident()

    assert play(scene, robot=(Robot, mode)) == ("pong", True)


@MODES
def test_a_semaphore_is_released_while_the_processs_own_thread_waits_for_it(mode: Any) -> None:
    def scene(main: Process) -> tuple[bool, Any]:
        semaphore = threading.Semaphore(0)
        begun = using(remote(main, "robot").ping, release=semaphore)()
        return semaphore.acquire(timeout=5), begun.result()

    assert play(scene, robot=(Robot, mode)) == (True, "pong")


def test_an_event_is_set_at_the_deadline_as_well() -> None:
    def scene(main: Process) -> tuple[bool, BaseException | None]:
        done = threading.Event()
        begun = using(remote(main, "keeper").keep, release=done, timeout=0.1)()
        return done.wait(5), begun.exception()

    was_set, error = play(scene, keeper=(Keeper, "fork"))
    assert was_set
    assert isinstance(error, CallTimeoutError)


@MODES
def test_an_event_is_carried_out_and_nobody_answers(mode: Any) -> None:
    def scene(main: Process) -> tuple[Any, Any, Any, int]:
        robot = remote(main, "robot")
        returned = tell(robot.note)(word="hello")
        tell(robot.fail)(kind="value")
        noted = robot.noted()
        return returned, noted, robot.ping(), main.mailman()

    assert play(scene, robot=(Robot, mode)) == (None, ["hello"], "pong", 0)


def test_errors_are_ignored_where_that_is_wanted() -> None:
    def scene(main: Process) -> tuple[Any, ...]:
        robot = remote(main, "robot", ignore_errors=True)
        nobody = remote(main, "nobody", ignore_errors=True)
        return robot.fail(kind="value"), robot.nothing(), nobody.ping(), robot.ping()

    assert play(scene, robot=Robot) == (None, None, None, "pong")


def test_what_cannot_be_called_raises_at_the_caller() -> None:
    def scene(main: Process) -> None:
        robot = remote(main, "robot")
        with pytest.raises(UnknownApiError, match=r"did you mean 'ping'"):
            robot.pingg()
        with pytest.raises(AddressError):
            remote(main, "nobody").ping()
        with pytest.raises(RefusedError, match=r"needs the parameter 'force'"):
            robot.arm.grip()
        with pytest.raises(RefusedError, match=r"Expected `int`, got `str`"):
            robot.arm.grip(force="much")
        with pytest.raises(RefusedError, match=r"no parameter 'forze' \(did you mean 'force'"):
            robot.arm.grip(forze=3)
        with pytest.raises(RefusedError, match="at most 2 arguments without a name"):
            robot.arm.grip(1, 2.0, 3)
        with pytest.raises(RefusedError, match="given 'force' twice"):
            robot.arm.grip(1, force=2)
        with pytest.raises(BodyError, match="the argument 'force' cannot be sent"):
            robot.arm.grip(force=object())

    play(scene, robot=(Robot, "fork"))


def test_a_tree_has_no_public_name_that_could_hide_one_over_there() -> None:
    def scene(main: Process) -> list[str]:
        robot = remote(main, "robot")
        taken = [name for name in object.__dir__(robot) if not name.startswith("_")]
        with pytest.raises(AttributeError, match="private over there"):
            robot._secret  # noqa: B018
        return taken

    assert play(scene, robot=Robot) == []


def test_completion_knows_what_can_be_called() -> None:
    def scene(main: Process) -> tuple[list[str], list[str], list[str]]:
        robot = remote(main, "robot")
        return dir(robot), dir(robot.camera), dir(remote(main, "nobody"))

    names, camera, nobody = play(scene, robot=Robot)
    assert {"arm", "camera", "ping", "count"} <= set(names)
    assert camera == ["shoot", "watch"]
    assert nobody == []


@pytest.mark.parametrize(
    ("terms", "wrong"),
    [
        ({"timeout": 0}, "no deadline"),
        ({"timeout": float("nan")}, "no deadline"),
        ({"timeout": "x"}, r"'x' s is no deadline: give seconds"),
        ({"timeout": None}, "None s is no deadline: give seconds"),
        ({"window": 0}, "a window of 0"),
        ({"window": "x"}, "a window of 'x'"),
        ({"callback": 3}, "callback=3 cannot be called"),
        ({"callback": 0}, "callback=0 cannot be called"),
        ({"combine": "sum"}, "combine='sum' cannot be called"),
        ({"wait": 3}, "a call has no 'wait'"),
        ({"callback": print, "sync": True}, "a call that waits has no callback"),
        ({"callback": print, "solicited": False}, "an event has no answer"),
    ],
)
def test_terms_that_cannot_stand_are_refused(terms: dict[str, Any], wrong: str) -> None:
    def scene(main: Process) -> None:
        with pytest.raises(ValueError, match=wrong):
            using(remote(main, "robot").ping, **terms)

    play(scene)


def test_what_is_no_remote_function_is_refused() -> None:
    with pytest.raises(TypeError, match="no remote function"):
        later(print)
    with pytest.raises(ValueError, match="neither release"):
        play(lambda main: using(remote(main, "robot").ping, release=3)(), robot=Robot)


def test_who_wants_no_errors_still_gets_a_transaction_or_the_error_at_once() -> None:
    def scene(main: Process) -> None:
        with pytest.raises(AddressError):
            later(using(remote(main, "nobody"), ignore_errors=True).greet)()

    play(scene)


def test_a_process_may_have_methods_of_any_name() -> None:
    class Player(Process):
        @command
        def begin(self) -> str:
            return str(remote(self, "robot").ping())

    def scene(main: Process) -> Any:
        return remote(main, "player").begin()

    assert play(scene, player=Player, robot=Robot) == "pong"


def test_a_callback_that_asks_for_a_failed_result_does_not_end_its_process() -> None:
    def scene(main: Process) -> Any:
        using(remote(main, "robot").fail, callback=lambda ended: ended.result())(kind="own")
        deadline = time.monotonic() + 5
        while "callback_failed" not in main.calls.statistics() and time.monotonic() < deadline:
            main.mailman(timeout=0.1)
        return main.calls.statistics()["callback_failed"]

    assert play(scene, robot=Robot) == 1


def test_completion_knows_nothing_of_who_answers_with_no_map() -> None:
    assert play(lambda main: dir(remote(main, "echo")), echo=Echo) == []


def test_nothing_is_set_or_deleted_by_assigning() -> None:
    def scene(main: Process) -> Any:
        robot = remote(main, "robot")
        for place in (robot, robot.arm, robot.ping):
            with pytest.raises(AttributeError, match=r"set by calling it, as in speed\(7\)"):
                place.speed = 7
        robot.ping()
        with pytest.raises(AttributeError, match="begins with an underscore"):
            robot.ping = 3
        with pytest.raises(AttributeError, match="nothing is deleted from afar"):
            del robot.ping
        robot._mine = 3
        assert robot._mine == 3
        del robot._mine
        with pytest.raises(AttributeError, match="private over there"):
            robot._mine  # noqa: B018
        return robot.ping()

    assert play(scene, robot=Robot) == "pong"


def test_a_tree_as_an_argument_is_told_to_send_its_address() -> None:
    def scene(main: Process) -> None:
        robot = remote(main, "robot")
        for held in (robot, [robot.arm], {"deep": (robot.arm.grip,)}):
            with pytest.raises(BodyError, match="a remote tree cannot be sent: send the addr") as e:
                robot.arm.grip(force=held)
            assert "remote(process, address)" in str(e.value)
            assert "remote_function" not in str(e.value)

    play(scene, robot=Robot)


def test_a_tree_belongs_to_its_process() -> None:
    def scene(main: Process) -> Any:
        robot = remote(main, "robot", timeout=3.0)
        for take in (copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match=r"over there with remote\(process, 'robot'\)"):
                take(robot.arm)
        beside = copy.copy(robot)
        return beside._terms.timeout, beside.ping()

    assert play(scene, robot=Robot) == (3.0, "pong")


@pytest.mark.parametrize("address", ["", 5, None, "@serial", "robot@", "ro\nbot", "r" * 256])
def test_what_is_no_address_is_refused_at_once(address: Any) -> None:
    def scene(main: Process) -> None:
        with pytest.raises(AddressError, match=r"is no address|an address is text"):
            remote(main, address)

    play(scene)
