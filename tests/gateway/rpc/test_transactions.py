"""Calls under way: each ends once, and leaves nothing."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import Any

import pytest

from gateway import Application, Process
from gateway.errors import (
    CallCancelledError,
    CallTimeoutError,
    GatewayError,
    RecipientGoneError,
    RefusedError,
)
from gateway.mail.message import Message, reply_to
from gateway.rpc import command, later, remote, using
from gateway.rpc.stream import Stream
from gateway.testing.stage import Echo, play, play_in
from tests.gateway.rpc.robot import Keeper, Robot, retained


def nothing_is_left(main: Process) -> bool:
    """Tell whether no call is open, neither in the mailbox nor in any table."""
    statistics = main.calls.statistics()
    calls = main.calls
    return (
        statistics["under_way"] == 0
        and not main._box._lanes.open_calls()
        and not calls._open
        and not calls._ended
        and not calls._attended
    )


def test_its_id_tells_who_started_it_and_in_which_life() -> None:
    def scene(main: Process) -> tuple[str, int, str]:
        begun = later(remote(main, "robot").ping)()
        begun.result()
        return begun.id.caller, begun.id.incarnation, str(begun.id)

    caller, incarnation, text = play(scene, robot=Robot)
    assert (caller, incarnation) == ("main", 1)
    assert text.startswith("main.1/")


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_a_result_is_there_for_every_thread_that_asks(mode: Any) -> None:
    def scene(main: Process) -> list[Any]:
        begun = later(remote(main, "robot").camera.shoot)(exposure=0.2)
        results: list[Any] = []
        threads = [
            threading.Thread(target=lambda: results.append(begun.result())) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        return [*results, begun.result()]

    assert play(scene, robot=(Robot, mode)) == ["a picture"] * 5


def test_to_stop_waiting_does_not_end_the_call() -> None:
    def scene(main: Process) -> Any:
        begun = later(remote(main, "keeper").keep)()
        with pytest.raises(CallTimeoutError, match="its call goes on"):
            begun.result(timeout=0.05)
        is_done = begun.done()
        main.send("keeper", "answer")
        return is_done, begun.result()

    assert play(scene, keeper=(Keeper, "fork")) == (False, "kept")


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_a_cancelled_call_ends_here_and_its_handler_learns_of_it(mode: Any) -> None:
    def scene(main: Process) -> tuple[Any, ...]:
        begun = later(remote(main, "robot").camera.watch)()
        retained(main, "watching")
        was_open, again = begun.cancel(), begun.cancel()
        with pytest.raises(CallCancelledError):
            begun.result()
        return was_open, again, begun.cancelled(), retained(main, "watched"), nothing_is_left(main)

    began = time.monotonic()
    assert play(scene, robot=(Robot, mode)) == (True, False, True, True, True)
    assert time.monotonic() - began < 4.5


def test_a_call_that_is_taken_back_before_its_turn_is_not_carried_out() -> None:
    def scene(main: Process) -> list[Any]:
        robot = remote(main, "robot")
        for number in range(20):
            begun = later(robot.note)(word=f"word {number}")
            begun.cancel()
        robot.note(word="the last")
        return [robot.noted()[-1], nothing_is_left(main)]

    assert play(scene, robot=(Robot, "fork")) == ["the last", True]


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_a_call_that_is_taken_back_before_its_callee_is_born_is_not_carried_out(mode: Any) -> None:
    was_taken_back = threading.Event()

    class First(Process):
        def birth(self) -> None:
            was_taken_back.wait(10)

    def build(application: Application) -> None:
        application.add_process("first", First)
        application.add_process("robot", Robot, mode=mode, depends=["first"])

    def scene(main: Process) -> list[str]:
        robot = remote(main, "robot")
        begun = later(robot.note)(word="unwanted")
        assert begun.cancel()
        was_taken_back.set()
        words: list[str] = robot.noted()
        return words

    assert play_in(build, scene) == (0, [])


def test_a_caller_who_gives_up_takes_its_call_back() -> None:
    def scene(main: Process) -> bool:
        # Born by then, so that the call is begun in time.
        remote(main, "robot").ping()
        with pytest.raises(CallTimeoutError):
            using(remote(main, "robot").camera, timeout=0.5).watch()
        return bool(retained(main, "watched", lambda body: body is not None))

    assert play(scene, robot=(Robot, "fork")) is True


def test_a_late_answer_is_known_and_dropped() -> None:
    def scene(main: Process) -> tuple[int, int, bool]:
        heard: list[Message] = []
        main.add_filter(callback=heard.append, fallthrough=True)
        # One that is not read in time is not answered.
        while main.wait_for_reply(main.send("keeper", "how many")).body < 3:
            with pytest.raises(CallTimeoutError):
                using(remote(main, "keeper"), timeout=0.05).keep()
        main.send("keeper", "answer")
        deadline = time.monotonic() + 5
        while main.statistics()["mail"]["dropped"] < 3 and time.monotonic() < deadline:
            main.mailman(timeout=0.1)
        return main.statistics()["mail"]["dropped"], len(heard), nothing_is_left(main)

    assert play(scene, keeper=(Keeper, "fork")) == (3, 0, True)


def test_an_answer_that_comes_twice_ends_one_call_once() -> None:
    class Twice(Process):
        def birth(self) -> None:
            self.add_filter(subject="^ping$", callback=self.on_ping)

        def on_ping(self, message: Message) -> None:
            self.reply(message, "first")
            self.office.answer(
                reply_to(message, self.office.new_id(), time.time(), "second", "reply")
            )

    def scene(main: Process) -> tuple[list[Any], bool]:
        ping = remote(main, "twice").ping
        found = [ping() for _ in range(10)] + [later(ping)().result() for _ in range(10)]
        main.mailman()
        return found, nothing_is_left(main)

    assert play(scene, twice=(Twice, "fork")) == (["first"] * 20, True)


def test_nobodys_answer_ends_somebody_elses_call() -> None:
    def scene(main: Process) -> list[Any]:
        robot = remote(main, "robot")
        begun = [later(robot.arm.grip)(force=number) for number in range(100)]
        return [each.result() for each in reversed(begun)]

    found = play(scene, robot=(Robot, "fork"))
    assert found == [f"{number} N at 1 m/s" for number in reversed(range(100))]


def test_a_thousand_calls_at_once_do_not_hold_each_other_up() -> None:
    def scene(main: Process) -> tuple[int, float]:
        grip = later(remote(main, "robot", timeout=10).arm.grip)
        began = time.monotonic()
        # Neither side's sockets hold so many: who waits for room reads meanwhile.
        begun = [grip(force=number) for number in range(1_000)]
        answers = {each.result() for each in begun}
        return len(answers), time.monotonic() - began

    count, took = play(scene, robot=(Robot, "fork"))
    assert count == 1_000
    assert took < 9.0


def test_statistics_tell_how_the_calls_ended() -> None:
    def scene(main: Process) -> tuple[Any, Any]:
        robot = remote(main, "robot")
        robot.ping()
        with pytest.raises(RefusedError):
            robot.arm.grip()
        with pytest.raises(CallTimeoutError):
            using(remote(main, "keeper"), timeout=0.05).keep()
        theirs = main.wait_for_reply(main.send("robot", "$statistics")).body["calls"]
        return main.calls.statistics(), theirs

    ours, theirs = play(scene, robot=(Robot, "fork"), keeper=Keeper)
    assert ours == {"under_way": 0, "answered": 1, "refused": 1, "timeout": 1}
    assert theirs["answered"] == 1
    assert theirs["refused"] == 1


def test_ten_thousand_calls_of_every_kind_leave_nothing() -> None:
    def scene(main: Process) -> tuple[bool, int]:
        robot = remote(main, "robot")
        kinds = [
            robot.ping,
            lambda: later(robot.ping)().result(),
            lambda: later(robot.ping)().cancel(),
            lambda: list(robot.count(parts=3)),
            lambda: next(robot.count(parts=100)),
            lambda: using(robot, ignore_errors=True).fail(kind="own"),
            # Nobody ever asks for its result.
            later(robot.ping),
        ]
        for kind in kinds:
            kind()
        gc.collect()
        before = len(gc.get_objects())
        for number in range(10_000):
            kinds[number % len(kinds)]()
        deadline = time.monotonic() + 10
        while not nothing_is_left(main) and time.monotonic() < deadline:
            main.mailman(timeout=0.1)
        gc.collect()
        theirs = main.wait_for_reply(main.send("robot", "$statistics")).body["calls"]
        left = nothing_is_left(main) and theirs["running"] == theirs["streams"] == 0
        return left, len(gc.get_objects()) - before

    is_clean, more = play(scene, robot=(Robot, "fork"))
    assert is_clean
    assert more < 2_000


def test_what_is_under_way_when_its_process_ends_is_over() -> None:
    begun: list[Any] = []

    def scene(main: Process) -> None:
        begun.append(later(remote(main, "robot").camera.shoot)(exposure=0.3))

    play(scene, robot=(Robot, "fork"))
    with pytest.raises(RecipientGoneError):
        begun[0].result(timeout=5)


def test_an_error_while_parts_are_joined_is_told_to_everybody_who_asks() -> None:
    def scene(main: Process) -> list[str]:
        begun = later(using(remote(main, "robot").stumble, combine=list))()
        told = []
        for _ in range(2):
            with pytest.raises(ValueError, match="a stone") as caught:
                begun.result()
            told.append(str(caught.value))
        return told

    assert play(scene, robot=(Robot, "fork")) == ["a stone"] * 2


def test_who_asks_while_another_thread_joins_the_parts_waits_no_longer_than_it_said() -> None:
    def scene(main: Process) -> Any:
        reads = threading.Event()
        goes_on = threading.Event()

        def join(parts: Any) -> list[int]:
            reads.set()
            goes_on.wait(10)
            return list(parts)

        begun = later(using(remote(main, "robot").count, combine=join))(parts=3)
        reader = threading.Thread(target=begun.result)
        reader.start()
        reads.wait(10)
        with pytest.raises(CallTimeoutError, match="another thread still reads"):
            begun.result(timeout=0.05)
        goes_on.set()
        reader.join(10)
        return begun.result()

    assert play(scene, robot=(Robot, "fork")) == [0, 1, 2]


def test_two_threads_whose_results_are_streams_do_not_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Both make their streams at a time; to make one is to call, and who calls sweeps
    # up what has ended: the other's, first.
    both = threading.Barrier(2)
    sweeping = threading.local()

    def scene(main: Process) -> int:
        robot = remote(main, "robot")
        begun = [later(robot.count)(parts=2) for _ in range(2)]
        calls = main.calls
        while len(calls._ended) < 2:
            main._box.read_replies()
        make = Stream.__init__

        def meet(stream: Any, *arguments: Any) -> None:
            if not hasattr(sweeping, "met"):
                sweeping.met = True
                both.wait(10)
                calls._ended.extendleft(each for each in begun if each is not sweeping.own)
            make(stream, *arguments)

        monkeypatch.setattr(Stream, "__init__", meet)
        read: list[int] = []

        def work(own: Any) -> None:
            sweeping.own = own
            read.append(sum(1 for _ in own.result()))

        threads = [threading.Thread(target=work, args=(each,), daemon=True) for each in begun]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        return sum(read)

    assert play(scene, robot=(Robot, "fork")) == 4


def test_two_threads_of_a_simulation_wait_for_one_result() -> None:
    found: list[Any] = []

    class Slow(Process):
        @command
        def rest(self) -> str:
            self.light_sleep(2)
            return "rested"

    class Main(Process):
        def birth(self) -> None:
            begun = later(remote(self, "slow").rest)()
            self.add_child_thread("other", lambda: found.append(begun.result()))
            self.light_sleep(0.1)
            found.append(begun.result())
            self.die()

    class House(Application):
        def build(self) -> None:
            self.add_process("slow", Slow)

    House(main=Main).simulate(until=20)
    assert found == ["rested"] * 2


def test_what_has_ended_is_not_kept_until_its_deadline() -> None:
    def scene(main: Process) -> list[bool]:
        say = using(remote(main, "echo"), timeout=3600).say
        released = threading.Semaphore(0)
        found = []
        # While one is waited for that will not end for long.
        watching = using(remote(main, "robot").camera, timeout=3600, release=released).watch()
        for method in (later(say), using(say, release=released)):
            begun = method(words="x")
            begun.result()
            main.mailman()
            known = weakref.ref(begun)
            del begun
            found.append(known() is None)
        watching.cancel()
        return found

    assert play(scene, robot=(Robot, "fork"), echo=Echo) == [True, True]


def test_a_process_ends_at_once_although_it_waits_for_a_semaphore() -> None:
    class Waiting(Process):
        def birth(self) -> None:
            self.freed = threading.Event()
            watch = using(remote(self, "robot").camera, timeout=60, release=self.freed).watch
            watch()

        def death(self) -> None:
            self.publish("ending", time.monotonic(), retain=True)

    def scene(main: Process) -> float:
        retained(main, "watching")
        main.stop_process("waiting")
        return time.monotonic() - float(retained(main, "ending"))

    assert play(scene, robot=(Robot, "fork"), waiting=Waiting) < 1.5


def test_nobody_else_is_handed_the_answers_to_calls_of_a_thread() -> None:
    def scene(main: Process) -> tuple[int, bool]:
        strays: list[Message] = []
        main.add_filter(callback=strays.append, fallthrough=True)
        robot = remote(main, "robot")
        left = threading.Semaphore(0)

        def work() -> None:
            for _ in range(300):
                robot.ping()
                later(robot.ping)().result()
            left.release()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        over = 0
        while over < len(threads):
            # All the while the process's own thread reads its mail.
            main.mailman(timeout=0.05)
            over += left.acquire(blocking=False)
        for thread in threads:
            thread.join(10)
        return len(strays), nothing_is_left(main)

    assert play(scene, robot=(Robot, "fork")) == (0, True)


def test_a_call_that_could_not_leave_leaves_nothing() -> None:
    def scene(main: Process) -> bool:
        robot = remote(main, "robot")
        robot.ping()
        main.stop_process("robot")
        for _ in range(3):
            with pytest.raises(GatewayError):
                robot.ping()
            with pytest.raises(GatewayError):
                later(robot.ping)()
        return nothing_is_left(main)

    assert play(scene, robot=(Robot, "fork"))
