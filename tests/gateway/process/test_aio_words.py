"""The words that wait, in a process on a loop: awaited, while the others on it go on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from functools import partial
from time import monotonic
from typing import Any

import pytest

from gateway.application import Application
from gateway.bus.spool_terms import SpoolTerms
from gateway.errors import AddressError, ConfigError
from gateway.mail.message import Message
from gateway.process.aio_process import AsyncProcess
from gateway.process.callbacks import Event
from gateway.process.process import Process
from gateway.supervision.restart import RestartPolicy
from gateway.testing.stage import Echo, play, play_in, play_on_loop


class Counting(AsyncProcess):
    """Keeps a loop of its own by its frequency, until it is told to end."""

    async def birth(self) -> None:
        self.frequency = 200.0
        self.add_filter(subject="^frames$", callback=self.on_frames)

    async def on_frames(self, message: Message) -> None:
        began, frames = monotonic(), self.current_frame
        while await self.frequency_sleep() and self.current_frame < frames + 20:
            pass
        self.reply(message, [self.current_frame - frames, monotonic() - began])


def test_a_loop_of_its_own_keeps_the_frequency() -> None:
    def scene(main: Process) -> Any:
        return main.wait_for_reply(main.send("counting", "frames")).body

    frames, seconds = play(scene, counting=(Counting, "asyncio"))
    assert frames == 20
    # The first may be due at once, and begin late.
    assert seconds >= 18 / 200.0


def test_the_end_wakes_who_sleeps_until_the_next_frame() -> None:
    async def scene(actor: AsyncProcess) -> tuple[bool, int]:
        actor.frequency = 0.001
        actor._loop.call_later(0.01, actor.die)
        return await actor.frequency_sleep(), actor.current_frame

    assert play_on_loop(scene) == (False, 0)


def test_without_a_frequency_there_is_no_frame_to_sleep_until() -> None:
    async def scene(actor: AsyncProcess) -> None:
        actor.frequency = None
        actor.frequency_sleep()

    with pytest.raises(ValueError, match="'actor' has no frequency to sleep by: give it one"):
        play_on_loop(scene)


def test_the_loop_goes_on_while_one_asks_who_is_there() -> None:
    async def scene(actor: AsyncProcess) -> tuple[list[str], list[str], bool]:
        went_on = asyncio.Event()
        actor._loop.call_soon(went_on.set)
        names = await actor.process_names()
        await actor.ask("far", "say")
        return names, list(await actor.active_subprocesses()), went_on.is_set()

    assert play_on_loop(scene, near=Echo, far=(Echo, "fork")) == (
        ["actor", "far", "main", "near"],
        ["far"],
        True,
    )


def test_a_child_thread_has_the_result() -> None:
    async def scene(actor: AsyncProcess) -> list[list[str]]:
        found: list[list[str]] = []
        actor.add_child_thread("ask", lambda: found.append(actor.process_names().result(5.0)))
        await actor.join_child_threads(5.0)
        return found

    assert play_on_loop(scene) == [["actor", "main"]]


@pytest.mark.parametrize(
    ("level", "name", "error"), [("loud", "", ConfigError), ("debug", "nobody", AddressError)]
)
def test_a_level_or_a_name_that_is_none_is_refused(
    level: str, name: str, error: type[Exception]
) -> None:
    async def scene(actor: AsyncProcess) -> None:
        await actor.set_log_level(level, name)

    with pytest.raises(error):
        play_on_loop(scene)


def test_a_level_holds_for_who_is_named_until_it_is_taken_back() -> None:
    async def scene(actor: AsyncProcess) -> list[dict[str, str]]:
        told = [await actor.set_log_level(level, "echo") for level in ("debug", "default")]
        return [levels["processes"] for levels in told]

    assert play_on_loop(scene, echo=Echo) == [{"echo": "debug"}, {}]


def test_one_of_two_callbacks_of_a_pattern_ends_by_itself() -> None:
    async def second(message: Message) -> None:
        pass

    async def scene(actor: AsyncProcess) -> list[int]:
        await actor.subscribe("a", print)
        await actor.subscribe("a", second)
        ended = [actor.unsubscribe("a", callback) for callback in (second, second, print)]
        return [*ended, actor.unsubscribe("a")]

    assert play_on_loop(scene) == [1, 0, 1, 0]


async def _at_once(actor: AsyncProcess) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(actor.light_sleep(3600), 0)


async def _gathered(actor: AsyncProcess) -> None:
    task = asyncio.ensure_future(_all_of(actor.light_sleep(3600), actor.process_names()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


async def _all_of(*pending: Any) -> None:
    await asyncio.gather(*pending)


async def _in_a_group(actor: AsyncProcess) -> None:
    with pytest.raises(ExceptionGroup, match="unhandled"):
        await _beside_one_that_fails(actor.light_sleep(3600))


async def _beside_one_that_fails(pending: Any) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.wait_for(pending, 60))
        raise ValueError("on purpose")


async def _closed(actor: AsyncProcess) -> None:
    actor.light_sleep(3600).close()


@pytest.mark.parametrize("cancelled", [_at_once, _gathered, _in_a_group, _closed])
def test_what_is_cancelled_before_its_first_turn_was_not_dropped(cancelled: Any) -> None:
    async def scene(actor: AsyncProcess) -> BaseException | None:
        await cancelled(actor)
        return actor._child_error

    assert play_on_loop(scene) is None


def test_a_task_is_made_of_what_is_to_be_awaited() -> None:
    async def scene(actor: AsyncProcess) -> list[Any]:
        task = asyncio.create_task(actor.process_names())
        actor.add_child_task("names", actor.process_names())
        async with asyncio.TaskGroup() as group:
            other = group.create_task(actor.light_sleep(0.001))
            # From Python 3.13 on that asks whether there is a coroutine.
            before = repr(other)
            await asyncio.sleep(0)
            told = repr(other), [frame.f_code.co_name for frame in other.get_stack()]
        return [await task, await other, before, *told]

    names, rested, before, told, frames = play_on_loop(scene)
    assert (names, rested) == (["actor", "main"], True)
    assert "Pending" in before
    assert "Pending" in told
    assert frames == ["_sleep"]


async def _of_an_event_that_no_device_raises(actor: AsyncProcess) -> None:
    with pytest.raises(ValueError, match="no device raises 'bogus'"):
        actor.register_callbacks("arm", connected=print, bogus=print)


async def _of_what_cannot_be_called(actor: AsyncProcess) -> None:
    callbacks: Any = {"connected": print, "disconnected": "print"}
    with pytest.raises(ValueError, match="must be callable, not 'print'"):
        actor.register_callbacks("arm", **callbacks)


async def _of_none_at_all(actor: AsyncProcess) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(
            actor.register_callbacks("arm", connected=print, disconnected=print), 0
        )


@pytest.mark.parametrize(
    "registered",
    [_of_an_event_that_no_device_raises, _of_what_cannot_be_called, _of_none_at_all],
)
def test_callbacks_for_a_device_that_are_refused_or_cancelled_kill_nobody(registered: Any) -> None:
    async def scene(actor: AsyncProcess) -> tuple[BaseException | None, int]:
        await registered(actor)
        # What was raised holds what was dropped.
        gc.collect()
        return actor._child_error, len(actor._subscriptions)

    assert play_on_loop(scene) == (None, 0)


def test_of_callbacks_of_which_one_is_refused_none_is_registered_on_a_thread_either() -> None:
    def scene(main: Process) -> int:
        with pytest.raises(ValueError, match="no device raises 'bogus'"):
            main.register_callbacks("arm", connected=print, bogus=print)
        return len(main._subscriptions)

    assert play(scene) == 0


class DroppingInBirth(AsyncProcess):
    """Drops what is to be awaited, and ends before anybody looks."""

    async def birth(self) -> None:
        self.light_sleep(1.0)
        self.die()


class DroppingInDeath(AsyncProcess):
    """Drops what is to be awaited as the last thing that it does."""

    async def death(self) -> None:
        self.light_sleep(1.0)


@pytest.mark.parametrize("dropping", [DroppingInBirth, DroppingInDeath])
def test_what_is_dropped_as_a_process_ends_makes_its_end_a_failure(
    dropping: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def build(application: Application) -> None:
        application.add_process(
            "dropping", dropping, mode="asyncio", restart=RestartPolicy("temporary")
        )

    play_in(build, lambda main: main.poison_pill("dropping"))
    assert "process dropping failed" in caplog.text
    assert "write `await self.light_sleep(...)`" in caplog.text


@pytest.mark.parametrize(
    "drop",
    [
        lambda actor: actor.ask("echo", "say"),
        lambda actor: actor.send_patiently("echo", "say"),
        lambda actor: actor.cleanup(),
        lambda actor: actor.light_sleep(1.0),
    ],
)
def test_what_a_scene_drops_is_raised_where_it_is_played(drop: Any) -> None:
    async def scene(actor: AsyncProcess) -> int:
        drop(actor)
        return 5

    with pytest.raises(RuntimeError, match=r"write `await self\.\w+\(...\)`"):
        play_on_loop(scene, echo=Echo)


def test_what_an_actor_drops_as_it_ends_is_raised_as_well() -> None:
    async def scene(actor: AsyncProcess) -> None:
        async def death() -> None:
            actor.light_sleep(1.0)

        actor.death = death  # type: ignore[method-assign]

    with pytest.raises((RuntimeError, AssertionError), match=r"light_sleep|failed after the scene"):
        play_on_loop(scene)


def test_what_was_lent_is_given_back_while_the_loop_goes_on() -> None:
    async def scene(actor: AsyncProcess) -> tuple[list[str], bool]:
        go = threading.Event()
        actor.add_child_thread("until", lambda: go.wait(60.0))
        actor._loop.call_soon(go.set)
        return await actor.cleanup(30.0), go.is_set()

    assert play_on_loop(scene) == ([], True)


def test_who_follows_what_is_no_pattern_is_told_at_once() -> None:
    async def scene(actor: AsyncProcess) -> BaseException | None:
        with pytest.raises(ValueError, match="#"):
            actor.follow("a/#/b", print)
        await asyncio.sleep(0)
        return actor._child_error

    assert play_on_loop(scene) is None


def test_what_is_published_waits_in_files_for_a_process_on_a_loop() -> None:
    terms = SpoolTerms(limit=1 << 20)

    async def scene(actor: AsyncProcess) -> list[Any]:
        await actor.subscribe("a", print, spool=None)
        actor.unsubscribe("a")
        await actor.subscribe("weather", print, spool=terms)
        with contextlib.closing(actor.open_spool(terms)) as reader:
            is_there = asyncio.Event()
            actor._loop.add_reader(reader.fileno(), is_there.set)
            actor.publish("weather", "rain")
            await is_there.wait()
            actor._loop.remove_reader(reader.fileno())
            taken = reader.take(10)
            reader.confirm(taken)
        return [each.message.body for each in taken]

    assert play_on_loop(scene) == ["rain"]


def test_on_a_child_thread_one_is_told_to_ask_for_the_result() -> None:
    async def scene(actor: AsyncProcess) -> str:
        told: list[str] = []

        def take() -> None:
            with pytest.raises(RuntimeError) as refused:
                bool(actor.light_sleep(1.0))
            told.append(str(refused.value))

        actor.add_child_thread("take", take)
        await actor.join_child_threads(10.0)
        return told[0]

    assert play_on_loop(scene).endswith("on another thread write `self.light_sleep(...).result()`")


def test_on_another_loop_nothing_is_begun() -> None:
    async def scene(actor: AsyncProcess) -> tuple[list[str], bool]:
        told: list[str] = []

        async def wait(pending: Any) -> None:
            await pending

        def begin(run: Any) -> None:
            with pytest.raises(RuntimeError, match="on another thread write") as refused:
                asyncio.run(run(actor.light_sleep(0.01)))
            told.append(str(refused.value))

        for run in (wait, lambda pending: pending):
            actor.add_child_thread("other", partial(begin, run))
            await actor.join_child_threads(10.0)
        return told, await actor.light_sleep(0.01)

    told, rested = play_on_loop(scene)
    assert (len(told), rested) == (2, True)


@pytest.mark.parametrize("takes", ["await", "task", "result"])
def test_what_is_awaited_is_begun_once(takes: str) -> None:
    async def scene(actor: AsyncProcess) -> tuple[str, int]:
        pending: Any = actor.subscribe("a", print)
        if takes == "task":
            await asyncio.create_task(pending)
        elif takes == "result":
            await asyncio.to_thread(pending.result, 10.0)
        else:
            await pending
        with pytest.raises(RuntimeError) as refused:
            await pending
        return str(refused.value), len(actor._subscriptions)

    told, subscriptions = play_on_loop(scene)
    assert told == "subscribe was begun already: write `subscribe(...)` again for another one"
    assert subscriptions == 1


class Alarmed(AsyncProcess):
    """Is told of an event by a child thread, as its process is at rest."""

    async def birth(self) -> None:
        self.register_callbacks(full=self.on_full)
        self.add_filter(subject="^fill$", callback=self.on_fill)

    def on_fill(self, message: Message) -> None:
        self.letter = message
        self.add_child_thread("fill", lambda: self.callback_event("full", paper=0))

    async def on_full(self, event: Event) -> None:
        await asyncio.sleep(0)
        self.reply(self.letter, [event.details, self.is_on_its_thread(), str(self._child_error)])


def test_the_loop_awaits_what_a_child_thread_raised_an_event_for() -> None:
    def scene(main: Process) -> Any:
        return main.wait_for_reply(main.send("alarmed", "fill")).body

    assert play(scene, alarmed=(Alarmed, "asyncio")) == [{"paper": 0}, True, "None"]
