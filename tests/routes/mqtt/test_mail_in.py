"""Letters from other gateways, one by one, without bus or broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.clock import VirtualClock
from gateway.errors import MailboxFullError, RefusedError, SpoolError, remote_error
from gateway.mail.message import Message, bounce_of, reply_to
from gateway.routing.carrier import AT_ONCE, Foreign
from routes.mqtt import mail_memory
from routes.mqtt.mail_envelope import Letter, MailTopics
from routes.mqtt.mail_in import MailIn
from routes.mqtt.mail_memory import MailMemory
from routes.mqtt.mail_settings import MailRule, MailSettings
from tests.lab.sudden_death import KilledError


class World:
    """The bus and the broker around a `MailIn`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = VirtualClock()
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.brought: list[Foreign] = []
        self.taken_back: list[tuple[str, str, str]] = []
        self.timeouts: list[float] = []
        self.failure: BaseException | None = None
        self.is_cut = False
        self.memory: MailMemory | None = None

    def open(self, **settings: Any) -> MailIn:
        self.close()
        self.memory = MailMemory(self.path, self.clock.monotonic(), run="1")
        return MailIn(
            MailSettings(**{"allow": (MailRule(sender="*", to="*"),), **settings}),
            MailTopics("kitchen-pi"),
            self.memory,
            clock=self.clock,
            bus=self,
            say=self.say,
            max_payload=1000,
        )

    def close(self) -> None:
        if self.memory is not None:
            self.memory.close()

    def last(self) -> tuple[str, str]:
        """Return what was said last: its kind, and a bounce's code."""
        _, said = self.said[-1]
        return said["kind"], said.get("code", "")

    # What a `MailIn` uses

    def say(self, topic: str, payload: bytes, **options: Any) -> bool:
        self.said.append((topic, json.loads(payload)))
        return not self.is_cut

    def bring(self, letter: Foreign, *, timeout: float) -> Message:
        self.timeouts.append(timeout)
        if self.failure is not None:
            raise self.failure
        self.brought.append(letter)
        return brought(letter)

    def take_back(self, sender: str, recipient: str, id: str) -> None:
        self.taken_back.append((sender, recipient, id))


def brought(letter: Foreign) -> Message:
    return Message(
        letter.message_id, letter.thread_id, 1, 0.0, letter.sender, letter.recipient, "boil"
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "letters")
    yield world
    world.close()


def letter(id: str = "a", **fields: Any) -> Letter:
    told = {"sender": "main", "recipient": "cook", "subject": "boil", "thread": "t"}
    return Letter(id=id, **{**told, **fields})


def test_a_letter_is_brought_with_its_node_behind_its_sender_and_confirmed(world: World) -> None:
    world.open().take("living-pi", letter(ttl=5.0, index=3, time=1.5, headers={"x": "y"}))
    (found,) = world.brought
    assert (found.message_id, found.sender, found.thread_id, found.thread_index) == (
        "living-pi/a",
        "main@living-pi",
        "t",
        3,
    )
    assert (found.expires_in, found.headers) == (5.0, {"x": "y", "written": "1.500"})
    assert world.said == [
        ("gateway/living-pi/mail/kitchen-pi", {"kind": "taken", "v": 1, "to": "a"})
    ]


def test_one_that_comes_again_is_told_again_what_became_of_it(world: World) -> None:
    mail = world.open()
    mail.take("living-pi", letter("a"))
    world.failure = RefusedError("no")
    mail.take("living-pi", letter("b"))
    world.failure = None
    for _ in range(2):
        mail.take("living-pi", letter("a"))
        assert world.last() == ("taken", "")
        mail.take("living-pi", letter("b"))
        assert world.last() == ("bounce", "refused")
        mail = world.open()
    assert [each.message_id for each in world.brought] == ["living-pi/a"]


def test_two_gateways_may_use_one_id(world: World) -> None:
    mail = world.open()
    for node in ("living-pi", "attic-pi"):
        mail.take(node, letter("a"))
    assert [each.message_id for each in world.brought] == ["living-pi/a", "attic-pi/a"]


