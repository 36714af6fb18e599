"""Who unsubscribes hears nothing more, and the boss forgets the subscription with the last one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest

from gateway.application import Application
from gateway.bus.spool_terms import SpoolTerms
from gateway.errors import BodyError, CallTimeoutError, GatewayError, MailboxFullError
from gateway.mail.message import Message
from gateway.process.aio_process import AsyncProcess
from gateway.process.context import Mode
from gateway.process.process import Process
from gateway.process.subscriber import Subscriber
from gateway.supervision.boss import Boss
from gateway.testing.stage import Echo, play

TERMS = SpoolTerms(limit=1 << 20)

TWICE = range(2)
"""The first question may be answered as the boss catches up, before it hears who subscribed."""


def subscriptions(main: Process, name: str = "main") -> list[str]:
    """Return the patterns of ``name`` that stand in the book, once the boss has heard it all."""
    for _ in TWICE:
        main.wait_for_reply(main.send("boss", "ps"))
    return subscriptions_in(main, name)


def subscriptions_in(process: Process, name: str = "") -> list[str]:
    """Return the patterns of ``name`` that stand in the book of ``process``, its own for ``""``."""
    book, name = process._office.book, name or process.name
    return [known.pattern for known in book.subscriptions if known.mailbox == name]


def test_nothing_arrives_after_the_end_also_of_what_lies_in_the_mailbox() -> None:
    def scene(main: Process) -> list[Any]:
        heard: list[Any] = []
        main.subscribe("a/+", lambda message: heard.append(message.body))
        main.publish("a/b", 1)
        main.mailman()
        main.publish("a/b", 2)
        assert main.unsubscribe("a/+") == 1
        main.publish("a/b", 3)
        main.mailman()
        assert subscriptions(main) == []
        assert main.unsubscribe("a/+") == 0
        return heard

    assert play(scene) == [1]


@pytest.mark.parametrize("retain", [1, 0, None, "yes"])
def test_what_is_retained_is_said_by_true_or_false(retain: Any) -> None:
    def scene(main: Process) -> list[Any]:
        heard: list[Any] = []
        main.subscribe("a/+", lambda message: heard.append(message.body))
        with pytest.raises(TypeError, match="retain is True or False"):
            main.publish("a/b", 1, retain=retain)
        main.publish("a/b", 2, retain=True)
        main.mailman()
        return heard

    assert play(scene) == [2]


def test_the_boss_keeps_it_until_the_last_of_a_pattern_goes() -> None:
    def scene(main: Process) -> None:
        heard: list[str] = []

        def first(message: Message) -> None:
            heard.append("first")

        def second(message: Message) -> None:
            heard.append("second")

        for callback in (first, second):
            main.subscribe("a/#", callback)
        main.subscribe("a/b", second)
        assert main.unsubscribe("a/#", first) == 1
        assert subscriptions(main) == ["a/#", "a/b"]
        main.publish("a/c")
        main.mailman()
        assert heard == ["second"]
        assert main.unsubscribe("a/#", first) == 0
        assert main.unsubscribe("a/#") == 1
        assert subscriptions(main) == ["a/b"]
        main.publish("a/b")
        main.mailman()
        assert heard == ["second", "second"]

    play(scene)


def test_a_callback_may_end_another_subscription_of_the_same_letter() -> None:
    def scene(main: Process) -> list[str]:
        heard: list[str] = []

        def first(message: Message) -> None:
            heard.append("first")
            main.unsubscribe("#")

        main.subscribe("a", first)
        main.subscribe("#", lambda message: heard.append("second"))
        # What the processes say of themselves comes under # as well.
        heard.clear()
        main.publish("a")
        main.mailman()
        return heard[heard.index("first") :]

    assert play(scene) == ["first"]


def test_who_subscribes_again_gets_what_is_retained_again() -> None:
    def scene(main: Process) -> list[Any]:
        heard: list[Any] = []
        main.publish("a", 1, retain=True)
        for _ in range(2):
            main.subscribe("a", lambda message: heard.append(message.body))
            main.unsubscribe("a")
        return heard

    assert play(scene) == [1, 1]


def test_a_subscription_that_never_stood_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(subject: str, body: Any) -> Message:
        raise MailboxFullError("the boss is busy")

    def scene(main: Process) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(main, "_tell_boss", busy)
            with pytest.raises(MailboxFullError):
                main.subscribe("a", print)
        assert main._subscriptions == ()

    play(scene)


def test_what_no_letter_can_carry_is_not_published() -> None:
    def scene(main: Process) -> None:
        with pytest.raises(BodyError):
            main.publish("a", {1, 2})
        with pytest.raises(BodyError):
            main.declare_will("a", object())
        with pytest.raises(ValueError, match="belong into patterns"):
            main.publish("a/+", 1)

    play(scene)


def test_what_is_retained_anew_is_news_to_who_heard_it_end() -> None:
    def scene(main: Process) -> list[Any]:
        heard: list[Message] = []
        main.subscribe("a", heard.append)
        for body in (1, None, 2):
            main.publish("a", body, retain=True)
            main.publish("b", body, retain=True)
            main.publish("a", "not kept")
        main.mailman()
        kept = [message for message in heard if message.retain]
        stamps = [message.thread_index for message in kept]
        assert stamps == sorted(set(stamps))
        return [message.body for message in kept]

    assert play(scene) == [1, None, 2]


def test_who_publishes_remembers_no_topic() -> None:
    def scene(main: Process) -> list[str]:
        for retain, body in ((False, 1), (True, 1), (True, None)):
            main.publish("once/in/a/while", body, retain=retain)
        return [name for name, held in vars(main).items() if "once/in/a/while" in repr(held)]

    assert play(scene) == []


class Slow(Process):
    """Subscribes, and reads nothing until the topic "end"."""

    def birth(self) -> None:
        self.subscribe("flood", lambda message: None)
        self.add_filter(subject="^hang$", callback=self.on_hang)

    def on_hang(self, message: Message) -> None:
        self.reply(message, "I do")
        self.light_sleep(60.0)


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_what_a_slow_subscriber_missed_is_counted_by_its_name(mode: Any) -> None:
    def scene(main: Process) -> None:
        main.wait_for_reply(main.send("slow", "hang"))
        for number in range(1000):
            main.publish("flood", number)
        lost = main.statistics()["publications_dropped"]
        assert list(lost) == ["slow"]
        assert 400 <= lost["slow"] <= 1000 - 256

    play(scene, slow=(Slow, mode))


def test_a_subscription_that_was_interrupted_is_none() -> None:
    def scene(main: Process) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(main, "_tell_boss", _interrupted)
            with pytest.raises(KeyboardInterrupt):
                main.subscribe("a", print)
        assert not main._subscriptions

    play(scene)


def test_a_subscription_that_came_too_late_on_a_loop_is_none() -> None:
    left: list[int] = []

    class Main(AsyncProcess):
        async def birth(self) -> None:
            self.letters.wait_for = late  # type: ignore[method-assign]
            with pytest.raises(CallTimeoutError):
                await self.subscribe("a", print)
            left.append(len(self._subscriptions))
            self.die()

    async def late(message: Message, timeout: float) -> Message:
        raise CallTimeoutError(f"'boss' did not answer {message.subject!r}")

    class House(Application):
        def build(self) -> None:
            self.add_process("hearing", Main, mode="asyncio", bound_shutdown=True)

    assert House().run() == 0
    assert left == [0]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Have the boss hold at the letter "hold" until the event is set."""
    go_on, hear = threading.Event(), Boss._hear

    def held(boss: Boss, message: Message) -> None:
        if message.subject == "hold":
            go_on.wait(60.0)
        else:
            hear(boss, message)

    monkeypatch.setattr(Boss, "_hear", held)
    return go_on


