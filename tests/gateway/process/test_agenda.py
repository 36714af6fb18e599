"""What a process is to do on its own thread: soon, or at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import Application, AsyncProcess, Message, Process
from gateway.process.agenda import Agenda
from gateway.testing.stage import play

TIMES = st.integers(0, 20).map(float)


def taken(agenda: Agenda, now: float) -> list[Any]:
    return [callback() for callback in iter(lambda: agenda.take(now), None)]


@given(st.lists(st.tuples(TIMES, st.booleans())), TIMES)
def test_what_is_due_is_taken_in_order_and_nothing_that_was_cancelled(
    alarms: list[tuple[float, bool]], now: float
) -> None:
    agenda = Agenda()
    for number, (when, cancelled) in enumerate(alarms):
        alarm = agenda.add(when, partial(tuple, (when, number)))
        if cancelled:
            alarm.cancel()
            alarm.cancel()
    wanted = sorted((when, n) for n, (when, cancelled) in enumerate(alarms) if not cancelled)
    assert taken(agenda, now) == [told for told in wanted if told[0] <= now]
    later = [when for when, _ in wanted if when > now]
    assert agenda.left(now) == (min(later) - now if later else None)
    assert len(agenda) == len(later)


def test_what_is_to_be_done_soon_goes_first() -> None:
    agenda = Agenda()
    agenda.add(1.0, lambda: "at a time")
    agenda.add_soon(lambda: "soon")
    assert agenda.left(0.0) == 0.0
    assert taken(agenda, 5.0) == ["soon", "at a time"]
    assert not agenda.is_busy
    agenda.add_soon(list)
    assert agenda.is_busy


def test_many_cancelled_alarms_are_thrown_out() -> None:
    agenda = Agenda()
    kept = agenda.add(1e9, print)
    for number in range(10_000):
        agenda.add(1e9 + number, print).cancel()
    assert len(agenda._alarms) < 200
    assert len(agenda) == 1
    kept.cancel()
    assert agenda.left(0.0) is None


def until(process: Process, wanted: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not wanted() and time.monotonic() < deadline:
        process.mailman(timeout=0.5)


def test_another_threads_callback_is_called_on_the_processs_own_at_once() -> None:
    def scene(main: Process) -> tuple[bool, bool]:
        called: list[int] = []
        thread = threading.Timer(
            0.05, lambda: main.call_soon(lambda: called.append(threading.get_ident()))
        )
        thread.start()
        began = time.monotonic()
        main.mailman(timeout=50.0)
        thread.join()
        return called == [threading.get_ident()], time.monotonic() - began < 25.0

    assert play(scene) == (True, True)


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_an_alarm_is_heard_between_letters_and_frames(mode: Any) -> None:
    class Sleeper(Process):
        def birth(self) -> None:
            self.call_later(0.05, lambda: self.publish("rang", "late", retain=True))
            self.call_later(60.0, lambda: self.publish("rang", "never", retain=True))

    def scene(main: Process) -> list[Any]:
        heard: list[Any] = []
        main.subscribe("rang", lambda message: heard.append(message.body))
        until(main, lambda: bool(heard))
        return heard

    assert play(scene, sleeper=(Sleeper, mode)) == ["late"]


def test_an_asyncio_process_has_an_agenda_as_well() -> None:
    class Sleeper(AsyncProcess):
        async def birth(self) -> None:
            self.call_later(0.05, lambda: self.publish("rang", 1, retain=True))
            self.add_child_task("soon", self.ring_soon())

        async def ring_soon(self) -> None:
            await self.light_sleep(0.1)
            # Whoever reads the mail sleeps by now, on this very thread.
            self.call_soon(lambda: self.publish("rang too", 2, retain=True))

    def scene(main: Process) -> list[Any]:
        heard: list[Any] = []
        for topic in ("rang", "rang too"):
            main.subscribe(topic, lambda message: heard.append(message.body))
        until(main, lambda: len(heard) == 2)
        return sorted(heard)

    assert play(scene, sleeper=(Sleeper, "asyncio")) == [1, 2]


def test_what_a_callback_raises_is_a_bug_of_its_process() -> None:
    class Clumsy(Process):
        def birth(self) -> None:
            self.call_soon(lambda: 1 / 0)

        def death(self) -> None:
            self.publish("died", True, retain=True)

    def scene(main: Process) -> list[Any]:
        heard: list[Any] = []
        main.subscribe("died", lambda message: heard.append(message.body))
        until(main, lambda: bool(heard))
        return heard[:1]

    assert play(scene, clumsy=Clumsy) == [True]


def test_an_alarm_rings_in_virtual_time() -> None:
    class Sleeper(Process):
        def birth(self) -> None:
            now = self._clock.monotonic
            began = now()
            for hours in (1, 2):
                self.call_later(3600.0 * hours, lambda: rang.append(now() - began))

    rang: list[float] = []

    class Day(Application):
        def build(self) -> None:
            self.add_process("sleeper", Sleeper)

    Day().simulate(until=3600.0 * 3, seed=1)
    assert rang == [3600.0, 7200.0]


def test_what_control_mail_has_done_soon_is_done_although_its_reader_sleeps() -> None:
    class Sleeper(Process):
        def birth(self) -> None:
            self._box.obey_also(self.on_control)
            self.publish("born", True, retain=True)

        def on_control(self, message: Message) -> bool:
            if message.subject != "ring":
                return False
            # Read by the process's own thread, from within its sleep.
            self.call_soon(lambda: self.publish("rang", True, retain=True))
            return True

    def scene(main: Process) -> list[Any]:
        heard: list[str] = []
        for topic in ("born", "rang"):
            main.subscribe(topic, lambda message: heard.append(message.subject))
        until(main, lambda: bool(heard))
        main.light_sleep(0.1)
        main.send_control("sleeper", "ring")
        until(main, lambda: "rang" in heard)
        return heard

    assert play(scene, sleeper=(Sleeper, "fork")) == ["born", "rang"]


def test_to_look_costs_the_same_however_many_alarms_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def scene(main: Process) -> None:
        for _ in range(100):
            main.call_later(3600, print)
        # To count them all is to go through them, at every letter.
        monkeypatch.setattr(Agenda, "__len__", lambda agenda: pytest.fail("all are counted"))
        main.mailman()

    play(scene)
