"""Callbacks on threads: bounded, and what they raise is treated as everywhere."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

import pytest

from gateway.errors import CallTimeoutError, MailboxFullError, RecipientGoneError, RefusedError
from gateway.mail.filters import Callback
from gateway.mail.message import Message
from gateway.process.aio_process import AsyncProcess
from gateway.process.callback_threads import AT_ONCE, WAITING
from gateway.process.process import Process
from gateway.testing.stage import play


class Desk(Process):
    """Answers on threads, each once its letter says so."""

    go = threading.Event()
    busy = threading.Semaphore(0)

    def birth(self) -> None:
        self.add_filter(subject="^slow$", callback=self.on_slow, run="thread", id="slow")
        self.add_filter(subject="^refuse$", callback=self.on_refuse, run="thread")
        self.add_filter(subject="^bug$", callback=lambda message: 1 / 0, run="thread")
        self.add_filter(subject="^quick$", callback=lambda message: self.reply(message, "quick"))

    def on_slow(self, message: Message) -> None:
        Desk.busy.release()
        assert Desk.go.wait(20.0)
        self.reply(message, message.body)

    def on_refuse(self, message: Message) -> None:
        raise RefusedError("not on a Sunday")

    def cleanup(self, timeout: float = 20.0) -> list[str]:
        return super().cleanup(timeout)


@pytest.fixture(autouse=True)
def closed() -> None:
    Desk.go.clear()
    Desk.busy = threading.Semaphore(0)


def test_the_process_goes_on_with_its_mail_meanwhile() -> None:
    def scene(main: Process) -> list[Any]:
        slow = [main.send("desk", "slow", number) for number in range(3 * AT_ONCE)]
        quick = main.wait_for_reply(main.send("desk", "quick")).body
        Desk.go.set()
        return [quick, *(main.wait_for_reply(letter).body for letter in slow)]

    assert play(scene, desk=Desk) == ["quick", *range(3 * AT_ONCE)]


def test_a_thread_that_is_done_makes_room_for_the_next() -> None:
    def scene(main: Process) -> None:
        Desk.go.set()
        for number in range(5 * AT_ONCE):
            assert main.wait_for_reply(main.send("desk", "slow", number)).body == number

    play(scene, desk=Desk)


def test_only_so_many_run_and_wait_and_the_rest_bounces() -> None:
    def scene(main: Process) -> None:
        letters = [main.send("desk", "slow", number) for number in range(AT_ONCE)]
        for _ in letters:
            assert Desk.busy.acquire(timeout=20.0)
        letters += [main.send("desk", "slow", number) for number in range(WAITING + 1)]
        with pytest.raises(MailboxFullError, match="wait for a thread"):
            main.wait_for_reply(letters.pop())
        assert not Desk.busy.acquire(blocking=False)
        Desk.go.set()
        for letter in letters:
            main.wait_for_reply(letter)

    play(scene, desk=Desk)


def test_a_gateway_error_bounces_and_any_other_is_its_processs_death() -> None:
    def scene(main: Process) -> None:
        with pytest.raises(RefusedError, match="Sunday"):
            main.wait_for_reply(main.send("desk", "refuse"))
        assert main.wait_for_reply(main.send("desk", "quick")).body == "quick"
        with pytest.raises(RecipientGoneError):
            main.wait_for_reply(main.send("desk", "bug"), 20.0)

    play(scene, desk=Desk)


def test_what_still_waits_at_the_end_bounces() -> None:
    def scene(main: Process) -> None:
        letters = [main.send("desk", "slow", number) for number in range(AT_ONCE + 1)]
        main.wait_for_reply(main.send("desk", "quick"))
        with pytest.raises(CallTimeoutError):
            main.poison_pill("desk", timeout=0.05)
        with pytest.raises(RecipientGoneError, match="ended before it answered"):
            main.wait_for_reply(letters[-1], 20.0)
        Desk.go.set()
        for letter in letters[:-1]:
            main.wait_for_reply(letter)

    play(scene, desk=Desk)


def test_several_callbacks_of_one_filter_run_in_turn_until_one_refuses() -> None:
    def scene(main: Process) -> list[str]:
        heard: list[str] = []

        def refuse(message: Message) -> None:
            raise RefusedError("no")

        main.add_filter(
            subject="^all$",
            callback=[
                lambda message: heard.append("one"),
                lambda message: heard.append("two"),
                refuse,
                lambda message: heard.append("never"),
            ],
            kind="^letter$",
        )
        asked = main.send("main", "all")
        main.mailman()
        with pytest.raises(RefusedError):
            main.wait_for_reply(asked)
        return heard

    assert play(scene) == ["one", "two"]


def test_a_filter_tells_where_its_callback_runs_and_refuses_what_cannot_be() -> None:
    def scene(main: Process) -> None:
        main.add_filter(callback=print, run="thread")
        assert [view.run for view in main.list_filters()] == ["thread"]
        wrong: list[dict[str, Any]] = [
            {"callback": print, "run": "elsewhere"},
            {"callback": []},
            {"callback": [print, 1]},
            {"callback": "print"},
        ]
        for options in wrong:
            with pytest.raises(ValueError, match="callback"):
                main.add_filter(**options)
        assert len(main.list_filters()) == 1

    play(scene)


def test_a_filter_of_a_route_takes_what_came_over_it_and_nothing_else() -> None:
    def scene(main: Process) -> list[str]:
        taken: list[str] = []

        def taker(route: str | None) -> Callback:
            return lambda message: taken.append(f"{route}: {message.route}")

        for route in ("mqtt", "", None):
            main.add_filter(callback=taker(route), route=route)
        main.send("main", "from inside")
        for outside in ("mqtt", "mqtt2"):
            main._route = outside
            main.send("main", "from outside")
        main._route = ""
        main.mailman()
        return taken

    assert play(scene) == [": ", "None: ", "mqtt: mqtt", "None: mqtt", "None: mqtt2"]


class Turns(Process):
    """Notes in which order its callbacks were called."""

    def birth(self) -> None:
        self.heard: list[str] = []
        plain = [partial(self.note, word) for word in ("one", "two")]
        self.add_filter(subject="^plain$", callback=plain)
        self.add_filter(subject="^plain$", callback=partial(self.note, "three"))
        self.add_filter(subject="^heard$", callback=lambda asked: self.reply(asked, self.heard))

    def note(self, word: str, message: Message) -> None:
        self.heard.append(word)


class TurnsOnLoop(AsyncProcess, Turns):
    """Does so on a loop, where some of them are coroutines."""

    async def birth(self) -> None:  # type: ignore[override]  # it is awaited
        Turns.birth(self)
        mixed = [self.one, self.two, self.three, self.four]
        self.add_filter(subject="^mixed$", callback=mixed)
        self.add_filter(subject="^mixed$", callback=self.refuse)
        self.add_filter(subject="^mixed$", callback=partial(self.note, "other"))

    def one(self, message: Message) -> None:
        self.note("one", message)

    def two(self, message: Message) -> Any:
        # It cannot be told beforehand that this is to be awaited.
        return self.two_later(message)

    async def two_later(self, message: Message) -> None:
        await asyncio.sleep(0)
        self.note("two", message)

    def three(self, message: Message) -> None:
        self.note("three", message)

    async def four(self, message: Message) -> None:
        await asyncio.sleep(0)
        self.note("four", message)

    async def refuse(self, message: Message) -> None:
        self.note("refuse", message)
        raise RefusedError("no")


@pytest.mark.parametrize(
    "role", [(Turns, "thread"), (Turns, "fork"), (Turns, "asyncio"), (TurnsOnLoop, "asyncio")]
)
def test_plain_callbacks_are_called_in_the_order_of_their_filters(role: Any) -> None:
    def scene(main: Process) -> Any:
        main.send("turns", "plain")
        return main.wait_for_reply(main.send("turns", "heard")).body

    assert play(scene, turns=role) == ["one", "two", "three"]


def test_several_callbacks_are_in_turn_whichever_are_coroutines() -> None:
    def scene(main: Process) -> Any:
        with pytest.raises(RefusedError):
            main.wait_for_reply(main.send("turns", "mixed"))
        return main.wait_for_reply(main.send("turns", "heard")).body

    heard = play(scene, turns=(TurnsOnLoop, "asyncio"))
    assert heard == ["one", "other", "two", "three", "four", "refuse"]