def test_one_that_came_too_late_is_none_at_the_boss_either(held: threading.Event) -> None:
    def scene(main: Process) -> None:
        main._tell_boss("hold", None)
        with pytest.raises(CallTimeoutError):
            main.subscribe("a", print, timeout=0.0)
        held.set()
        assert subscriptions(main) == []

    play(scene)


def test_one_that_came_too_late_costs_the_next_nothing(held: threading.Event) -> None:
    def scene(main: Process) -> list[Any]:
        heard: list[Any] = []
        main._tell_boss("hold", None)
        with pytest.raises(CallTimeoutError):
            main.subscribe("a", print, timeout=0.0)
        wait_for = main._box.wait_for

        def patient(*asked: Any) -> Message:
            # What it asks lies behind the others by now.
            held.set()
            return wait_for(*asked)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(main._box, "wait_for", patient)
            main.subscribe("a", lambda message: heard.append(message.body))
        assert subscriptions(main) == ["a"]
        main.publish("a", 1)
        main.mailman()
        return heard

    assert play(scene) == [1]


def test_one_that_was_interrupted_is_none_at_the_boss_either() -> None:
    def scene(main: Process) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(main._box, "wait_for", _interrupting(main))
            with pytest.raises(KeyboardInterrupt):
                main.subscribe("a", print)
        assert subscriptions(main) == []

    play(scene)


