"""Who carries mail between gateways: what the bus hands it, and what it may bring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.application import Application
from gateway.errors import AddressError, GatewayError, LinkLostError, RefusedError
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.routing.carrier import Carrier, Foreign


class Pigeons(Carrier):
    """Carries mail to the node `attic` in its memory, and brings what it is told to."""

    def start(self) -> None:
        self.answers: list[tuple[str, Any]] = []
        self.add_filter(subject="^bring$", recipient="^[^@]+$", callback=self.on_bring)
        self.add_filter(subject="^told$", recipient="^[^@]+$", callback=self.on_told)
        self.add_filter(subject="^carry$", recipient="^[^@]+$", callback=self.on_carry)
        if self.name == "pigeons":
            self.carry(self.on_letter, self.on_answer)

    def on_carry(self, message: Message) -> None:
        self.carry(self.on_letter, self.on_answer)
        self.reply(message)

    def on_letter(self, message: Message) -> None:
        if not message.recipient.endswith("@attic"):
            raise AddressError(f"no pigeon flies to {message.recipient}")
        if message.subject == "lost":
            self.bring_bounce(message, {"code": "link_lost", "reason": "a hawk"})
        else:
            self.bring_answer(message, "attic/1", "flown", [message.recipient, message.body])

    def on_answer(self, message: Message) -> None:
        self.answers.append((message.kind, message.body))

    def on_bring(self, message: Message) -> None:
        self.bring(Foreign(message_id="attic/1", thread_id="t", thread_index=3, **message.body))
        self.reply(message)

    def on_told(self, message: Message) -> None:
        self.reply(message, [list(each) for each in self.answers])


class Owl(Process):
    """Answers, or refuses."""

    def birth(self) -> None:
        self.add_filter(kind="^letter$", callback=self.on_letter)

    def on_letter(self, message: Message) -> None:
        if message.subject == "refuse":
            raise RefusedError("it is day")
        self.reply(message, [message.sender, message.route, message.thread_id])


class Main(Process):
    """Runs the test's scene."""

    def birth(self) -> None:
        # Until the carrier lives, and everybody knows.
        self.wait_until_carried()
        self.application.scene(self)
        self.die()

    def wait_until_carried(self) -> None:
        while not self._reaches():
            assert self.light_sleep(0.01)

    def _reaches(self) -> bool:
        try:
            self.ask("owl@attic", "hello")
        except AddressError:
            return False
        return True

    def ask(self, to: str, subject: str, body: Any = None) -> Message:
        return self.wait_for_reply(self.send(to, subject, body), 20.0)


class House(Application):
    """Pigeons, others who carry nothing, and an owl."""

    def __init__(self, folder: Path, mode: Any, scene: Any) -> None:
        super().__init__(main=Main, sockets=folder)
        self.mode, self.scene = mode, scene

    def build(self) -> None:
        for name in ("pigeons", "doves"):
            parameters = {"node": "tower"}
            self.add_process(name, Pigeons, mode=self.mode, route=name, parameters=parameters)
        self.add_process("owl", Owl, mode=self.mode)


@pytest.fixture(params=["thread", "fork"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Run a scene in an application of its own; what it raises fails the test."""

    def run(scene: Any) -> None:
        assert House(tmp_path / "run", request.param, scene).run() == 0

    return run


def test_letters_for_nodes_go_to_the_carrier_and_are_answered(play: Any) -> None:
    def scene(main: Main) -> None:
        reply = main.ask("owl@attic", "hello", 5)
        assert reply.body == ["owl@attic", 5]
        assert (reply.sender, reply.route, reply.subject) == ("owl@attic", "pigeons", "flown")
        with pytest.raises(LinkLostError, match="a hawk"):
            main.ask("owl@attic", "lost")
        with pytest.raises(AddressError, match="no pigeon flies to owl@cellar"):
            main.ask("owl@cellar", "hello")
        with pytest.raises(AddressError, match="nobody here is called 'owll'"):
            main.send("owll", "hello")
        # What is asked of a node is not answered by who carries it there.
        assert main.ask("owl@attic", "$statistics").body == ["owl@attic", None]

    play(scene)


def test_what_is_brought_bears_the_route_and_its_answer_finds_back(play: Any) -> None:
    def scene(main: Main) -> None:
        for subject in ("hello", "refuse"):
            body = {"sender": "bat@attic", "recipient": "owl", "subject": subject}
            main.ask("pigeons", "bring", body)
        wanted = [
            ["reply", ["bat@attic", "pigeons", "t"]],
            ["bounce", {"code": "refused", "reason": "it is day"}],
        ]
        while main.ask("pigeons", "told").body != wanted:
            assert main.light_sleep(0.01)

    play(scene)


@pytest.mark.parametrize(
    ("sender", "recipient", "why"),
    [
        ("owl", "owl", "would look local"),
        ("bat@owl", "owl", "would look local"),
        ("bat@tower", "owl", "would look local"),
        ("bat@attic", "owl@cellar", "passes no mail on"),
        ("bat@attic", "nobody", "nobody here is called 'nobody'"),
    ],
)
def test_nothing_is_brought_that_looks_local_or_is_for_a_third(
    play: Any, sender: str, recipient: str, why: str
) -> None:
    def scene(main: Main) -> None:
        body = {"sender": sender, "recipient": recipient, "subject": "hello"}
        with pytest.raises(GatewayError, match=why):
            main.ask("pigeons", "bring", body)

    play(scene)


def test_there_is_one_carrier_and_another_once_it_has_gone(play: Any) -> None:
    def scene(main: Main) -> None:
        with pytest.raises(RefusedError, match="'pigeons' carries the mail between gateways"):
            main.ask("doves", "carry")
        main.stop_process("pigeons")
        with pytest.raises(AddressError, match="nobody here is called 'attic'"):
            main.send("owl@attic", "hello")
        main.ask("doves", "carry")
        main.wait_until_carried()
        assert main.ask("owl@attic", "hello").route == "doves"

    play(scene)
