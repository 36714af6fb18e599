"""Who unsubscribes hears nothing more, and the boss forgets the subscription with the last one."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.application import Application
from gateway.errors import BodyError, CallTimeoutError, MailboxFullError
from gateway.mail.message import Message
from gateway.process.aio_process import AsyncProcess
from gateway.process.process import Process
from gateway.testing.stage import play


def subscriptions(main: Process) -> list[str]:
    """Return the patterns of main that stand in the book, once the boss has heard it all."""
    main.wait_for_reply(main.send("boss", "ps"))
    return [known.pattern for known in main._office.book.subscriptions if known.mailbox == "main"]


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


def _interrupted(subject: str, body: Any) -> Message:
    raise KeyboardInterrupt