def test_one_that_was_interrupted_leaves_another_of_its_pattern() -> None:
    def scene(main: Process) -> list[Any]:
        heard: list[Any] = []
        main.subscribe("a", lambda message: heard.append(message.body))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(main._box, "wait_for", _interrupting(main))
            with pytest.raises(KeyboardInterrupt):
                main.subscribe("a", print)
        assert subscriptions(main) == ["a"]
        main.publish("a", 1)
        main.mailman()
        return heard

    assert play(scene) == [1]


def test_one_that_was_interrupted_in_its_callback_is_none() -> None:
    def scene(main: Process) -> None:
        main.publish("a", 1, retain=True)
        with pytest.raises(KeyboardInterrupt):
            main.subscribe("a", _interrupt)
        assert not main._subscriptions
        assert subscriptions(main) == []

    play(scene)


def test_a_bug_of_the_callback_ends_no_subscription() -> None:
    def scene(main: Process) -> None:
        main.publish("a", 1, retain=True)
        with pytest.raises(ZeroDivisionError):
            main.subscribe("a", lambda message: 1 // 0)
        assert subscriptions(main) == ["a"]
        assert main.unsubscribe("a") == 1

    play(scene)


def test_one_that_came_too_late_is_none_also_where_the_one_before_waited_in_files(
    held: threading.Event,
) -> None:
    def scene(main: Process) -> None:
        main.subscribe("a", print, spool=TERMS)
        main._tell_boss("hold", None)
        assert main.unsubscribe("a") == 1
        with pytest.raises(CallTimeoutError):
            main.subscribe("a", print, spool=TERMS, timeout=0.0)
        held.set()
        assert subscriptions(main) == []
        main.subscribe("a", print, spool=TERMS)
        assert subscriptions(main) == ["a"]

    play(scene)


def test_one_that_came_too_late_again_is_none_though_the_book_has_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hear, heard = Boss._hear, threading.Event()
    steps: list[threading.Event] = [threading.Event(), threading.Event()]

    def held(boss: Boss, message: Message) -> None:
        if message.subject == "unsubscribe" and not heard.is_set():
            heard.set()
            steps[1].wait(60.0)
        elif message.subject == "hold":
            steps[0].wait(60.0)
        hear(boss, message)

    def scene(main: Process) -> None:
        main._tell_boss("hold", None)
        with pytest.raises(CallTimeoutError):
            main.subscribe("a", print, spool=TERMS, timeout=0.0)
        steps[0].set()
        assert heard.wait(20.0)
        assert subscriptions_in(main) == ["a"], "the boss has yet to hear of its end"
        with pytest.raises(CallTimeoutError):
            main.subscribe("a", print, spool=TERMS, timeout=0.0)
        steps[1].set()
        assert subscriptions(main) == []

    monkeypatch.setattr(Boss, "_hear", held)
    play(scene)


@pytest.mark.parametrize("late", [None, "c"])
def test_what_ends_with_its_mailbox_ends_whoever_else_subscribes_to_whatever(
    held: threading.Event, late: str | None
) -> None:
    def scene(main: Process) -> None:
        box = main.open_mailbox("board")
        board = Subscriber(box.name, main._office, box)
        board.subscribe("a", print, spool=TERMS)
        assert subscriptions(main, box.name) == ["a"]
        main._tell_boss("hold", None)
        main._tell_boss("subscribe", {"pattern": "b", "spool": None})
        if late is not None:
            with pytest.raises(CallTimeoutError):
                board.subscribe(late, print, timeout=0.0)
        board.unsubscribe("a")
        main.close_mailbox(box)
        held.set()
        assert subscriptions(main, box.name) == []

    play(scene)


def test_whoever_subscribes_without_a_pause_holds_up_no_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hear = Boss._hear

    def hear_another(boss: Boss, message: Message) -> None:
        if message.subject == "subscribe":
            with contextlib.suppress(GatewayError):
                mains[0]._tell_boss("subscribe", {"pattern": "a", "spool": None})
        hear(boss, message)

    monkeypatch.setattr(Boss, "_hear", hear_another)
    mains: list[Process] = []

    def scene(main: Process) -> None:
        mains.append(main)
        main.subscribe("a", print)
        main.stop_process("echo")

    play(scene, echo=Echo)


@pytest.mark.parametrize("spool", [None, TERMS])
def test_what_did_not_wait_in_files_before_does_not_afterwards(spool: SpoolTerms | None) -> None:
    def scene(main: Process) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(main._box, "wait_for", _interrupting(main))
            with pytest.raises(KeyboardInterrupt):
                main.subscribe("a", print, spool=spool)
        assert subscriptions(main) == []

    play(scene)


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_what_waited_in_files_before_waits_on(mode: Mode) -> None:
    found: list[list[str]] = []

    class Keeper(Echo):
        def birth(self) -> None:
            super().birth()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(self._box, "wait_for", _interrupting(self))
                with pytest.raises(KeyboardInterrupt):
                    self.subscribe("a", print, spool=TERMS)

    class Main(Process):
        def birth(self) -> None:
            self.wait_for_reply(self.send("keeper", "say"))
            found.append(subscriptions(self, "keeper"))
            self.die()

    class House(Application):
        def build(self) -> None:
            self.add_process("keeper", Keeper, mode=mode, spools={"a": TERMS})

    assert House(main=Main).run() == 0
    assert found == [["a"]]


def test_on_a_loop_one_that_was_cancelled_is_none(held: threading.Event) -> None:
    left: list[Any] = []

    class Main(AsyncProcess):
        async def birth(self) -> None:
            self._tell_boss("hold", None)
            task = asyncio.create_task(self._subscribes(print))
            await asyncio.sleep(0)
            assert self._subscriptions
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            held.set()
            for _ in TWICE:
                await self.ask("boss", "ps")
            left.extend([self._subscriptions, subscriptions_in(self)])
            self.die()

        async def _subscribes(self, callback: Any) -> None:
            await self.subscribe("a", callback)

    assert _alone(Main) == 0
    assert left == [(), []]


def test_on_a_loop_one_that_was_cancelled_in_its_callback_is_none() -> None:
    left: list[Any] = []

    class Main(AsyncProcess):
        async def birth(self) -> None:
            begun = asyncio.Event()

            async def take(message: Message) -> None:
                begun.set()
                await asyncio.Event().wait()

            async def hear() -> None:
                await self.subscribe("a", take)

            self.publish("a", 1, retain=True)
            task = asyncio.create_task(hear())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for _ in TWICE:
                await self.ask("boss", "ps")
            left.extend([self._subscriptions, subscriptions_in(self)])
            self.die()

    assert _alone(Main) == 0
    assert left == [(), []]


def test_on_a_loop_one_task_that_is_cancelled_leaves_the_other_its_subscription(
    held: threading.Event,
) -> None:
    heard: list[Any] = []

    class Main(AsyncProcess):
        async def birth(self) -> None:
            self._tell_boss("hold", None)
            tasks = [asyncio.create_task(self._subscribes()) for _ in range(2)]
            await asyncio.sleep(0)
            assert len(self._subscriptions) == 2
            tasks[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]
            held.set()
            await tasks[1]
            for _ in TWICE:
                await self.ask("boss", "ps")
            assert subscriptions_in(self) == ["a"]
            self.publish("a", 1)

        async def _subscribes(self) -> None:
            await self.subscribe("a", self._take)

        def _take(self, message: Message) -> None:
            heard.append(message.body)
            self.die()

    assert _alone(Main) == 0
    assert heard == [1]


def test_on_a_loop_a_bug_of_the_callback_ends_no_subscription() -> None:
    left: list[Any] = []

    class Main(AsyncProcess):
        async def birth(self) -> None:
            async def fail(message: Message) -> None:
                raise ZeroDivisionError

            self.publish("a", 1, retain=True)
            for callback in (fail, lambda message: 1 // 0):
                with pytest.raises(ZeroDivisionError):
                    await self.subscribe("a", callback)
            for _ in TWICE:
                await self.ask("boss", "ps")
            left.extend([len(self._subscriptions), subscriptions_in(self)])
            self.die()

    assert _alone(Main) == 0
    assert left == [2, ["a"]]


def _alone(factory: type[Process]) -> int:
    """Run an application of one process on a loop, and return its status."""

    class House(Application):
        def build(self) -> None:
            self.add_process("hearing", factory, mode="asyncio", bound_shutdown=True)

    return House().run()


def _interrupt(message: Message) -> None:
    raise KeyboardInterrupt


def _interrupting(process: Process) -> Any:
    """Return a wait for a reply that is interrupted as soon as it is there."""
    wait_for = process._box.wait_for

    def wait(*asked: Any) -> Message:
        wait_for(*asked)
        raise KeyboardInterrupt

    return wait


def _interrupted(subject: str, body: Any) -> Message:
    raise KeyboardInterrupt
