"""Letters on their way out, second by second, without bus or broker."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import VirtualClock
from gateway.errors import (
    AddressError,
    LinkLostError,
    MailboxFullError,
    RecipientGoneError,
    SpoolError,
)
from gateway.mail.message import Message
from gateway.routing.carrier import AT_ONCE
from routes.mqtt.incoming import Incoming
from routes.mqtt.mail_envelope import Bounce, MailTopics, Reply, Taken
from routes.mqtt.mail_memory import MailMemory
from routes.mqtt.mail_nodes import Nodes
from routes.mqtt.mail_out import ANSWERED, IN_FLIGHT, SETTLED, MailOut
from routes.mqtt.mail_settings import MailSettings, PeerSettings


class World:
    """The bus, the broker and the time around a `MailOut`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = VirtualClock()
        self.nodes = Nodes("living-pi", lambda: None)
        self.since: float | None = -100.0
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.lasts: list[float] = []
        self.answers: list[tuple[str, Any]] = []
        self.bounces: list[tuple[str, str]] = []
        self.is_gone = self.is_full = False
        self.timeouts: list[float] = []
        self.memory: MailMemory | None = None
        self.run = "1"

    def open(self, **settings: Any) -> MailOut:
        """Make one, anew where there was one before."""
        self.close()
        self.nodes.news()
        self.memory = MailMemory(self.path, self.clock.monotonic(), run=self.run)
        return MailOut(
            MailSettings(**settings),
            MailTopics("living-pi"),
            self.memory,
            self.nodes,
            clock=self.clock,
            bus=self,
            broker=self,
            say=self.say,
            max_payload=10_000,
        )

    def close(self) -> None:
        if self.memory is not None:
            self.memory.close()

    def tell(self, node: str, *, online: bool = True, since: float = 1.0) -> None:
        payload = json.dumps({"online": online, "cause": "so it was told", "since": since})
        self.nodes.hear(Incoming(f"gateway/{node}/status", payload.encode()))

    def step(self, out: MailOut, seconds: float) -> None:
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + 0.1)
            out.turn()

    def published(self) -> list[str]:
        found = [body["id"] for _, body in self.said]
        self.said.clear()
        return found

    # What a `MailOut` uses

    def connected_since(self) -> float | None:
        return self.since

    def cause(self) -> str:
        return "the cable is out"

    def hint(self, name: str) -> str:
        return ": did you mean 'serial'?" if name == "seriall" else ""

    def say(self, topic: str, payload: bytes, **options: Any) -> bool:
        assert (options["qos"], options["urgent"], len(options)) == (1, True, 3)
        self.lasts.append(options["properties"].expires_in)
        self.said.append((topic, json.loads(payload)))
        return True

    def bring_answer(
        self, asked: Message, message_id: str, subject: str, body: Any, *, timeout: float
    ) -> Message:
        self._fail(timeout)
        self.answers.append((asked.message_id, body))
        return asked

    def bring_bounce(self, asked: Message, bounce: dict[str, str], *, timeout: float) -> Message:
        self._fail(timeout)
        self.bounces.append((asked.message_id, bounce["code"]))
        return asked

    def _fail(self, timeout: float) -> None:
        self.timeouts.append(timeout)
        if self.is_gone:
            raise RecipientGoneError("main is gone")
        if self.is_full:
            raise MailboxFullError("main reads nothing")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "letters")
    world.tell("kitchen-pi")
    yield world
    world.close()


SPOOL = {"kitchen-pi": PeerSettings(offline="spool")}


def letter(world: World, id: str, to: str = "cook@kitchen-pi", **fields: Any) -> Message:
    return Message(id, id, 1, world.clock.time(), "main", to, "boil", **fields)


def test_a_letter_is_repeated_ever_more_rarely_and_given_up_in_doubt(world: World) -> None:
    out = world.open()
    out.carry(letter(world, "a"))
    moments = []
    for _ in range(250):
        if world.published():
            moments.append(round(world.clock.now))
        world.step(out, 0.1)
    assert moments == [0, 1, 3, 7, 15]
    assert world.bounces == [("a", "timeout")]
    assert not out.is_busy


