"""Both directions at once, several APIs in one place, events, and mail that nobody handles."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.application import Application
from gateway.client import Client
from gateway.errors import UnknownApiError
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.routing.router import Router
from gateway.rpc import Api, api_of, command, later, remote, serve, tell, watch_connection
from gateway.testing.stage import play
from routes.unix_socket.router import UnixSocketRouter
from tests.lab.os_processes import until

DEADLINE = 10.0


class Twin(Process):
    """Calls its like while it is called itself."""

    call_workers = 2

    def birth(self) -> None:
        self.events = 0

    @command
    def double(self, number: int) -> int:
        """Answer while calls of one's own are under way."""
        return 2 * number

    @command
    def call(self, other: str, calls: int) -> bool:
        """Call ``other`` so often; tell whether all answers were right."""
        double = remote(self, other).double
        under_way = [later(double)(number) for number in range(calls)]
        return [each.result() for each in under_way] == [2 * n for n in range(calls)]

    @command
    def note(self) -> None:
        """Take an event."""
        self.events += 1

    @command
    def tell(self, other: str, events: int) -> None:
        """Send events to ``other``."""
        for _ in range(events):
            tell(remote(self, other).note)()

    @command
    def noted(self) -> int:
        """Return how many events came."""
        return self.events


def test_two_processes_call_each_other_at_once() -> None:
    def scene(main: Process) -> list[bool]:
        both = [
            later(remote(main, name, timeout=30).call)(other, 40)
            for name, other in (("left", "right"), ("right", "left"))
        ]
        return [each.result() for each in both]

    assert play(scene, left=(Twin, "fork"), right=(Twin, "fork")) == [True, True]


def test_events_go_both_ways() -> None:
    def scene(main: Process) -> list[int]:
        left, right = remote(main, "left"), remote(main, "right")
        left.tell("right", 30)
        right.tell("left", 20)
        counts = [0, 0]
        while counts != [20, 30]:
            counts = [left.noted(), right.noted()]
        return counts

    assert play(scene, left=(Twin, "fork"), right=(Twin, "fork")) == [20, 30]


class Lamp:
    """Some API."""

    @command
    def on(self) -> str:
        """Light it."""
        return "light"


class Horn:
    """Another."""

    @command
    def on(self) -> str:
        """Blow it."""
        return "noise"


class Car(Process):
    """Serves several APIs, and listens for what nobody handles."""

    def birth(self) -> None:
        self.unhandled: list[str] = []
        serve(self, Lamp(), "lamp")
        serve(self, Horn(), "horn", workers=1)
        self.spare = Api()
        self.spare.otherwise(lambda call: f"nobody has {call.path}")
        serve(self, self.spare, "spare")
        api_of(self).add("heard", lambda: self.unhandled)
        self.add_filter(
            callback=lambda letter: self.unhandled.append(letter.subject),
            fallthrough=True,
            kind="^letter$",
        )


def test_several_apis_are_called_in_one_place() -> None:
    def scene(main: Process) -> list[Any]:
        car = remote(main, "car")
        return [car.lamp.on(), car.horn.on(), car.spare.wheel()]

    assert play(scene, car=Car) == ["light", "noise", "nobody has spare.wheel"]


def test_mail_that_nobody_handles_is_listened_for() -> None:
    def scene(main: Process) -> Any:
        main.send("car", "what is this")
        tell(remote(main, "car").lamp.off)()
        return remote(main, "car").heard()

    assert play(scene, car=Car) == ["what is this", "lamp.off"]


def test_without_a_listener_it_is_refused_to_who_asks() -> None:
    def scene(main: Process) -> None:
        remote(main, "twin").triple(1)

    with pytest.raises(UnknownApiError, match="it has call, double, note, noted, tell"):
        play(scene, twin=Twin)


class Wire(Router):
    """A route whose medium comes and goes as it is told."""

    def start(self) -> None:
        self.add_filter(callback=self.plug, subject="^plug$", recipient="^wire$")
        self.set_connection("connected", "it is plugged in")

    def plug(self, message: Message) -> None:
        self.set_connection("connected" if message.body else "waiting", f"told {message.body}")
        self.reply(message)


def test_a_route_that_loses_its_medium_is_told_to_who_watches_what_is_behind_it() -> None:
    def scene(main: Process) -> list[bool]:
        seen: list[bool] = []
        watch = watch_connection(main, "robot@wire", lambda found: seen.append(found.is_up))
        for plugged in (False, True):
            while not seen or seen[-1] is plugged:
                main.mailman(timeout=0.1)
            main.wait_for_reply(main.send("wire", "plug", plugged))
        while len(seen) < 3:
            main.mailman(timeout=0.1)
        watch.close()
        return seen

    assert play(scene, wire=Wire) == [True, False, True]


def test_a_program_calls_hears_events_and_is_answered_at_once(tmp_path: Path) -> None:
    """Over the front door: calls and events in, publications out, of one program."""

    class Clock(Process):
        @command
        def tick(self, number: int) -> int:
            """Publish, and answer."""
            self.publish("clock/tick", number)
            return number

    heard: list[int] = []
    answers: list[int] = []
    failures: list[BaseException] = []

    class Main(Process):
        def birth(self) -> None:
            self.add_child_thread("program", self.program)

        def program(self) -> None:
            try:
                assert until((tmp_path / "gateway.sock").exists, DEADLINE)
                with Client(tmp_path / "gateway.sock") as client:
                    clock = remote(client, "clock")
                    answers.append(clock.tick(-1))
                    with client.tail("clock/#", patience=DEADLINE) as tail:
                        follower = threading.Thread(
                            target=lambda: heard.extend(next(tail).body for _ in range(40))
                        )
                        follower.start()
                        calls = [later(clock.tick)(number) for number in range(20)]
                        for number in range(20, 40):
                            tell(clock.tick)(number)
                        answers.extend(call.result() for call in calls)
                        follower.join(DEADLINE)
            except BaseException as failure:  # noqa: BLE001 - raised where the test is
                failures.append(failure)
            self.die()

    class House(Application):
        def build(self) -> None:
            self.add_process("clock", Clock, mode="fork")
            self.add_process(
                "unix_socket",
                UnixSocketRouter,
                mode="fork",
                route="unix_socket",
                parameters={"node": "lab", "sockets": str(tmp_path)},
            )

    assert House(main=Main, sockets=tmp_path).run() == 0
    if failures:
        raise failures[0]
    assert answers == [-1, *range(20)]
    assert heard == list(range(40))