def test_one_over_which_the_route_was_killed_is_in_doubt_and_not_delivered_again(
    world: World,
) -> None:
    mail = world.open()
    world.failure = KilledError()
    with pytest.raises(KilledError):
        mail.take("living-pi", letter("a"))
    world.failure = None
    world.open().take("living-pi", letter("a"))
    assert (world.last(), world.brought) == (("bounce", "timeout"), [])


def test_who_is_not_allowed_fills_no_memory(world: World) -> None:
    mail = world.open(allow=(MailRule(sender="*@attic-pi", to="*"),))
    mail.take("living-pi", letter("a"))
    assert world.last() == ("bounce", "refused")
    assert world.memory is not None
    assert world.memory.begin("living-pi/a", 1.0) is None


def test_what_could_not_be_known_again_is_put_off_without_an_answer(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mail_memory, "MOST", 2)
    mail = world.open()
    for id in "abcd":
        mail.take("living-pi", letter(id))
    assert len(world.brought) == len(world.said) == 2
    assert mail.statistics() == {"delivered": 2, "put_off": 2}
    assert caplog.text.count("put off") == 1


def test_what_was_delivered_is_confirmed_though_that_cannot_be_noted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = world.open()

    def end(id: str, outcome: bytes) -> None:
        raise SpoolError("the memory is full")

    assert world.memory is not None
    monkeypatch.setattr(world.memory, "end", end)
    with pytest.raises(SpoolError):
        mail.take("living-pi", letter("a"))
    assert (world.last(), len(world.brought)) == (("taken", ""), 1)


def test_who_reads_nothing_holds_up_the_others_once_a_second(world: World) -> None:
    mail = world.open()
    world.failure = MailboxFullError("full")
    for id in "abc":
        mail.take("living-pi", letter(id))
    mail.take("living-pi", letter("d", recipient="other"))
    world.clock.now += 1.5
    mail.take("living-pi", letter("e"))
    assert world.timeouts == [AT_ONCE, 0.0, 0.0, AT_ONCE, AT_ONCE]


def test_answers_go_to_the_node_that_asked(world: World) -> None:
    mail = world.open()
    mail.take("living-pi", letter("a"))
    asked = brought(world.brought[0])
    mail.answer(reply_to(asked, "r", 0.0, {"x": b"y"}))
    assert world.said[-1] == (
        "gateway/living-pi/mail/kitchen-pi",
        {
            "kind": "reply",
            "v": 1,
            "to": "a",
            "id": "r",
            "subject": "boil",
            "body": {"x": {"$bytes": "eQ=="}},
        },
    )
    mail.answer(bounce_of(asked, "b", 0.0, RefusedError("half \ud800")))
    assert world.said[-1][1]["reason"] == "half \\ud800"


@pytest.mark.parametrize("body", [float("nan"), "x" * 2000])
def test_an_answer_that_cannot_travel_is_a_bounce(world: World, body: Any) -> None:
    mail = world.open()
    mail.take("living-pi", letter("a"))
    mail.answer(reply_to(brought(world.brought[0]), "r", 0.0, body))
    assert world.last() == ("bounce", "bad_body")


@pytest.mark.parametrize("id", ["", "a", "attic-pi/a", "living-pi/"])
def test_an_answer_to_what_did_not_come_from_there_is_dropped(world: World, id: str) -> None:
    mail = world.open()
    asked = Message(id, "t", 1, 0.0, "main@living-pi", "cook", "boil")
    mail.answer(reply_to(asked, "r", 0.0, None))
    assert (world.said, mail.statistics()) == ([], {"unasked": 1})


def test_an_answer_that_finds_no_session_is_counted(world: World) -> None:
    mail = world.open()
    world.is_cut = True
    mail.take("living-pi", letter("a"))
    assert mail.statistics()["answers_lost"] == 1


SCAN_ONLY = (MailRule(sender="main@living-pi", to="robot", subject="scan"),)


