"""Asyncio processes call and answer as the others do; what waits is awaited."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import CORO_CLOSED, getcoroutinestate
from typing import Any

import pytest

from gateway import Application, AsyncProcess, Process
from gateway.errors import (
    CallCancelledError,
    CallTimeoutError,
    GatewayError,
    MailboxFullError,
    RefusedError,
    RemoteError,
)
from gateway.mail.message import Message
from gateway.process.whereabouts import here
from gateway.rpc import (
    command,
    current_call,
    later,
    remote,
    serve,
    tell,
    using,
    watch_connection,
)
from gateway.rpc.aio_desk import AsyncDesk
from gateway.rpc.api import Api
from gateway.rpc.in_hand import owner_of
from gateway.supervision.restart import RestartPolicy
from gateway.testing.stage import play, play_in
from tests.gateway.rpc.robot import Robot, retained


class Calm(AsyncProcess):
    """Its handlers are coroutines, two of them at a time."""

    call_workers = 2

    async def birth(self) -> None:
        self.told: list[str] = []
        serve(self, Sequential(), "turns")
        serve(self, Sequential(), "few", workers=1, waiting=3)

    @command
    async def rest(self, seconds: float) -> str:
        """Return the path of the call after a while."""
        await asyncio.sleep(seconds)
        return current_call().path

    @command
    def quick(self, number: int) -> int:
        """Return a number, on a thread."""
        return number

    @command
    async def note(self, word: str) -> None:
        """Remember a word."""
        self.told.append(word)

    @command
    async def noted(self) -> list[str]:
        """Return the words."""
        return self.told

    @command
    async def count(self, parts: int) -> AsyncIterator[int]:
        """Yield numbers."""
        try:
            for number in range(parts):
                yield number
        finally:
            self.publish("counting is over", True, retain=True)

    @command
    async def forever(self) -> None:
        """Wait until it is cancelled."""
        try:
            self.publish("waiting", True, retain=True)
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.publish("cancelled", True, retain=True)
            raise

    @command
    async def fail(self) -> None:
        """Raise."""
        raise KeyError("left")


class Sequential:
    """Has no workers of its own: one call is awaited after the other."""

    @command
    async def rest(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def played(scene: Callable[[AsyncProcess], Awaitable[Any]], robot: tuple[Any, Any]) -> Any:
    """Return what a scene returns that an asyncio process plays."""
    results: list[Any] = []
    failures: list[BaseException] = []

    class Actor(AsyncProcess):
        async def birth(self) -> None:
            try:
                results.append(await scene(self))
            except BaseException as failure:  # noqa: BLE001 - raised where the scene was played
                failures.append(failure)
            self.die()

    class Play(Application):
        def build(self) -> None:
            self.add_process("robot", robot[0], mode=robot[1])
            self.add_process("actor", Actor, mode="asyncio", bound_shutdown=True)

    assert Play().run() == 0
    if failures:
        raise failures[0]
    return results[0]


PEERS = pytest.mark.parametrize("robot", [(Robot, "thread"), (Robot, "fork")])


@PEERS
def test_a_call_is_awaited(robot: Any) -> None:
    async def scene(actor: AsyncProcess) -> list[Any]:
        robot = remote(actor, "robot")
        return [await robot.ping(), await robot.arm.grip(3)]

    assert played(scene, robot) == ["pong", "3 N at 1 m/s"]


@PEERS
def test_later_gives_what_is_awaited_and_the_loop_goes_on(robot: Any) -> None:
    async def scene(actor: AsyncProcess) -> tuple[Any, float]:
        shoot = later(remote(actor, "robot").camera.shoot)
        began = time.monotonic()
        begun = [shoot(exposure=1.5) for _ in range(2)]
        with pytest.raises(RuntimeError, match="await it"):
            begun[0].result()
        return [await each for each in begun], time.monotonic() - began

    pictures, took = played(scene, robot)
    assert pictures == ["a picture", "a picture"]
    assert took < 2.8


@PEERS
def test_another_thread_waits_for_a_call_and_begins_none_for_later(robot: Any) -> None:
    async def scene(actor: AsyncProcess) -> Any:
        robot = remote(actor, "robot")

        def work() -> Any:
            with pytest.raises(
                RuntimeError, match=r"on another one write ping\(\.\.\.\)\.result\(\)"
            ):
                later(robot.ping)()
            return robot.ping().result()

        return await asyncio.to_thread(work)

    assert played(scene, robot) == "pong"


@PEERS
def test_callbacks_and_events_are_told_on_the_loop(robot: Any) -> None:
    async def scene(actor: AsyncProcess) -> tuple[Any, bool]:
        robot = remote(actor, "robot")
        done, told = asyncio.Event(), []
        using(robot.ping, release=done)()
        await asyncio.wait_for(done.wait(), 5)
        done.clear()

        def note(ended: Any) -> None:
            told.append((ended, threading.get_ident()))
            done.set()

        using(robot.ping, callback=note)()
        await asyncio.wait_for(done.wait(), 5)
        return told[0][0].result(), told[0][1] == threading.get_ident()

    assert played(scene, robot) == ("pong", True)


@PEERS
def test_a_stream_is_read_in_an_async_for(robot: Any) -> None:
    async def scene(actor: AsyncProcess) -> tuple[int, Any, int]:
        robot = remote(actor, "robot")
        stream = await robot.count(parts=1_000)
        total = 0
        async for number in stream:
            total += number
        left = await robot.count(parts=1_000_000)
        read = 0
        async for _ in left:
            read += 1
            if read == 10:
                break
        left.close()
        return total, stream.returned, read

    assert played(scene, robot) == (499_500, 1_000, 10)


@PEERS
def test_errors_deadlines_and_events_are_as_everywhere(robot: Any) -> None:
    async def scene(actor: AsyncProcess) -> tuple[Any, ...]:
        robot = remote(actor, "robot")
        with pytest.raises(ValueError, match="too heavy"):
            await robot.fail(kind="value")
        with pytest.raises(CallTimeoutError):
            await using(remote(actor, "actor"), timeout=0.1).keep()
        begun = later(robot.camera.watch)()
        await asyncio.sleep(0)
        assert begun.cancel()
        with pytest.raises(CallCancelledError):
            await begun
        tell(robot.note)(word="hello")
        ignored = await using(robot, ignore_errors=True).fail(kind="value")
        return ignored, await robot.noted(), actor.calls.statistics()["under_way"]

    assert played(scene, robot) == (None, ["hello"], 0)


def test_who_is_cancelled_while_it_awaits_takes_its_call_back() -> None:
    async def scene(actor: AsyncProcess) -> None:
        async def told(word: str) -> None:
            for _ in range(500):
                if (await actor.ask("robot", "$statistics")).body["calls"].get(word):
                    return
                await actor.light_sleep(0.01)
            raise AssertionError(word)

        task = asyncio.ensure_future(_awaited(remote(actor, "robot").forever()))
        await told("running")
        task.cancel()
        await told("cancelled")

    played(scene, (Calm, "asyncio"))


async def _awaited(call: Awaitable[Any]) -> Any:
    return await call


def test_coroutines_answer_and_what_is_no_coroutine_does_too() -> None:
    def scene(main: Process) -> tuple[Any, ...]:
        calm = remote(main, "calm")
        with pytest.raises(KeyError, match="left"):
            calm.fail()
        tell(calm.note)(word="hello")
        return calm.rest(seconds=0.01), calm.quick(7), calm.noted(), sum(calm.count(parts=101))

    assert play(scene, calm=(Calm, "asyncio")) == ("rest", 7, ["hello"], 5050)


def test_so_many_coroutines_run_beside_the_mail() -> None:
    def scene(main: Process) -> tuple[float, float, list[Any]]:
        calm = remote(main, "calm")

        def taken(call: Any, times: int) -> float:
            began = time.monotonic()
            for begun in [later(call)(seconds=0.5) for _ in range(times)]:
                begun.result()
            return time.monotonic() - began

        beside, in_turn = taken(calm.rest, 4), taken(calm.turns.rest, 3)
        many = [later(using(calm, timeout=30.0).few.rest)(seconds=1.0) for _ in range(8)]
        return beside, in_turn, [type(each.exception()) for each in many]

    beside, in_turn, errors = play(scene, calm=(Calm, "asyncio"))
    assert 1.0 <= beside < 1.9
    assert in_turn >= 1.5
    # One runs and three wait.
    assert errors == [type(None)] * 4 + [MailboxFullError] * 4


def test_a_coroutine_that_is_taken_back_is_cancelled() -> None:
    def scene(main: Process) -> tuple[bool, Any]:
        begun = later(remote(main, "calm").forever)()
        retained(main, "waiting")
        return begun.cancel(), retained(main, "cancelled")

    assert play(scene, calm=(Calm, "asyncio")) == (True, True)


def test_leaving_the_loop_closes_an_asynchronous_generator() -> None:
    def scene(main: Process) -> Any:
        with remote(main, "calm").count(parts=1_000_000) as stream:
            assert [next(stream), next(stream)] == [0, 1]
        return retained(main, "counting is over")

    assert play(scene, calm=(Calm, "asyncio")) is True


def test_an_asynchronous_generator_that_is_left_as_it_is_stepped_is_closed_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Slow(AsyncProcess):
        call_workers = 1

        async def birth(self) -> None:
            self.let_go = asyncio.Event()
            self.add_filter(subject="^go$", callback=lambda message: self.let_go.set())

        @command
        async def parts(self) -> AsyncIterator[int]:
            """Yield a part when it is let go."""
            self.publish("waiting", True, retain=True)
            await self.let_go.wait()
            yield 1

        @command
        async def ok(self) -> str:
            """Return at once."""
            return "ok"

    def scene(main: Process) -> Any:
        slow = remote(main, "slow")
        begun = later(slow.parts)()
        retained(main, "waiting")
        begun.cancel()
        main.send("slow", "go")
        return slow.ok()

    assert play(scene, slow=(Slow, "asyncio")) == "ok"
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_a_coroutine_in_a_process_without_a_loop_is_refused_with_what_to_do() -> None:
    class Wrong(Process):
        @command
        async def rest(self) -> None:
            """Never run."""

    def scene(main: Process) -> None:
        with pytest.raises(RefusedError, match="mode='asyncio'"):
            remote(main, "wrong").rest()

    play(scene, wrong=Wrong)


@PEERS
def test_parts_are_joined(robot: Any) -> None:
    async def scene(actor: AsyncProcess) -> list[Any]:
        count = remote(actor, "robot").count
        summed = using(count, combine=sum)
        return [await summed(parts=4), await later(using(count, combine=list))(parts=3)]

    assert played(scene, robot) == [6, [0, 1, 2]]


def test_a_callback_may_be_a_coroutine() -> None:
    async def scene(actor: AsyncProcess) -> list[Any]:
        heard: list[Any] = []
        told = asyncio.Event()

        async def hear(ended: Any) -> None:
            heard.append(await ended)
            told.set()

        using(remote(actor, "robot").ping, callback=hear)()
        await asyncio.wait_for(told.wait(), 5)
        return heard

    assert played(scene, (Robot, "fork")) == ["pong"]


def test_a_callback_that_asks_for_a_failed_result_does_not_end_its_process_either() -> None:
    async def scene(actor: AsyncProcess) -> int:
        async def hear(ended: Any) -> None:
            await ended

        fail = remote(actor, "robot").fail
        for callback in (lambda ended: ended.result(), hear):
            heard = asyncio.Event()
            ended = using(fail, callback=callback)(kind="own")
            ended.add_done_callback(lambda _, heard=heard: heard.set())
            await heard.wait()
            # A coroutine has its turn after those who waited before it.
            await actor.light_sleep(0)
        return int(actor.calls.statistics()["callback_failed"])

    assert played(scene, (Robot, "fork")) == 2


def test_completion_awaits_nothing_and_says_nothing() -> None:
    async def scene(actor: AsyncProcess) -> Any:
        robot = remote(actor, "robot")
        return dir(robot), await robot.ping()

    assert played(scene, (Robot, "fork")) == ([], "pong")


def test_two_addresses_behind_one_router_are_watched() -> None:
    async def scene(actor: AsyncProcess) -> int:
        seen: list[Any] = []
        for address in ("a@robot", "b@robot"):
            watch_connection(actor, address, seen.append)
        await actor.light_sleep(0.1)
        return len(actor._subscriptions)

    assert played(scene, (Robot, "thread")) == 2


class Careless(AsyncProcess):
    """Its handlers await what is cancelled, and return what is to be awaited."""

    async def birth(self) -> None:
        # It says so where somebody else than the loop's own thread uses it.
        asyncio.get_running_loop().set_debug(True)

    @command
    async def cancelled(self) -> None:
        """Await a task that is cancelled."""
        work = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        work.cancel()
        await work

    @command
    async def cancelled_parts(self) -> AsyncIterator[int]:
        """Yield a part, and await a task that is cancelled."""
        yield 1
        await self.cancelled()

    @command
    async def paths(self) -> AsyncIterator[str]:
        """Yield what the call is."""
        for _ in range(3):
            yield current_call().path

    @command
    async def where(self) -> list[str]:
        """Return for whom and on which letter it runs, and on which it should."""
        await asyncio.sleep(0)
        return [here().process, here().mail_thread, current_call().id.letter]

    @command
    async def wheres(self) -> AsyncIterator[list[str]]:
        """Yield for whom and on which letter it runs."""
        for _ in range(2):
            await asyncio.sleep(0)
            yield [here().process, here().mail_thread]

    @command
    async def beside(self) -> list[str]:
        """Return on which letter its tasks and its helping thread run."""
        tasks = await asyncio.gather(self.where(), self.where())
        thread = await asyncio.to_thread(here)
        return [*(told[1] for told in tasks), thread.mail_thread, current_call().id.letter]

    @command
    async def besides(self) -> AsyncIterator[list[str]]:
        """Yield on which letter it runs, and on which its tasks do."""
        for _ in range(2):
            (told,) = await asyncio.gather(self.where())
            yield [here().mail_thread, told[1]]

    @command
    def indirect(self) -> Any:
        """Return a coroutine, being none."""
        return asyncio.sleep(0, "slept")

    @command
    async def rest(self) -> None:
        """Wait for long."""
        await asyncio.sleep(60)

    @command
    async def ok(self) -> str:
        """Return at once."""
        return "ok"


class CarelessWithWorkers(Careless):
    """Carries out two at a time."""

    call_workers = 2


BOTH = pytest.mark.parametrize("kind", [Careless, CarelessWithWorkers])


@BOTH
def test_a_handler_whose_own_work_was_cancelled_is_answered_with_an_error(kind: Any) -> None:
    def scene(main: Process) -> list[Any]:
        careless = remote(main, "careless", timeout=20)
        with pytest.raises(RemoteError) as caught:
            careless.cancelled()
        parts = careless.cancelled_parts()
        read = [next(parts)]
        with pytest.raises(RemoteError):
            next(parts)
        return [caught.value.remote_type, read, careless.ok()]

    assert play(scene, careless=(kind, "asyncio")) == ["CancelledError", [1], "ok"]


@BOTH
def test_an_asynchronous_generator_knows_of_its_call(kind: Any) -> None:
    def scene(main: Process) -> list[Any]:
        return list(remote(main, "careless", timeout=20).paths())

    assert play(scene, careless=(kind, "asyncio")) == ["paths"] * 3


@BOTH
def test_a_coroutine_is_on_the_thread_of_its_call(kind: Any) -> None:
    def scene(main: Process) -> list[Any]:
        careless = remote(main, "careless", timeout=20)
        return [careless.where(), *careless.wheres()]

    (process, mail_thread, letter), *wheres = play(scene, careless=(kind, "asyncio"))
    assert (process, mail_thread) == ("careless", letter)
    # Each part on that of the letter which asked for it.
    assert [process for process, _ in wheres] == ["careless"] * 2
    assert len({letter, *(mail_thread for _, mail_thread in wheres)} - {""}) == 3


@BOTH
def test_the_tasks_of_a_coroutine_are_on_the_thread_of_its_call(kind: Any) -> None:
    def scene(main: Process) -> list[Any]:
        careless = remote(main, "careless", timeout=20)
        return [careless.beside(), *careless.besides()]

    (*beside, letter), *besides = play(scene, careless=(kind, "asyncio"))
    assert beside == [letter] * 3
    for part, of_its_task in besides:
        assert part == of_its_task != ""


def test_a_coroutine_that_is_taken_back_before_its_turn_is_closed() -> None:
    async def scene(actor: AsyncProcess) -> str:
        desk = AsyncDesk(actor)
        letter = Message("1", "1", 1, 0.0, "robot", actor.name, "rest")
        desk._in_hand.begin(letter)
        assert desk._in_hand.take_back("1", owner_of(letter))
        result = asyncio.sleep(60)
        await desk._answer_when_done(result, letter)
        return getcoroutinestate(result)

    assert played(scene, (Robot, "thread")) == CORO_CLOSED


@BOTH
def test_what_a_plain_function_returns_is_awaited_on_the_loop(kind: Any) -> None:
    def scene(main: Process) -> Any:
        return remote(main, "careless", timeout=20).indirect()

    assert play(scene, careless=(kind, "asyncio")) == "slept"


def test_coroutines_that_wait_when_their_process_ends_are_told_of() -> None:
    def scene(main: Process) -> list[str]:
        rest = later(using(remote(main, "careless"), timeout=30.0).rest)
        begun = [rest() for _ in range(4)]
        # They have come by then.
        for _ in range(2):  # and with the second the first two have begun
            calls_of(main, "careless")
        main.stop_process("careless")
        return [str(each.exception()) for each in begun[2:]]

    told = play(scene, careless=(CarelessWithWorkers, "asyncio"))
    assert told == ["its process ended before it was begun"] * 2


class OneAtATime(AsyncProcess):
    """Carries out one call at a time; who calls `hold` has the others wait until it is let go."""

    call_workers = 1

    async def birth(self) -> None:
        self.begun: list[str] = []
        self.let_go = asyncio.Event()
        self.add_filter(subject="^go$", callback=lambda message: self.let_go.set())
        few = Api()
        few.add("hold", self.hold)
        few.add("parts", self.parts)
        serve(self, few, "few", workers=1, waiting=1)

    @command
    async def hold(self) -> list[str]:
        """Wait until it is let go."""
        await self.let_go.wait()
        return self.begun

    @command
    async def note(self, word: str) -> None:
        """Remember a word."""
        self.begun.append(word)

    @command
    async def parts(self, word: str) -> AsyncIterator[str]:
        """Remember a word, and yield it."""
        self.begun.append(word)
        yield word

    @command
    async def noted(self) -> list[str]:
        """Return the words that have been noted."""
        return self.begun


def calls_of(main: Process, name: str) -> dict[str, int]:
    """Return what ``name`` says of the calls that it was written before this was asked."""
    calls: dict[str, int] = main.wait_for_reply(main.send(name, "$statistics")).body["calls"]
    return calls


WAITING_CALLS = pytest.mark.parametrize("path", ["note", "parts"])


def with_one_held(scene: Callable[[Process, Any, Any], Any]) -> Any:
    """Return what ``scene(main, robot, held)`` returns, one call of the robot being held up."""

    def held_up(main: Process) -> Any:
        robot = remote(main, "robot", timeout=10)
        return scene(main, robot, later(robot.hold)())

    def build(application: Application) -> None:
        application.add_process("robot", OneAtATime, mode="asyncio")
        application.add_process(
            "caller", Caller, mode="fork", autostart=False, restart=RestartPolicy("temporary")
        )

    status, result = play_in(build, held_up)
    assert status == 0
    return result


def let_go(main: Process, robot: Any, held: Any) -> list[str]:
    """Have the call that is ``held`` up go on; return which others were begun after it."""
    main.send("robot", "go")
    held.result()
    words: list[str] = robot.noted()
    return words


class Caller(Process):
    """Calls, and is killed before it has an answer."""

    def birth(self) -> None:
        robot = remote(self, "robot")
        for call in (robot.note, robot.parts):
            later(call)(word="unwanted")
        # They have come by then.
        calls_of(self, "robot")
        os.kill(os.getpid(), signal.SIGKILL)


@WAITING_CALLS
def test_a_coroutine_that_waits_for_a_task_runs_and_is_not_begun_once_it_is_taken_back(
    path: str,
) -> None:
    def scene(main: Process, robot: Any, held: Any) -> None:
        begun = later(getattr(robot, path))(word="unwanted")
        assert calls_of(main, "robot")["running"] == 2
        assert begun.cancel()
        calls = calls_of(main, "robot")
        assert (calls["running"], calls["taken_back"]) == (2, 1)
        assert let_go(main, robot, held) == []
        calls = calls_of(main, "robot")
        assert [calls[each] for each in ("running", "streams", "cancelled")] == [0, 0, 1]

    with_one_held(scene)


@WAITING_CALLS
def test_a_coroutine_that_waits_for_a_task_is_not_begun_for_who_gave_up(path: str) -> None:
    def scene(main: Process, robot: Any, held: Any) -> None:
        with pytest.raises(CallTimeoutError):
            getattr(using(robot, timeout=0.1), path)(word="unwanted")
        assert let_go(main, robot, held) == []

    with_one_held(scene)


@WAITING_CALLS
def test_an_event_that_waits_for_a_task_is_not_begun_once_it_is_too_old(path: str) -> None:
    def scene(main: Process, robot: Any, held: Any) -> None:
        tell(getattr(using(robot, timeout=0.05), path))(word="unwanted")
        main.light_sleep(0.06)
        assert let_go(main, robot, held) == []

    with_one_held(scene)


def test_coroutines_that_wait_for_a_task_are_not_begun_for_who_died() -> None:
    def scene(main: Process, robot: Any, held: Any) -> None:
        with contextlib.suppress(GatewayError):
            main.start_process("caller")
        assert let_go(main, robot, held) == []

    with_one_held(scene)


def test_a_stream_for_which_no_task_has_room_is_not_open() -> None:
    def scene(main: Process, robot: Any, held: Any) -> None:
        also_held = later(robot.few.hold)()
        waits, refused = [later(robot.few.parts)(word="some") for _ in range(2)]
        with pytest.raises(MailboxFullError):
            refused.result()
        assert calls_of(main, "robot")["streams"] == 1
        let_go(main, robot, also_held)
        assert list(waits.result()) == ["some"]

    with_one_held(scene)
