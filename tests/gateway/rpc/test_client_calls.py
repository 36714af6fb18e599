"""Programs outside the gateway call what is inside, through the front door."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.client import Client
from gateway.errors import (
    AddressError,
    BodyError,
    CallCancelledError,
    CallTimeoutError,
    ProtocolError,
    RecipientGoneError,
    RefusedError,
    RemoteError,
    UnknownApiError,
)
from gateway.mail.signature import command
from gateway.process.process import Process
from gateway.rpc import current_call, later, remote, serve, tell, using
from routes.unix_socket.router import UnixSocketRouter
from routes.unix_socket.settings import Settings
from tests.lab.called_arm import CalledArm
from tests.lab.little_bus import LittleBus
from tests.lab.os_processes import until

DEADLINE = 10.0


class Arm(CalledArm):
    """What can be called, and what became of it."""

    @command
    def grip(self, force: int, hard: bool = False) -> list[Any]:
        """Close the hand."""
        self.told.append(force)
        return [force, hard]

    @command
    def caller(self) -> list[str]:
        """Say who called."""
        return [current_call().caller, current_call().route]


class Robot(Process):
    """Serves an arm with workers, and once more without."""

    def birth(self) -> None:
        self.arm = Arm()
        serve(self, self.arm, "arm", workers=4)
        serve(self, self.arm, "hand")


class House:
    """A small gateway with a front door."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "gateway.sock"
        self._folder = folder
        self.bus = LittleBus(folder / "bus")
        self.robot: Any = None
        self.router: Any = None

    def open(self, **settings: Any) -> None:
        self.router = self.bus.run(
            UnixSocketRouter,
            "unix_socket",
            settings=Settings(**settings),
            node="lab",
            sockets=str(self._folder),
        )


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    with house.bus as bus:
        house.robot = bus.run(Robot, "robot")
        house.open()
        yield house


@pytest.fixture
def arm(house: House) -> Arm:
    found: Arm = house.robot.arm
    return found


@pytest.fixture
def client(house: House) -> Iterator[Client]:
    with Client(house.socket) as client:
        yield client
        # Nothing is left under way, and no thread but ours reads.
        assert until(lambda: len(client.exchange) == 0, DEADLINE)
        assert until(lambda: "client-calls" not in names_of_threads(), DEADLINE)


def names_of_threads() -> list[str]:
    return [each.name for each in threading.enumerate()]


@pytest.fixture
def robot(client: Client) -> Any:
    return remote(client, "robot")


# One call


def test_a_call_has_its_answer(robot: Any) -> None:
    assert robot.arm.grip(force=3) == [3, False]
    assert robot.arm.grip(4, hard=True) == [4, True]


def test_who_called_is_the_route(robot: Any) -> None:
    assert robot.arm.caller()[0] == "unix_socket"


def test_what_can_be_called_is_completed(robot: Any) -> None:
    assert dir(robot.arm) == ["caller", "crush", "grip", "scan", "sweep"]


def test_what_raised_over_there_has_its_type_here_and_not_its_traceback(robot: Any) -> None:
    with pytest.raises(ZeroDivisionError, match="the egg is broken") as caught:
        robot.arm.crush()
    assert isinstance(caught.value, RemoteError)
    assert caught.value.remote_type == "ZeroDivisionError"
    assert caught.value.remote_traceback == ""


def test_what_is_unknown_or_does_not_fit_is_said_with_what_would_be_right(
    client: Client, robot: Any
) -> None:
    with pytest.raises(UnknownApiError, match=r"did you mean 'arm\.grip'"):
        robot.arm.girp(3)
    with pytest.raises(RefusedError, match="force: int"):
        robot.arm.grip("hard")
    with pytest.raises(AddressError, match="nobody"):
        remote(client, "nobody").x()
    with pytest.raises(BodyError):
        robot.arm.grip(force=object())


def test_a_call_ends_at_its_deadline_and_its_handler_is_told(robot: Any, arm: Arm) -> None:
    began = time.monotonic()
    with pytest.raises(CallTimeoutError, match=r"did not answer 'arm\.sweep'"):
        using(robot, timeout=0.1).arm.sweep()
    assert time.monotonic() - began < 5.0
    assert arm.cancelled.acquire(timeout=DEADLINE)


def test_an_event_is_delivered_and_not_answered(client: Client, robot: Any, arm: Arm) -> None:
    tell(robot.arm.grip)(force=7)
    tell(robot.arm.crush)()
    assert until(lambda: arm.told == [7], DEADLINE)
    with pytest.raises(AddressError):
        tell(remote(client, "nobody").x)()
    assert client.calls.statistics()["told"] == 2


def test_errors_can_be_ignored(client: Client) -> None:
    assert using(remote(client, "nobody"), ignore_errors=True).x() is None


# Many calls


