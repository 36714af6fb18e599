"""What every router shares: its state, its way out, its door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.application import Application
from gateway.errors import RefusedError, UnknownApiError
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.routing.access import Rule
from gateway.routing.router import Router
from gateway.supervision.restart import RestartPolicy


class Settings(msgspec.Struct, frozen=True):
    """The settings of `Wire`."""

    allow: tuple[Rule, ...] = ()


class Wire(Router):
    """A router whose medium is a list."""

    Settings = Settings

    def start(self) -> None:
        self.carried: list[str] = []
        self.set_connection("connected", "the wire is plugged in")
        self.add_filter(subject="^bring in$", recipient="^wire$", callback=self.bring_in)

    def outbound(self, message: Message) -> None:
        self.carried.append(message.subject)
        self.reply(message, self.carried)

    def bring_in(self, message: Message) -> None:
        to, subject = message.body
        answer = self.wait_for_reply(self.admit(to, subject, {"from": "outside"}))
        self.reply(message, [answer.body, self.inbound_refused])


class Quiet(Router):
    """A router that carries nothing out."""


class Main(Process):
    """Plays the scene, keeps what went wrong."""

    def birth(self) -> None:
        self.failure: BaseException | None = None
        self.add_filter(subject="^led$", callback=self.on_led)

    def on_led(self, message: Message) -> None:
        self.reply(message, [message.sender, message.route, message.receipt])


def play(tmp_path: Path, scene: Any) -> None:
    failures: list[BaseException] = []

    class Player(Main):
        def life(self) -> None:
            try:
                scene(self)
            except BaseException as failure:  # noqa: BLE001 - raised where the test is
                failures.append(failure)
            self.die()

    class App(Application):
        global_frequency = 50.0

        def build(self) -> None:
            settings = Settings((Rule(to="inside", subject="led"),))
            parameters = {"settings": settings, "node": "here"}
            self.add_process("wire", Wire, mode="fork", route="wire", parameters=parameters)
            self.add_process("quiet", Quiet, restart=RestartPolicy("temporary"))
            self.add_process("inside", Main)

    assert App(main=Player, sockets=tmp_path / "s").run() == 0
    if failures:
        raise failures[0]


def test_mail_goes_out_and_is_answered(tmp_path: Path) -> None:
    def scene(main: Process) -> None:
        answer = main.wait_for_reply(main.send("plant/soil@wire", "water"))
        assert answer.body == ["water"]
        with pytest.raises(RefusedError, match="nothing goes out"):
            main.wait_for_reply(main.send("anything@quiet", "x"))

    play(tmp_path, scene)


def test_what_only_an_api_understands_does_not_go_out(tmp_path: Path) -> None:
    def scene(main: Process) -> None:
        for subject in ("$api", "$next", "$cancel"):
            with pytest.raises(UnknownApiError, match="is no API"):
                main.wait_for_reply(main.send("plant/soil@wire", subject))
        assert main.wait_for_reply(main.send("plant/soil@wire", "water")).body == ["water"]

    play(tmp_path, scene)


def test_what_comes_in_bears_the_route_and_nothing_else_enters(tmp_path: Path) -> None:
    def scene(main: Process) -> None:
        asked = main.send("wire", "bring in", ["inside", "led"])
        assert main.wait_for_reply(asked).body == [["wire", "wire", True], 0]
        for to, subject in (("inside", "reset"), ("boss", "ps"), ("main", "led")):
            with pytest.raises(RefusedError, match=r"allow it under \[routes.wire\]"):
                main.wait_for_reply(main.send("wire", "bring in", [to, subject]))
        told = main.wait_for_reply(main.send("wire", "$statistics")).body
        assert told["inbound_refused"] == 3
        assert told["connection"] == "connected"

    play(tmp_path, scene)


def test_the_state_of_the_route_is_retained(tmp_path: Path) -> None:
    def scene(main: Process) -> None:
        main.wait_for_reply(main.send("x@wire", "wait until it lives"))
        states: list[dict[str, Any]] = []
        main.subscribe("routes/wire/state", lambda m: states.append(m.body))
        # The router's word to the boss and ours go different ways: ours may be
        # there first, and then the value follows the snapshot.
        for _ in range(50):
            if states and states[-1]["state"] == "connected":
                break
            main.mailman(0.1)
        assert states[-1]["state"] == "connected"
        assert states[-1]["cause"] == "the wire is plugged in"
        assert states[-1]["since"] > 1e9

    play(tmp_path, scene)