def scan(id: str = "a") -> Letter:
    return letter(id, recipient="robot", subject="scan")


def pull(id: str, stream: str, **fields: Any) -> Letter:
    body = {"stream": stream, "most": 2}
    return letter(id, **{"recipient": "robot", "subject": "$next", "body": body, **fields})


def cancel(id: str, called: str, **fields: Any) -> Letter:
    return letter(id, **{"recipient": "robot", "subject": "$cancel", "body": called, **fields})


def answer_stream(mail: MailIn, asked: Foreign, stream: str, *, more: bool) -> None:
    body = {"stream": stream, "parts": [1], "more": more}
    mail.answer(reply_to(brought(asked), "9", 0.0, body, subject="$stream"))


def test_who_may_call_may_read_what_comes_of_it_and_take_it_back(world: World) -> None:
    mail = world.open(allow=SCAN_ONLY)
    mail.take("living-pi", scan())
    answer_stream(mail, world.brought[0], "living-pi/a", more=True)
    mail.take("living-pi", pull("b", "living-pi/a"))
    assert world.last() == ("taken", "")
    mail.take("living-pi", cancel("c", "living-pi/a"))
    assert world.last() == ("taken", "")
    assert world.taken_back == [("main@living-pi", "robot", "living-pi/a")]


def test_a_call_is_taken_back_by_the_id_that_it_has_at_its_writer(world: World) -> None:
    mail = world.open(allow=SCAN_ONLY)
    mail.take("living-pi", scan("3f-7"))
    mail.take("living-pi", cancel("c", "3f-7"))
    assert world.taken_back == [("main@living-pi", "robot", "living-pi/3f-7")]


@pytest.mark.parametrize(
    ("node", "fields"),
    [
        ("attic-pi", {}),
        ("living-pi", {"sender": "other"}),
        ("living-pi", {"recipient": "wheels"}),
    ],
)
def test_what_another_has_called_is_neither_read_nor_taken_back(
    world: World, node: str, fields: dict[str, Any]
) -> None:
    mail = world.open()
    mail.take("living-pi", scan())
    for about in (pull("b", "living-pi/a", **fields), cancel("c", "living-pi/a", **fields)):
        mail.take(node, about)
        assert world.last() == ("bounce", "refused")
    assert world.taken_back == []
    assert len(world.brought) == 1


@pytest.mark.parametrize("more", [False, None])
def test_what_has_its_answer_can_be_asked_about_no_more(world: World, more: bool | None) -> None:
    mail = world.open()
    mail.take("living-pi", scan())
    if more is None:
        mail.answer(reply_to(brought(world.brought[0]), "9", 0.0, "done"))
    else:
        answer_stream(mail, world.brought[0], "living-pi/a", more=True)
        mail.take("living-pi", pull("b", "living-pi/a"))
        answer_stream(mail, world.brought[1], "living-pi/a", more=more)
    mail.take("living-pi", cancel("c", "living-pi/a"))
    assert world.last() == ("bounce", "refused")


@pytest.mark.parametrize("body", [None, 5, {"stream": 5}, {}, ["a"]])
def test_what_names_no_call_is_refused(world: World, body: Any) -> None:
    mail = world.open()
    for subject in ("$next", "$cancel"):
        mail.take("living-pi", letter("b", recipient="robot", subject=subject, body=body))
        assert world.last() == ("bounce", "refused")


def test_what_was_raised_crosses_with_its_type(world: World) -> None:
    mail = world.open()
    mail.take("living-pi", scan())
    asked = msgspec.structs.replace(brought(world.brought[0]), route="mqtt")
    bug = remote_error("ZeroDivisionError", "the egg is broken", "line 7")
    mail.answer(bounce_of(asked, "9", 0.0, bug))
    _, said = world.said[-1]
    assert said == {
        "kind": "bounce",
        "v": 1,
        "to": "a",
        "code": "remote",
        "reason": "the egg is broken",
        "type": "ZeroDivisionError",
    }