def test_a_slow_call_holds_up_no_other_thread(robot: Any, arm: Arm) -> None:
    slow = later(robot.arm.sweep)()
    waiter = threading.Thread(target=slow.exception)
    waiter.start()
    assert arm.begun.acquire(timeout=DEADLINE)
    assert robot.arm.grip(1) == [1, False]
    assert slow.cancel()
    waiter.join(DEADLINE)
    assert not waiter.is_alive()


def test_eight_threads_have_each_their_own_answers(client: Client, robot: Any) -> None:
    wrong: list[Any] = []

    def call(number: int) -> None:
        for n in range(250):
            mine = number * 1000 + n
            if robot.arm.grip(mine) != [mine, False]:
                wrong.append(mine)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert client.calls.statistics() == {"under_way": 0, "answered": 2000}


def test_calls_that_are_under_way_at_once_are_answered_in_any_order(robot: Any) -> None:
    calls = [later(robot.hand.grip)(number) for number in range(50)]
    assert [call.result() for call in reversed(calls)] == [[n, False] for n in reversed(range(50))]


def test_a_call_is_done_for_who_only_looks(robot: Any) -> None:
    call = later(robot.arm.grip)(1)
    assert until(call.done, DEADLINE)
    assert call.result() == [1, False]


def test_calls_whose_answers_nobody_wants_do_not_clog_the_connection(
    client: Client, robot: Any, arm: Arm, house: House
) -> None:
    for number in range(1000):
        later(using(robot, timeout=60).hand.grip)(number)
        if number % 100 == 99:
            # No more than may await their answers at a time.
            assert robot.hand.grip(number) == [number, False]
    client.close()
    assert house.router.statistics()["clients_let_go"] == 0


def test_what_was_never_asked_after_is_swept_out(client: Client, robot: Any, arm: Arm) -> None:
    calls = [later(using(robot, timeout=0.05).arm.sweep)() for _ in range(3)]
    assert all(isinstance(call.exception(), CallTimeoutError) for call in calls)
    assert len(client.exchange) == 0
    assert client.calls.statistics() == {"under_way": 0, "timeout": 3}


# Who is told when it ends


def test_a_callback_is_called_with_the_ended_call(robot: Any) -> None:
    ended: list[Any] = []
    told = threading.Event()

    def tell_of(call: Any) -> None:
        ended.append((call.result(), threading.current_thread().name))
        told.set()

    using(robot, callback=tell_of).arm.grip(5)
    assert told.wait(DEADLINE)
    assert ended == [([5, False], "client-calls")]


def test_a_callback_may_call(robot: Any) -> None:
    answers: list[Any] = []
    told = threading.Event()

    def go_on(call: Any) -> None:
        answers.append(robot.arm.grip(call.result()[0] + 1))
        told.set()

    using(robot, callback=go_on).arm.grip(5)
    assert told.wait(DEADLINE)
    assert answers == [[6, False]]


def test_a_callback_that_raises_keeps_no_other_from_being_told(
    robot: Any, caplog: pytest.LogCaptureFixture
) -> None:
    told = threading.Event()

    def break_down(call: Any) -> None:
        raise ZeroDivisionError("in a callback")

    slow = using(robot, callback=lambda call: told.set(), timeout=60).arm.sweep()
    done = using(robot, callback=break_down).arm.grip(5)
    assert until(done.done, DEADLINE)
    assert until(lambda: "in a callback" in caplog.text, DEADLINE)
    assert slow.cancel()
    assert told.wait(DEADLINE)


def test_a_callback_is_called_at_the_deadline(robot: Any) -> None:
    ended: list[Any] = []
    told = threading.Event()

    def tell_of(call: Any) -> None:
        ended.append(call.exception())
        told.set()

    using(robot, callback=tell_of, timeout=0.1).arm.sweep()
    assert told.wait(DEADLINE)
    assert isinstance(ended[0], CallTimeoutError)


def test_a_deadline_is_kept_though_calls_that_last_longer_are_attended(robot: Any) -> None:
    told, later_told = threading.Event(), threading.Event()
    slow = using(robot, callback=lambda call: later_told.set(), timeout=60).arm.sweep()
    using(robot, callback=lambda call: told.set(), timeout=0.1).arm.sweep()
    assert told.wait(DEADLINE)
    assert not later_told.is_set()
    assert slow.cancel()
    assert later_told.wait(DEADLINE)


def test_a_request_that_is_too_long_costs_no_other(robot: Any, arm: Arm) -> None:
    slow = later(robot.arm.sweep)()
    assert arm.begun.acquire(timeout=DEADLINE)
    with pytest.raises(ProtocolError, match="longer than 65536 bytes"):
        robot.arm.grip("x" * 100_000)
    assert not slow.done()
    assert slow.cancel()


