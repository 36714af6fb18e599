"""The side that answers: who handles a call, in which order, on which thread."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest

from gateway import Application, Message, Process
from gateway.errors import GatewayError, MailboxFullError, UnknownApiError
from gateway.rpc import (
    UNHANDLED,
    Api,
    Call,
    api_of,
    command,
    current_call,
    later,
    remote,
    serve,
    tell,
)
from gateway.rpc.handler import Handler
from gateway.supervision.restart import RestartPolicy
from gateway.testing.stage import play
from tests.gateway.rpc.robot import Robot, retained

ONCE = RestartPolicy("temporary")


class Handy(Process):
    """Registers handlers at run time, in every way there is."""

    def birth(self) -> None:
        api = api_of(self)
        api.add("greet", lambda name: f"hello {name}")
        api.branch("arm").branch("hand").add("wave", lambda: "waved")
        api.branch("arm").otherwise(lambda call: f"the arm cannot {call.path}")
        api.otherwise(self.anything)
        api.add("either", lambda number: "odd" if number % 2 else UNHANDLED)
        api.add("either", lambda number: "big" if number > 100 else UNHANDLED)
        serve(self, self.tools(), "tools")

        @api.add("decorated")
        def decorated(*words: str, **more: int) -> list[Any]:
            return [*words, more]

    def tools(self) -> Api:
        tools = Api()
        tools.add("hammer", lambda: "bang")
        seen: list[str] = []
        tools.catch_all(lambda call: seen.append(call.path) or UNHANDLED)  # type: ignore[func-returns-value]
        tools.add("seen", lambda: seen)
        return tools

    def anything(self, call: Call) -> Any:
        if call.path == "mystery":
            return [call.path, call.arguments, call.positional, call.caller]
        return UNHANDLED


def test_handlers_are_registered_at_run_time_by_name_and_on_a_branch() -> None:
    def scene(main: Process) -> tuple[Any, ...]:
        handy = remote(main, "handy")
        return handy.greet("Ada"), handy.arm.hand.wave(), handy.decorated("a", "b", c=1)

    assert play(scene, handy=Handy) == ("hello Ada", "waved", ["a", "b", {"c": 1}])


def test_generic_handlers_take_what_nobody_else_does_the_nearest_first() -> None:
    def scene(main: Process) -> tuple[Any, ...]:
        handy = remote(main, "handy")
        return handy.arm.dance(), handy.mystery(1, two=2)

    assert play(scene, handy=Handy) == (
        "the arm cannot arm.dance",
        ["mystery", {"two": 2}, [1], "main"],
    )


def test_a_handler_may_leave_a_call_to_the_next_one() -> None:
    def scene(main: Process) -> tuple[Any, ...]:
        either = remote(main, "handy").either
        with pytest.raises(UnknownApiError):
            either(number=2)
        return either(number=7), either(number=200)

    assert play(scene, handy=Handy) == ("odd", "big")


def test_a_catch_all_sees_every_call_of_its_branch_first() -> None:
    def scene(main: Process) -> Any:
        tools = remote(main, "handy").tools
        tools.hammer()
        return tools.seen()

    assert play(scene, handy=Handy) == ["tools.hammer", "tools.seen"]


def test_what_is_not_known_is_refused_with_what_may_have_been_meant() -> None:
    def scene(main: Process) -> None:
        with pytest.raises(UnknownApiError, match=r"did you mean 'arm.grip'"):
            remote(main, "robot").arm.gripp(force=1)
        with pytest.raises(UnknownApiError, match="has no filter"):
            remote(main, "plain").ping()

    play(scene, robot=(Robot, "fork"), plain=Process)


def test_handlers_come_and_go_while_calls_are_made() -> None:
    class Changing(Process):
        def birth(self) -> None:
            self.api = api_of(self)
            self.api.add("swap", self.swap)

        def swap(self) -> None:
            self.api.add("late", lambda: "here I am")

        @command
        def drop(self) -> int:
            return self.api.remove("late")

    def scene(main: Process) -> tuple[Any, ...]:
        it = remote(main, "it")
        with pytest.raises(UnknownApiError):
            it.late()
        it.swap()
        found = it.late(), it.late(), it.drop()
        with pytest.raises(UnknownApiError):
            it.late()
        return found

    assert play(scene, it=Changing) == ("here I am", "here I am", 1)


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_a_slow_call_does_not_block_a_quick_one_where_there_are_workers(mode: Any) -> None:
    def scene(main: Process) -> tuple[Any, float]:
        camera = remote(main, "robot").camera
        slow = later(camera.shoot)(exposure=2.5)
        began = time.monotonic()
        quick = camera.shoot()
        took = time.monotonic() - began
        slow.result()
        return quick, took

    picture, took = play(scene, robot=(Robot, mode))
    assert picture == "a picture"
    assert took < 2.0


def test_two_calls_of_two_seconds_on_two_workers_take_two_seconds() -> None:
    def scene(main: Process) -> float:
        shoot = later(remote(main, "robot").camera.shoot)
        began = time.monotonic()
        for begun in [shoot(exposure=2.0), shoot(exposure=2.0)]:
            begun.result()
        return time.monotonic() - began

    assert 2.0 <= play(scene, robot=(Robot, "fork")) < 3.8


def test_one_call_too_many_for_the_workers_is_refused_at_once() -> None:
    def scene(main: Process) -> tuple[int, list[str]]:
        shoot = later(remote(main, "robot").camera.shoot)
        begun = [shoot(exposure=1.0) for _ in range(8)]
        errors = [each.exception() for each in begun]
        refused = [error for error in errors if error is not None]
        return len(errors) - len(refused), [type(error).__name__ for error in refused]

    # Two are carried out, three wait.
    assert play(scene, robot=(Robot, "fork")) == (5, [MailboxFullError.__name__] * 3)


def test_a_handler_knows_who_called() -> None:
    def scene(main: Process) -> Any:
        found = remote(main, "robot").who()
        return found["caller"], found["path"], found["route"], found["id"].startswith("main.1/")

    assert play(scene, robot=(Robot, "fork")) == ("main", "who", "", True)
    with pytest.raises(RuntimeError, match="nothing was called"):
        current_call()


def test_filters_have_what_is_no_call() -> None:
    class Both(Process):
        def birth(self) -> None:
            self.add_filter(subject="^letter$", callback=self.on_letter)

        def on_letter(self, message: Message) -> None:
            self.reply(message, "by a filter")

        @command
        def call(self) -> str:
            return "by a handler"

    def scene(main: Process) -> tuple[Any, Any]:
        return main.wait_for_reply(main.send("both", "letter")).body, remote(main, "both").call()

    assert play(scene, both=Both) == ("by a filter", "by a handler")


def test_several_apis_are_served_over_one_mailbox_and_no_place_twice() -> None:
    def scene(main: Process) -> tuple[Any, ...]:
        robot = remote(main, "robot")
        serve(main, Api(), "mine")
        with pytest.raises(ValueError, match="something is served at 'mine' already"):
            serve(main, Api(), "mine")
        return robot.arm.grip(force=1), robot.camera.shoot(), robot.ping()

    assert play(scene, robot=Robot) == ("1 N at 1 m/s", "a picture", "pong")


def test_what_can_be_called_is_told_with_types_and_words() -> None:
    def scene(main: Process) -> Any:
        return main.wait_for_reply(main.send("robot", "$api")).body

    told = play(scene, robot=(Robot, "fork"))
    assert told["arm.grip"]["description"] == "Close the gripper."
    assert told["arm.grip"]["parameters"]["force"]["type"] == "int"
    assert told["arm.grip"]["returns"] == "str"
    assert told["count"]["stream"] is True
    assert not any(name.startswith("_") for name in told)


def test_both_call_each_other_at_once() -> None:
    class Peer(Process):
        """Calls the other on threads of its own, while it answers."""

        call_workers = 2

        @command
        def echo(self, number: int) -> int:
            return number

        @command
        def sum_of(self, other: str, most: int) -> int:
            peer = remote(self, other)
            return sum(peer.echo(number=number) for number in range(most))

    def scene(main: Process) -> list[Any]:
        begun = [
            later(remote(main, "one").sum_of)(other="two", most=200),
            later(remote(main, "two").sum_of)(other="one", most=200),
        ]
        return [each.result() for each in begun]

    assert play(scene, one=(Peer, "fork"), two=(Peer, "fork")) == [19900, 19900]


def test_events_go_both_ways() -> None:
    class Ringer(Process):
        @command
        def ring(self, times: int) -> None:
            for number in range(times):
                tell(remote(self, current_call().caller).rang)(number)

    def scene(main: Process) -> list[int]:
        heard: list[int] = []
        api_of(main).add("rang", heard.append)
        remote(main, "ringer").ring(times=5)
        deadline = time.monotonic() + 5
        while len(heard) < 5 and time.monotonic() < deadline:
            main.mailman(timeout=0.5)
        return heard

    assert play(scene, ringer=(Ringer, "fork")) == [0, 1, 2, 3, 4]


def test_eight_threads_on_one_tree_swap_and_lose_nothing() -> None:
    class Same(Process):
        @command
        def same(self, thread: int, number: int) -> list[int]:
            return [thread, number]

    calls = 5_000

    def scene(main: Process) -> tuple[int, int]:
        same = remote(main, "same", timeout=60).same
        wrong: list[Any] = []
        done = [0] * 8

        def work(thread: int) -> None:
            for number in range(calls):
                found = same(thread=thread, number=number)
                if found != [thread, number]:
                    wrong.append(found)
                done[thread] += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(done), len(wrong)

    assert play(scene, same=(Same, "fork")) == (8 * calls, 0)


def test_a_callers_calls_are_over_once_it_is_dead(tmp_path: Any) -> None:
    class Short(Process):
        def birth(self) -> None:
            later(remote(self, "robot").camera.watch)()
            retained(self, "watching")
            raise SystemExit(0)

    def scene(main: Process) -> Any:
        # Whether the handler learnt that nobody waits, long before its deadline.
        return retained(main, "watched", lambda body: body is not None)

    began = time.monotonic()
    assert play(scene, robot=(Robot, "fork"), short=(Short, "fork")) is True
    assert time.monotonic() - began < 4.5


class Slow:
    """Takes its time."""

    @command
    def rest(self) -> str:
        """Wait."""
        time.sleep(0.3)
        return "rested"


def test_workers_of_several_apis_do_not_take_each_others_names() -> None:
    class Busy(Process):
        def birth(self) -> None:
            # Both call their threads "call": one is at the root.
            serve(self, Slow(), workers=1)
            serve(self, Slow(), "call", workers=1)
            self.add_child_thread("call-1", lambda: self.light_sleep(60))

    def scene(main: Process) -> list[str]:
        busy = remote(main, "busy")
        begun = [later(busy.rest)(), later(busy.call.rest)()]
        return [each.result() for each in begun]

    assert play(scene, busy=Busy) == ["rested"] * 2


def test_who_asks_for_the_map_and_dies_kills_nobody(tmp_path: Any) -> None:
    class Asker(Process):
        def birth(self) -> None:
            self.send("patient", "$api", receipt=True)
            os.kill(os.getpid(), signal.SIGKILL)

    class Patient(Process):
        def birth(self) -> None:
            self.born_at = time.monotonic()

        @command
        def rest(self) -> None:
            time.sleep(0.5)

        @command
        def born(self) -> float:
            return self.born_at

    def scene(main: Process) -> bool:
        patient = remote(main, "patient")
        born = patient.born()
        resting = later(patient.rest)()
        with pytest.raises(GatewayError):
            main.start_process("asker")
        resting.result()
        return bool(patient.born() == born)

    results: list[bool] = []

    class Main(Process):
        def birth(self) -> None:
            try:
                results.append(scene(self))
            finally:
                self.die()

    class House(Application):
        def build(self) -> None:
            self.add_process("patient", Patient, mode="fork")
            self.add_process("asker", Asker, mode="fork", autostart=False, restart=ONCE)

    House(main=Main).run()
    assert results == [True]


def test_a_refusal_does_not_describe_everything() -> None:
    def scene(main: Process) -> None:
        monkeypatch = pytest.MonkeyPatch()
        api = api_of(main)
        for number in range(20):
            api.add(f"method{number}", lambda: None)
        described: list[str] = []
        monkeypatch.setattr(Handler, "describe", lambda handler: described.append(handler.path))
        letter = main.send("main", "metod7")
        assert "did you mean 'method7'" in str(main.desk.refusal(letter))  # type: ignore[union-attr]
        monkeypatch.undo()
        assert described == []

    play(scene)