def test_a_letter_that_is_confirmed_is_not_repeated_and_awaits_its_answer(world: World) -> None:
    out = world.open()
    out.carry(letter(world, "a"))
    out.on_taken("kitchen-pi", Taken(to="a"))
    world.step(out, 30.0)
    assert (world.published(), out.is_busy) == (["a"], False)
    out.on_answer("kitchen-pi", Reply(to="a", id="r", subject="x", body=5))
    out.on_answer("kitchen-pi", Reply(to="a", id="r", subject="x", body=5))
    assert world.answers == [("a", 5)]
    assert out.statistics()["unasked"] == 1


def test_nobody_but_the_node_itself_confirms_or_answers(world: World) -> None:
    out = world.open()
    out.carry(letter(world, "a"))
    out.on_taken("attic-pi", Taken(to="a"))
    out.on_answer("attic-pi", Reply(to="a", id="r", subject="x"))
    out.on_answer("attic-pi", Bounce(to="a", code="refused", reason="x"))
    assert (world.answers, world.bounces, out.is_busy) == ([], [], True)


def test_an_answer_that_comes_before_the_confirmation_is_both(world: World) -> None:
    out = world.open()
    out.carry(letter(world, "a"))
    out.on_answer("kitchen-pi", Bounce(to="a", code="refused", reason="x"))
    assert (world.bounces, out.is_busy) == ([("a", "refused")], False)


def test_a_letter_that_nobody_answers_is_forgotten_in_the_end(world: World) -> None:
    out = world.open()
    out.carry(letter(world, "a"))
    out.on_taken("kitchen-pi", Taken(to="a"))
    world.clock.now += ANSWERED + 1
    out.turn()
    assert out.statistics()["awaiting_answers"] == 0
    assert world.memory is not None
    assert world.memory.outgoing() == []


def test_who_comes_back_is_sent_at_once_what_it_may_have_missed(world: World) -> None:
    out = world.open()
    out.carry(letter(world, "a"))
    world.step(out, 8.0)
    world.tell("kitchen-pi", online=False)
    world.published()
    world.step(out, 5.0)
    assert world.published() == []
    world.tell("kitchen-pi")
    world.step(out, 0.1)
    assert world.published() == ["a"]


def test_who_says_again_that_it_is_there_is_sent_nothing_again(world: World) -> None:
    out = world.open()
    world.tell("kitchen-pi")
    out.turn()
    out.carry(letter(world, "a"))
    world.step(out, 4.0)
    assert world.published() == ["a"] * 3
    for _ in range(5):
        world.tell("kitchen-pi")
        world.step(out, 0.1)
    assert world.published() == []
    world.tell("kitchen-pi", since=2.0)
    world.step(out, 0.1)
    assert world.published() == ["a"]


def test_the_next_life_goes_on_where_the_last_was_killed(world: World) -> None:
    out = world.open(peers=SPOOL)
    for id in ("taken", "published", "answered"):
        out.carry(letter(world, id))
    out.on_taken("kitchen-pi", Taken(to="taken"))
    out.on_answer("kitchen-pi", Reply(to="answered", id="r", subject="x"))
    world.tell("kitchen-pi", online=False)
    out.carry(letter(world, "waiting"))
    world.step(out, 5.0)
    world.published()
    world.tell("kitchen-pi")
    out = world.open(peers=SPOOL)
    world.step(out, 0.1)
    assert world.published() == ["published", "waiting"]
    out.on_answer("kitchen-pi", Reply(to="taken", id="r", subject="x", body="late"))
    assert world.answers[1:] == [("taken", "late")]
    # The patience counts from the first publication, whoever made it.
    world.step(out, 14.8)
    assert world.bounces == []
    world.step(out, 0.2)
    assert world.bounces == [("published", "timeout")]
    world.step(out, 5.1)
    assert world.bounces[1:] == [("waiting", "timeout")]


def test_who_was_started_anew_is_told_nothing_of_an_earlier_run(world: World) -> None:
    out = world.open()
    out.carry(letter(world, "a"))
    world.run = "2"
    out = world.open()
    out.on_answer("kitchen-pi", Reply(to="a", id="r", subject="x"))
    assert (world.answers, out.statistics()["answers_lost"]) == ([], 1)


def test_an_answer_to_the_dead_is_counted(world: World) -> None:
    out = world.open()
    out.carry(letter(world, "a"))
    world.is_gone = True
    out.on_answer("kitchen-pi", Reply(to="a", id="r", subject="x"))
    assert out.statistics()["answers_lost"] == 1