def test_a_callback_that_comes_late_is_called_all_the_same(robot: Any) -> None:
    call = later(robot.arm.grip)(5)
    told = threading.Event()
    call.add_done_callback(lambda call: told.set())
    assert told.wait(DEADLINE)
    again = threading.Event()
    call.add_done_callback(lambda call: again.set())
    assert again.is_set()


def test_a_semaphore_is_released_when_the_call_has_ended(robot: Any) -> None:
    free, done = threading.Semaphore(0), threading.Event()
    call = using(robot, release=free).arm.grip(5)
    assert free.acquire(timeout=DEADLINE)
    assert call.done()
    using(robot, release=done).arm.crush()
    assert done.wait(DEADLINE)


# Streams


def test_the_parts_of_a_stream_come_one_by_one(robot: Any) -> None:
    assert list(robot.arm.scan(most=1000)) == list(range(1000))


def test_a_stream_is_combined(robot: Any) -> None:
    assert using(robot, combine=sum).arm.scan(most=100) == 4950


def test_who_leaves_the_loop_closes_the_function_over_there(robot: Any, arm: Arm) -> None:
    with robot.arm.scan() as stream:
        assert next(stream) == 0
    assert arm.closed.acquire(timeout=DEADLINE)


def test_two_programs_read_a_stream_each(house: House, robot: Any, arm: Arm) -> None:
    with (
        Client(house.socket) as other,
        robot.arm.scan() as one,
        remote(other, "robot").arm.scan() as two,
    ):
        assert [next(one) for _ in range(200)] == [next(two) for _ in range(200)]
        with pytest.raises(RefusedError, match="no such stream"):
            other.ask("robot", "$next", {"stream": one._id, "most": 1})


# Giving up


def test_a_call_that_is_cancelled_ends_here_and_over_there(robot: Any, arm: Arm) -> None:
    call = later(robot.arm.sweep)()
    assert arm.begun.acquire(timeout=DEADLINE)
    assert call.cancel()
    with pytest.raises(CallCancelledError):
        call.result()
    assert arm.cancelled.acquire(timeout=DEADLINE)
    assert not call.cancel()


def test_who_hangs_up_takes_back_what_is_under_way(
    client: Client, robot: Any, arm: Arm, house: House
) -> None:
    call = later(using(robot, timeout=60).arm.sweep)()
    stream = robot.arm.scan()
    assert arm.begun.acquire(timeout=DEADLINE)
    client.close()
    assert isinstance(call.exception(), RecipientGoneError)
    assert arm.cancelled.acquire(timeout=DEADLINE)
    assert arm.closed.acquire(timeout=DEADLINE)
    stream.close()
    assert robot.arm.grip(1) == [1, False]


def test_a_program_that_dies_takes_back_what_is_under_way(house: House, arm: Arm) -> None:
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    raw.connect(str(house.socket))
    raw.sendall(b'{"op":"send","id":1,"to":"robot","subject":"arm.sweep","timeout":600}\n')
    assert arm.begun.acquire(timeout=DEADLINE)
    raw.close()
    assert arm.cancelled.acquire(timeout=DEADLINE)


# What dies


@pytest.mark.parametrize("threads", [1, 4])
def test_when_the_gateway_stops_everything_under_way_ends_at_once(
    house: House, robot: Any, arm: Arm, threads: int
) -> None:
    slow = using(robot, timeout=600).arm
    ended: list[BaseException | None] = []

    def call() -> None:
        ended.append(later(slow.sweep)().exception())

    callers = [threading.Thread(target=call) for _ in range(threads)]
    for caller in callers:
        caller.start()
        assert arm.begun.acquire(timeout=DEADLINE)
    house.bus.end(house.router)
    for caller in callers:
        caller.join(DEADLINE)
    assert [type(error) for error in ended] == [RecipientGoneError] * threads
    house.open()
    assert robot.arm.grip(1) == [1, False]


def test_when_the_gateway_stops_a_callback_and_a_stream_are_told(
    house: House, robot: Any, arm: Arm
) -> None:
    told = threading.Event()
    ended: list[Any] = []

    def tell_of(call: Any) -> None:
        ended.append(call.exception())
        told.set()

    using(robot, callback=tell_of, timeout=600).arm.sweep()
    stream = robot.arm.scan()
    assert arm.begun.acquire(timeout=DEADLINE)
    house.bus.end(house.router)
    assert told.wait(DEADLINE)
    assert isinstance(ended[0], RecipientGoneError)
    with pytest.raises(RecipientGoneError):
        for _ in stream:
            pass
    house.open()


def test_several_programs_and_apis_share_the_door(house: House) -> None:
    house.bus.run(Robot, "twin")
    with Client(house.socket) as one, Client(house.socket) as two:
        calls = [
            later(remote(client, name).arm.grip)(number)
            for number, client in enumerate((one, two) * 10)
            for name in ("robot", "twin")
        ]
        assert [call.result()[0] for call in calls] == [n for n in range(20) for _ in range(2)]
