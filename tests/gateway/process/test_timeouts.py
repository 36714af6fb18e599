"""Whatever the time-out, a letter has arrived or an error was raised, and never both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf, nan
from time import monotonic
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.application import Application
from gateway.mail.message import Message
from gateway.process import wakeup
from gateway.process.aio_process import AsyncProcess
from gateway.process.context import Mode
from gateway.process.process import Process
from gateway.testing.stage import Echo, play, play_on_loop

ENOUGH = 1000
"""Letters for which no mailbox here has room, unless somebody reads."""

NO_TIMEOUT = [None, "5", True, inf, nan]

ADDED = {"name": "late", "process": "gateway.testing.stage:Echo"}

TIMEOUTS = st.one_of(
    st.sampled_from([*NO_TIMEOUT, -inf, 0, 1e10, 10**400]),
    st.floats(max_value=0.01, allow_nan=False),
    st.floats(min_value=1e6, allow_infinity=False),
)


class Reader(Process):
    """Reads nothing from ``hold`` on until it is told to go on."""

    def birth(self) -> None:
        self.found: list[Any] = []
        self.add_filter(subject="^hold$", callback=self.on_hold)
        self.add_filter(subject="^number$", callback=lambda m: self.found.append(m.body))
        self.add_filter(subject="^found$", callback=self.on_found)

    def on_hold(self, message: Message) -> None:
        self.wait_for_reply(self.send("main", "held"), 60.0)

    def on_found(self, message: Message) -> None:
        self.reply(message, self.found)
        self.found = []


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_what_was_raised_has_not_arrived_and_what_was_not_has(mode: Mode) -> None:
    checked: list[Any] = []

    class Main(Process):
        def birth(self) -> None:
            self.held: list[Message] = []
            self.add_filter(subject="^held$", callback=self.held.append)

            @settings(max_examples=30, deadline=None, database=None)
            @given(TIMEOUTS)
            def check(timeout: Any) -> None:
                self.check(timeout)

            try:
                check()
            finally:
                self.die()

        def check(self, timeout: Any) -> None:
            self.send("reader", "hold")
            while not self.held:
                self.mailman(timeout=5.0)
            held = self.held.pop()
            waits_long = isinstance(timeout, int | float) and 1 < timeout < inf
            if waits_long:
                self.reply(held)
            sent = []
            for number in range(ENOUGH):
                try:
                    self.send("reader", "number", number, timeout=timeout)
                except Exception:  # noqa: BLE001 - whatever it is, the letter has not arrived
                    break
                sent.append(number)
            if not waits_long:
                self.reply(held)
            found = self.wait_for_reply(self.send("reader", "found", timeout=60.0), 60.0).body
            assert found == sent
            assert (len(sent) == ENOUGH) == waits_long
            checked.append(timeout)

    class House(Application):
        def build(self) -> None:
            self.add_process("reader", Reader, mode=mode, mailbox_size=4)

    assert House(main=Main).run() == 0
    assert len(checked) >= 10


@pytest.mark.parametrize("timeout", NO_TIMEOUT)
@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_it_is_refused_where_nobody_would_wait(mode: Mode, timeout: Any) -> None:
    def scene(main: Process) -> None:
        letter = main.send("echo", "say", "hello")
        for wait in (
            lambda: main.send("echo", "say", timeout=timeout),
            lambda: main.wait_for_reply(letter, timeout),
        ):
            with pytest.raises((TypeError, ValueError), match="a timeout is a number of seconds"):
                wait()
        answered = main.send("echo", "say", "again")
        assert main.wait_for_reply(answered, 10**400).body == "again"

    play(scene, echo=(Echo, mode))


@pytest.mark.parametrize("timeout", NO_TIMEOUT)
def test_it_is_refused_on_a_loop(timeout: Any) -> None:
    said: list[str] = []

    class Main(AsyncProcess):
        async def birth(self) -> None:
            letter = self.send("echo", "say", "hello", timeout=1e10)
            said.append((await self.wait_for_reply(letter, 1e10)).body)
            with pytest.raises((TypeError, ValueError), match="a timeout is a number"):
                self.send("echo", "say", timeout=timeout)
            for wait in (self.send_patiently, self.ask):
                with pytest.raises((TypeError, ValueError), match="a timeout is a number"):
                    await wait("echo", "say", timeout=timeout)
            with pytest.raises((TypeError, ValueError), match="a timeout is a number"):
                await self.wait_for_reply(letter, timeout)
            said.append("all refused")
            self.die()

    class House(Application):
        def build(self) -> None:
            self.add_process("echo", Echo)
            self.add_process("asking", Main, mode="asyncio", bound_shutdown=True)

    assert House().run() == 0
    assert said == ["hello", "all refused"]


def words_that_wait(process: Process, timeout: Any) -> list[Callable[[], object]]:
    """Return calls that every mode has; on a loop what they return is to be awaited."""
    return [
        lambda: process.start_process("echo", timeout=timeout),
        lambda: process.stop_process("echo", timeout=timeout),
        lambda: process.restart_process("echo", timeout=timeout),
        lambda: process.poison_pill("echo", timeout=timeout),
        lambda: process.subscribe("a", print, timeout=timeout),
        lambda: process.set_log_level("", timeout=timeout),
        lambda: process.process_names(timeout=timeout),
        lambda: process.active_subprocesses(timeout=timeout),
        lambda: process.join_child_threads(timeout),
        lambda: process.cleanup(timeout),
    ]


@pytest.mark.parametrize("timeout", NO_TIMEOUT)
def test_on_a_loop_it_is_refused_before_anything_is_awaited(timeout: Any) -> None:
    async def scene(actor: AsyncProcess) -> None:
        for call in words_that_wait(actor, timeout):
            with pytest.raises((TypeError, ValueError), match="a timeout is a number of seconds"):
                call()

    play_on_loop(scene, echo=Echo)


@pytest.mark.parametrize("timeout", NO_TIMEOUT)
def test_it_is_refused_before_anything_is_done(timeout: Any) -> None:
    def scene(main: Process) -> None:
        written: list[str] = []
        tell = main._tell_boss

        def told(subject: str, body: Any) -> Message:
            written.append(subject)
            return tell(subject, body)

        main._tell_boss = told  # type: ignore[method-assign]
        main.add_locks("arm")
        for call in (
            *words_that_wait(main, timeout),
            lambda: main.open_mailbox("tap", timeout=timeout),
            lambda: main.get_locks("arm", timeout=timeout).__enter__(),
            lambda: main.mailman(timeout),
        ):
            with pytest.raises((TypeError, ValueError), match="a timeout is a number of seconds"):
                call()
        assert written == []
        assert not main._subscriptions
        assert main.wait_for_reply(main.send("echo", "say", "still here")).body == "still here"

    play(scene, echo=Echo)


@pytest.mark.parametrize("seconds", NO_TIMEOUT)
def test_so_is_a_delay_of_that_length_and_a_sleep_unless_it_ends_with_the_process(
    seconds: Any,
) -> None:
    def scene(main: Process) -> None:
        with pytest.raises((TypeError, ValueError), match="a delay is a number of seconds"):
            main.call_later(seconds, print)
        assert not main._agenda.is_busy
        if seconds == inf:
            main.die()
            assert not main.light_sleep(seconds)
        else:
            with pytest.raises((TypeError, ValueError), match="a sleep is a number of seconds"):
                main.light_sleep(seconds)

    play(scene)


def test_what_is_due_in_a_month_is_not_done_before() -> None:
    month = 30 * 86400.0
    ended: list[tuple[str, float]] = []

    class Main(Process):
        def birth(self) -> None:
            self.call_later(month, lambda: self.note("called"))

        def life(self) -> None:
            if self._clock.monotonic() >= month:
                assert self.light_sleep(month)
                self.note("slept")
                self.die()

        def note(self, what: str) -> None:
            ended.append((what, self._clock.monotonic()))

    class House(Application):
        global_frequency = 1 / 86400

    assert House(main=Main).simulate(until=3 * month).status == 0
    assert ended == [("called", month), ("slept", 2 * month)]


def test_a_sleep_may_be_longer_than_what_can_be_waited_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wakeup, "MOST", 0.001)
    flag = wakeup.Wakeup()
    began = monotonic()
    assert not flag.wait(0.05)
    assert monotonic() - began >= 0.05
    flag.close()


@pytest.mark.parametrize("mode", ["thread", "fork", "asyncio"])
def test_a_life_may_be_called_less_than_once_a_month(mode: Mode) -> None:
    def scene(main: Process) -> None:
        for _ in range(2):
            asked = main.send("rare", "say", "hello")
            assert main.wait_for_reply(asked).body == "hello"

    rare = AsyncRareEcho if mode == "asyncio" else RareEcho
    play(scene, rare=(rare, mode))


class RareEcho(Echo):
    """Has a frame every 100 days."""

    def birth(self) -> None:
        super().birth()
        self.frequency = 1e-7

    def life(self) -> None: ...


class AsyncRareEcho(AsyncProcess):
    """The like of it on a loop."""

    async def birth(self) -> None:
        self.frequency = 1e-7
        self.add_filter(subject="^say$", callback=lambda m: self.reply(m, m.body))

    async def life(self) -> None: ...


def test_one_that_is_longer_than_anybody_can_wait_is_cut_short() -> None:
    def scene(main: Process) -> None:
        called: list[str] = []
        main.call_later(1e300, print)
        main.call_later(0.01, lambda: called.append("now"))
        main.mailman(1e300)
        assert called == ["now"]
        main.call_later(0.01, main.die)
        assert main.launch_threads() == []
        main.mailman(1e300)
        assert not main.light_sleep(1e300)

    play(scene)


@pytest.mark.parametrize("timeout", NO_TIMEOUT)
def test_it_is_refused_on_a_loop_before_anything_is_done(timeout: Any) -> None:
    said: list[str] = []

    class Main(AsyncProcess):
        async def birth(self) -> None:
            self.add_locks("arm")
            for call in (
                lambda: self.start_process("echo", timeout=timeout),
                lambda: self.stop_process("echo", timeout=timeout),
                lambda: self.restart_process("echo", timeout=timeout),
                lambda: self.poison_pill("echo", timeout=timeout),
                lambda: self.subscribe("a", print, timeout=timeout),
                lambda: self.join_child_threads(timeout),
            ):
                with pytest.raises((TypeError, ValueError), match="a timeout is a number"):
                    await call()
            with pytest.raises((TypeError, ValueError), match="a timeout is a number"):
                await self.get_locks("arm", timeout=timeout).__aenter__()
            if timeout != inf:
                with pytest.raises((TypeError, ValueError), match="a sleep is a number"):
                    await self.light_sleep(timeout)
            assert not self._subscriptions
            letter = self.send("echo", "say", "still here")
            said.append((await self.wait_for_reply(letter)).body)
            self.die()

    class House(Application):
        def build(self) -> None:
            self.add_process("echo", Echo)
            self.add_process("asking", Main, mode="asyncio", bound_shutdown=True)

    assert House().run() == 0
    assert said == ["still here"]


@pytest.mark.parametrize("timeout", NO_TIMEOUT)
def test_a_result_that_nobody_would_wait_for_is_not_begun(timeout: Any) -> None:
    said: list[str] = []

    class Main(AsyncProcess):
        async def birth(self) -> None:
            await asyncio.to_thread(self.on_thread)
            self.die()

        def on_thread(self) -> None:
            with pytest.raises((TypeError, ValueError), match="a timeout is a number of seconds"):
                self.stop_process("echo").result(timeout)
            pending = self.wait_for_reply(self.send("echo", "say", "still here"))
            with pytest.raises((TypeError, ValueError), match="a timeout is a number of seconds"):
                pending.result(timeout)
            said.append(pending.result(1e10).body)

    class House(Application):
        def build(self) -> None:
            self.add_process("echo", Echo)
            self.add_process("asking", Main, mode="asyncio", bound_shutdown=True)

    assert House().run() == 0
    assert said == ["still here"]


@pytest.mark.parametrize("timeout", NO_TIMEOUT)
@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_an_application_refuses_it_before_anything_is_done(mode: Mode, timeout: Any) -> None:
    said: list[str] = []

    class Asking(Process):
        def birth(self) -> None:
            application = self.application
            assert isinstance(application, House)
            for order in (
                lambda: application.start_process("echo", timeout=timeout),
                lambda: application.stop_process("echo", timeout=timeout),
                lambda: application.restart_process("echo", timeout=timeout),
                lambda: application.statistics(timeout=timeout),
                lambda: application.add_member(ADDED, timeout=timeout),
            ):
                with pytest.raises((TypeError, ValueError), match="a timeout is a number"):
                    order()
            assert "late" not in self.process_names()
            said = self.send("echo", "say", "still here")
            self.send("main", "said", self.wait_for_reply(said).body)

    class Main(Process):
        def birth(self) -> None:
            self.add_filter(subject="^said$", callback=self.on_said)

        def on_said(self, message: Message) -> None:
            said.append(message.body)
            self.die()

    class House(Application):
        def build(self) -> None:
            self.add_process("echo", Echo)
            self.add_process("asking", Asking, mode=mode, bound_shutdown=True)

    assert House(main=Main).run() == 0
    assert said == ["still here"]
