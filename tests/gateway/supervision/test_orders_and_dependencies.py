"""A start brings up what a process depends on, whatever became of that."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest

from gateway.application import Application
from gateway.errors import RefusedError
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.supervision.restart import RestartPolicy
from gateway.testing.stage import Echo, play_in

SOON = RestartPolicy(first=0.01, ceiling=0.01, most=1000)


class Fragile(Process):
    """Fails when it is told to."""

    def birth(self) -> None:
        self.add_filter(subject="^fail$", callback=self.on_fail)

    def on_fail(self, message: Message) -> None:
        raise ZeroDivisionError


def until(main: Process, name: str, state: str) -> None:
    """Wait until the process ``name`` has been in ``state``."""
    seen: list[str] = []
    main.subscribe(f"processes/{name}/state", lambda m: seen.append(m.body["state"]))
    while state not in seen:
        assert main.mailman(20.0), seen
    main.unsubscribe(f"processes/{name}/state")


@pytest.mark.parametrize("verb", ["start", "restart"])
@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_one_that_waits_is_started_with_what_it_waits_for(mode: Any, verb: str) -> None:
    def build(house: Application) -> None:
        house.add_process("power", Echo, mode=mode, autostart=False)
        house.add_process("wheels", Echo, mode=mode, depends=["power"])
        house.add_process("patrol", Echo, mode=mode, depends=["wheels"])

    def scene(main: Process) -> None:
        until(main, "patrol", "waiting")
        getattr(main, f"{verb}_process")("patrol")
        assert main.recipients() == ["boss", "main", "patrol", "power", "wheels"]
        assert main.application.statistics()["orders_open"] == 0

    play_in(build, scene)


def test_one_that_failed_while_what_it_needs_was_away_is_started_with_it() -> None:
    def build(house: Application) -> None:
        house.add_process("base", Echo)
        house.add_process("arm", Fragile, depends=["base"], restart=SOON)

    def scene(main: Process) -> None:
        main.start_process("arm")
        main.stop_process("base")
        main.send("arm", "fail")
        until(main, "arm", "waiting")
        main.start_process("arm")
        assert "base" in main.recipients()

    play_in(build, scene)


def test_what_is_needed_and_failed_for_good_is_started_again() -> None:
    def build(house: Application) -> None:
        house.add_process("base", Fragile, restart=RestartPolicy("temporary"))
        house.add_process("arm", Echo, depends=["base"], autostart=False)

    def scene(main: Process) -> None:
        main.start_process("base")
        main.send("base", "fail")
        until(main, "base", "failed")
        main.start_process("arm")
        assert "base" in main.recipients()

    play_in(build, scene)


def test_a_restart_brings_up_what_is_needed_as_well() -> None:
    def build(house: Application) -> None:
        house.add_process("base", Echo)
        house.add_process("arm", Echo, depends=["base"])

    def scene(main: Process) -> None:
        main.start_process("arm")
        main.stop_process("base")
        main.restart_process("arm")
        assert "base" in main.recipients()

    play_in(build, scene)


class Slow(Process):
    """Its death takes until it is let go."""

    dying = Event()
    release = Event()

    def death(self) -> None:
        self.dying.set()
        self.release.wait(20.0)


@pytest.mark.parametrize("slow", ["base", "arm"])
def test_whoever_ends_just_then_comes_up_again(slow: str) -> None:
    Slow.dying.clear()
    Slow.release.clear()

    def build(house: Application) -> None:
        house.add_process("base", Slow if slow == "base" else Echo)
        house.add_process("arm", Slow if slow == "arm" else Echo, depends=["base"])

    def scene(main: Process) -> None:
        main.start_process("arm")
        main.stop_process("arm" if slow == "base" else "base")
        main._tell_boss("stop", slow)
        assert Slow.dying.wait(20.0)
        started = main._tell_boss("start", "arm")
        Slow.release.set()
        main.wait_for_reply(started, 20.0)
        assert main.recipients() == ["arm", "base", "boss", "main"]

    play_in(build, scene)


class Broken(Process):
    """Cannot be born."""

    def birth(self) -> None:
        raise ZeroDivisionError("in birth")


def test_who_waits_for_one_that_cannot_live_is_told_so() -> None:
    def build(house: Application) -> None:
        house.add_process("base", Broken, autostart=False, restart=RestartPolicy("temporary"))
        house.add_process("arm", Echo, depends=["base"])

    def scene(main: Process) -> None:
        words = "'arm' waits for 'base', which does not live: ZeroDivisionError: in birth"
        with pytest.raises(RefusedError, match=words):
            main.start_process("arm")
        assert main.application.statistics()["orders_open"] == 0

    play_in(build, scene)


class Unborn(Process):
    """Its birth takes until it is let go."""

    release = Event()

    def birth(self) -> None:
        self.release.wait(20.0)


def test_who_waits_for_one_that_is_stopped_is_told_so() -> None:
    Unborn.release.clear()

    def build(house: Application) -> None:
        house.add_process("base", Unborn)
        house.add_process("arm", Echo, depends=["base"])

    def scene(main: Process) -> None:
        started = main._tell_boss("start", "arm")
        stopped = main._tell_boss("stop", "base")
        Unborn.release.set()
        main.wait_for_reply(stopped, 20.0)
        with pytest.raises(RefusedError, match="waits for 'base', which does not live"):
            main.wait_for_reply(started, 20.0)

    play_in(build, scene)
