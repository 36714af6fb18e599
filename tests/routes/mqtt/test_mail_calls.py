"""Remote calls between two gateways over one real broker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.errors import (
    AddressError,
    CallCancelledError,
    CallTimeoutError,
    GatewayError,
    LinkLostError,
    RefusedError,
    RemoteError,
    UnknownApiError,
)
from gateway.mail.signature import command
from gateway.process.process import Process
from gateway.rpc import current_call, later, remote, serve, tell, using
from routes.mqtt.mail_settings import MailRule
from tests.lab.called_arm import CalledArm
from tests.lab.mosquitto import DEADLINE, Mosquitto
from tests.lab.os_processes import until
from tests.routes.mqtt.test_mail import (
    KITCHEN,
    LIVING,
    House,
    Houses,
    houses,
    wait_until_subscribed,
)

__all__ = ["houses"]

pytestmark = pytest.mark.needs("mosquitto")


class Arm(CalledArm):
    """What can be called, and what became of it."""

    @command
    def grip(self, force: int) -> list[Any]:
        """Close the hand; say who asked."""
        self.told.append(force)
        return [force, current_call().caller]

    @command
    def fail_midway(self) -> Iterator[int]:
        """Yield, and break."""
        yield 1
        raise ValueError("half way")


class Robot(Process):
    """Serves an arm with workers."""

    def birth(self) -> None:
        self.arm = Arm()
        serve(self, self.arm, "arm", workers=4)


@pytest.fixture
def kitchen(houses: Houses, broker: Mosquitto) -> House:
    house = houses(KITCHEN)
    house.open()
    wait_until_subscribed(broker)
    return house


@pytest.fixture
def arm(kitchen: House) -> Arm:
    robot: Any = kitchen.bus.run(Robot, "robot")
    found: Arm = robot.arm
    return found


@pytest.fixture
def living(houses: Houses, arm: Arm) -> House:
    house = houses(LIVING)
    house.open()
    assert until(lambda: house.mail()["nodes_online"] == 1, DEADLINE)
    return house


@pytest.fixture
def robot(living: House) -> Any:
    return remote(living.bus.run(Process, "main"), "robot@kitchen-pi", timeout=DEADLINE)


def test_a_call_is_answered_by_the_other_gateway(robot: Any) -> None:
    assert robot.arm.grip(3) == [3, "main@living-pi"]
    assert robot.arm.grip(force=4)[0] == 4
    assert dir(robot.arm) == ["crush", "fail_midway", "grip", "scan", "sweep"]


def test_calls_are_under_way_at_once(robot: Any) -> None:
    calls = [later(robot.arm.grip)(number) for number in range(20)]
    assert [call.result()[0] for call in calls] == list(range(20))


def test_what_was_raised_has_its_type_and_not_its_traceback(robot: Any) -> None:
    with pytest.raises(ZeroDivisionError, match="the egg is broken") as caught:
        robot.arm.crush()
    assert isinstance(caught.value, RemoteError)
    assert caught.value.remote_type == "ZeroDivisionError"
    assert caught.value.remote_traceback == ""


def test_what_is_unknown_or_does_not_fit_is_said_with_what_would_be_right(robot: Any) -> None:
    with pytest.raises(UnknownApiError, match=r"did you mean 'arm\.grip'"):
        robot.arm.girp(3)
    with pytest.raises(RefusedError, match="force: int"):
        robot.arm.grip("hard")


def test_an_event_is_carried_out_and_nobody_is_told(robot: Any, arm: Arm, living: House) -> None:
    tell(robot.arm.grip)(7)
    tell(robot.arm.crush)()
    tell(robot.arm.girp)()
    assert until(lambda: arm.told == [7], DEADLINE)
    assert robot.arm.grip(8)[0] == 8
    out = living.mail()["out"]
    assert (out["waiting"], out["in_flight"], out["awaiting_answers"]) == (0, 0, 0)
    assert out.get("bounced_there", 0) == 0


def test_a_stream_is_read_to_its_end(robot: Any) -> None:
    assert list(robot.arm.scan(most=300)) == list(range(300))


def test_a_stream_that_fails_midway_says_so_with_its_type(robot: Any) -> None:
    stream = robot.arm.fail_midway()
    assert next(stream) == 1
    with pytest.raises(ValueError, match="half way") as caught:
        next(stream)
    assert isinstance(caught.value, RemoteError)
    assert caught.value.remote_traceback == ""


def test_who_leaves_the_loop_closes_the_function_over_there(robot: Any, arm: Arm) -> None:
    for part in robot.arm.scan():
        if part == 5:
            break
    assert arm.closed.acquire(timeout=DEADLINE)


def test_a_call_that_is_cancelled_ends_over_there(robot: Any, arm: Arm, kitchen: House) -> None:
    call = later(robot.arm.sweep)()
    assert arm.begun.acquire(timeout=DEADLINE)
    assert call.cancel()
    assert isinstance(call.exception(), CallCancelledError)
    assert arm.cancelled.acquire(timeout=DEADLINE)
    assert kitchen.mail()["in"]["taken_back"] == 1


def test_a_deadline_ends_the_call_here_and_over_there(robot: Any, arm: Arm) -> None:
    # Long enough to be begun over there: a call that is too old is not.
    call = later(using(robot, timeout=2.0).arm.sweep)()
    assert arm.begun.acquire(timeout=DEADLINE)
    with pytest.raises(CallTimeoutError, match="robot@kitchen-pi"):
        call.result()
    assert arm.cancelled.acquire(timeout=DEADLINE)


def test_nothing_is_called_that_no_rule_allows(houses: Houses, broker: Mosquitto) -> None:
    rules = (MailRule(sender="main@living-pi", to="robot", subject="arm.scan"),)
    kitchen, living = houses(KITCHEN, allow=rules), houses(LIVING, allow=())
    arm: Any = kitchen.bus.run(Robot, "robot").arm  # type: ignore[attr-defined]
    kitchen.open()
    wait_until_subscribed(broker)
    living.open()
    assert until(lambda: living.mail()["nodes_online"] == 1, DEADLINE)
    main, other = living.bus.run(Process, "main"), living.bus.run(Process, "other")
    robot = remote(main, "robot@kitchen-pi", timeout=DEADLINE)
    with pytest.raises(RefusedError, match="lets 'main@living-pi' not write"):
        robot.arm.grip(3)
    with pytest.raises(RefusedError, match="other@living-pi"):
        remote(other, "robot@kitchen-pi", timeout=DEADLINE).arm.scan()
    with robot.arm.scan() as stream:
        assert [next(stream) for _ in range(5)] == list(range(5))
        # Nobody else reads it, or closes it.
        theft = remote(other, "robot@kitchen-pi", timeout=DEADLINE)
        letter = other.send(
            "robot@kitchen-pi", "$next", {"stream": stream._id, "most": 1}, receipt=True
        )
        with pytest.raises(RefusedError, match="no such call of yours"):
            other.wait_for_reply(letter, DEADLINE)
        assert dir(theft) == []
        assert next(stream) == 5
    assert arm.closed.acquire(timeout=DEADLINE)


def test_a_gateway_that_is_away_is_a_typed_error_at_once(
    robot: Any, kitchen: House, living: House
) -> None:
    kitchen.close()
    assert until(lambda: living.mail()["nodes_online"] == 0, DEADLINE)
    began = time.monotonic()
    with pytest.raises(LinkLostError, match="'kitchen-pi' is offline"):
        using(robot, timeout=60).arm.grip(1)
    assert time.monotonic() - began < 30
    with pytest.raises(AddressError):
        remote(living.bus.run(Process, "again"), "robot@xyz", timeout=DEADLINE).x()


def test_a_broker_that_is_away_is_a_typed_error_at_once(
    robot: Any, arm: Arm, living: House, broker: Mosquitto
) -> None:
    call = later(using(robot, timeout=2.0).arm.sweep)()
    assert arm.begun.acquire(timeout=DEADLINE)
    broker.stop()
    assert isinstance(call.exception(), CallTimeoutError)
    assert until(lambda: living.router.connection != "connected", DEADLINE)
    began = time.monotonic()
    with pytest.raises(LinkLostError, match="no broker"):
        using(robot, timeout=60).arm.grip(1)
    assert time.monotonic() - began < 30
    with pytest.raises(GatewayError):
        list(using(robot, timeout=60).arm.scan())


def test_both_gateways_call_each_other(robot: Any, living: House, kitchen: House) -> None:
    living.bus.run(Robot, "twin")
    twin = remote(kitchen.bus.run(Process, "cook"), "twin@living-pi", timeout=DEADLINE)
    calls = [later(each.arm.grip)(number) for number in range(10) for each in (robot, twin)]
    assert [call.result() for call in calls] == [
        [number, caller] for number in range(10) for caller in ("main@living-pi", "cook@kitchen-pi")
    ]