def test_who_reads_no_answer_holds_up_the_others_once_a_second(world: World) -> None:
    out = world.open()
    for id in "abcd":
        out.carry(letter(world, id))
    world.is_full = True
    for id in "abc":
        out.on_answer("kitchen-pi", Reply(to=id, id="r", subject="x"))
    world.clock.now += 1.5
    out.on_answer("kitchen-pi", Bounce(to="d", code="refused", reason="x"))
    assert world.timeouts == [AT_ONCE, 0.0, 0.0, AT_ONCE]
    assert out.statistics()["answers_lost"] == 4


def test_a_letter_that_expires_is_known_to_be_lost_only_where_it_never_left(world: World) -> None:
    out = world.open(peers={**SPOOL, "attic-pi": PeerSettings(offline="spool")})
    soon = world.clock.monotonic() + 2.0
    out.carry(letter(world, "left", expiry=soon))
    out.carry(letter(world, "waits", "cook@attic-pi", expiry=soon))
    assert world.said[0][1]["ttl"] == pytest.approx(2.0)
    world.step(out, 3.0)
    assert sorted(world.bounces) == [("left", "timeout"), ("waits", "expired")]


def test_a_repeated_letter_has_less_time_left(world: World) -> None:
    out = world.open()
    out.carry(letter(world, "a", expiry=world.clock.monotonic() + 10.0))
    world.step(out, 1.2)
    assert [round(body["ttl"]) for _, body in world.said] == [10, 9]


def test_no_copy_outlasts_what_its_sender_is_told(world: World) -> None:
    out = world.open()
    out.carry(letter(world, "a"))
    out.carry(letter(world, "b", expiry=world.clock.monotonic() + 5.0))
    world.step(out, 3.5)
    assert [round(seconds) for seconds in world.lasts] == [20, 5, 19, 4, 17, 2]


class FullMemory:
    """Stands for the memory's file system, once it is full."""

    def __init__(self, patch: pytest.MonkeyPatch, memory: MailMemory, *methods: str) -> None:
        for name in methods:
            patch.setattr(memory, name, self)

    def __call__(self, *arguments: Any) -> None:
        raise SpoolError("the memory is full")


def test_a_letter_that_was_taken_is_never_bounced_and_sent_as_well(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = world.open()
    assert world.memory is not None
    with monkeypatch.context() as full:
        FullMemory(full, world.memory, "published")
        out.carry(letter(world, "a"))
        with pytest.raises(SpoolError):
            out.turn()
    assert world.published() == []
    world.step(out, 2.5)
    assert world.published() == ["a", "a"]


def test_a_full_memory_holds_up_nobody_who_needs_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = world.open()
    world.tell("attic-pi", online=True)
    out.carry(letter(world, "early"))
    assert world.memory is not None
    FullMemory(monkeypatch, world.memory, "published", "forget", "taken")
    for number in range(3):
        out.carry(letter(world, f"n{number}", "cook@attic-pi"))
    world.published()
    looks = failures = 0
    while world.clock.now < 25.0:
        world.clock.now += 0.1
        looks += 1
        try:
            out.turn()
        except SpoolError:
            failures += 1
    assert set(world.published()) == {"early"}
    assert ("early", "timeout") in world.bounces
    assert 5 < failures < looks / 5


def held(world: World, out: MailOut) -> MailMemory:
    """Have `out` hold a letter for a node that is not known yet, which then is away."""
    world.since = world.clock.now
    out.carry(letter(world, "a", "cook@attic-pi"))
    world.tell("attic-pi", online=False)
    assert world.memory is not None
    return world.memory


def test_killed_while_the_memory_is_full_a_letter_is_bounced_or_sent_and_never_both(
    world: World,
) -> None:
    out = world.open()
    memory = held(world, out)
    memory._database.execute("PRAGMA query_only = ON")
    with pytest.raises(SpoolError):
        out.turn()
    assert world.bounces == []
    out = world.open()
    world.tell("attic-pi")
    world.step(out, 0.1)
    assert (world.published(), world.bounces) == (["a"], [])


def test_killed_before_it_was_forgotten_a_letter_does_not_go_out_after_its_bounce(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = world.open()
    FullMemory(monkeypatch, held(world, out), "forget")
    with pytest.raises(SpoolError):
        out.turn()
    assert world.bounces == [("a", "link_lost")]
    out = world.open()
    world.tell("attic-pi")
    world.step(out, 0.1)
    assert world.published() == []
    assert world.memory is not None
    assert world.memory.outgoing() == []


def test_an_answer_finds_its_way_though_its_confirmation_could_not_be_noted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = world.open()
    out.carry(letter(world, "a"))
    assert world.memory is not None
    with monkeypatch.context() as full:
        FullMemory(full, world.memory, "taken")
        with pytest.raises(SpoolError):
            out.on_taken("kitchen-pi", Taken(to="a"))
    out.on_answer("kitchen-pi", Reply(to="a", id="r", subject="x", body=5))
    assert world.answers == [("a", 5)]


def test_letters_wait_their_turn_node_by_node_and_in_order(world: World) -> None:
    world.tell("attic-pi")
    out = world.open()
    ids = [f"k{number:03}" for number in range(IN_FLIGHT + 10)]
    for id in ids:
        out.carry(letter(world, id))
    assert world.published() == ids[:IN_FLIGHT]
    out.carry(letter(world, "other", "cook@attic-pi"))
    assert world.published() == ["other"]
    for id in ids[:5]:
        out.on_taken("kitchen-pi", Taken(to=id))
    # One that comes now does not overtake those that wait.
    out.carry(letter(world, "late"))
    assert world.published() == []
    out.turn()
    assert world.published() == ids[IN_FLIGHT : IN_FLIGHT + 5]


def test_more_than_may_wait_is_refused(world: World) -> None:
    out = world.open(queue_size=2)
    out.carry(letter(world, "a"))
    out.carry(letter(world, "b"))
    with pytest.raises(MailboxFullError, match="2 letters for other gateways wait already"):
        out.carry(letter(world, "c"))
    out.on_taken("kitchen-pi", Taken(to="a"))
    out.carry(letter(world, "c"))


def test_more_bytes_than_may_wait_are_refused(world: World) -> None:
    out = world.open(queue_bytes=4096)
    large = "x" * 3000
    out.carry(letter(world, "a", body=large))
    with pytest.raises(MailboxFullError, match="raise queue_size and queue_bytes"):
        out.carry(letter(world, "b", body=large))
    out.on_taken("kitchen-pi", Taken(to="a"))
    out.carry(letter(world, "b", body=large))


def test_who_is_unknown_is_given_the_time_that_a_broker_needs_to_tell(world: World) -> None:
    out = world.open()
    world.since = world.clock.now
    out.carry(letter(world, "early", "cook@attic-pi"))
    out.carry(letter(world, "never", "cook@cellar-pi"))
    world.tell("attic-pi")
    world.step(out, 0.1)
    assert world.published() == ["early"]
    world.step(out, SETTLED)
    assert world.bounces == [("never", "unknown_address")]
    with pytest.raises(AddressError, match="the broker knows attic-pi, kitchen-pi"):
        out.carry(letter(world, "x", "cook@cellar-pi"))
    with pytest.raises(AddressError, match="did you mean 'serial'"):
        out.carry(letter(world, "x", "a@seriall"))


def test_without_a_broker_it_says_why_and_who_may_have_been_meant(world: World) -> None:
    out = world.open()
    world.since = None
    with pytest.raises(LinkLostError, match="no broker: the cable is out: did you mean 'serial'"):
        out.carry(letter(world, "x", "a@seriall"))
    with pytest.raises(LinkLostError, match="no way to 'kitchen-pi': no broker"):
        out.carry(letter(world, "x"))


def test_a_peer_that_was_never_seen_is_away_and_not_unknown(world: World) -> None:
    out = world.open(peers={"attic-pi": PeerSettings()})
    with pytest.raises(LinkLostError, match="'attic-pi' has never been at the broker"):
        out.carry(letter(world, "x", "cook@attic-pi"))


def test_an_error_is_no_cycle_that_keeps_the_letters(
    world: World, monkeypatch: pytest.MonkeyPatch, cycle_free: Any
) -> None:
    out, letters = world.open(), [letter(world, str(number)) for number in range(2)]
    out.carry(letters[0])
    assert world.memory is not None
    FullMemory(monkeypatch, world.memory, "published")
    with cycle_free(), contextlib.suppress(SpoolError):
        out.turn()
    world.since = None
    with cycle_free(), contextlib.suppress(LinkLostError):
        out.carry(letters[1])
