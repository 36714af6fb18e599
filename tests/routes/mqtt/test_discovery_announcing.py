"""Which entries are said, when, and which are taken back."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.access import AccessList, Rule
from routes.mqtt.discovery import Announcer, platforms_in
from routes.mqtt.discovery_announcing import Announcing
from routes.mqtt.discovery_settings import DiscoverySettings
from routes.mqtt.incoming import Incoming
from routes.mqtt.leftovers import MOST, PATIENCE, PAUSE, Leftovers
from routes.mqtt.topics import Topics
from tests.routes.mqtt import home_assistant_schema as home
from tests.routes.mqtt.broker_side import BrokerSide, publication
from tests.routes.mqtt.shipped import info_of

BENCH = "homeassistant/device/gateway-pi/bench/config"
RETAINED = {"qos": 1, "retain": True}
BIRTH = Incoming("homeassistant/status", b"online")


class Stage:
    """One node that announces, and the broker's side of it."""

    def __init__(
        self,
        *rules: Rule,
        max_payload: int = 64 << 10,
        random: Random | None = None,
        **settings: Any,
    ) -> None:
        chosen = DiscoverySettings(**settings)
        topics = Topics("pi")
        self.broker = BrokerSide()
        self.announcer = Announcer(chosen, topics, node="pi", version="1.0")
        self.leftovers = Leftovers(
            topics,
            configured=("bench",),
            say=self.broker.say,
            ring=self.broker.ring,
            clock=self.broker.clock,
        )
        self.announcing = Announcing(
            chosen,
            self.announcer,
            self.leftovers,
            say=self.broker.say,
            ring=self.broker.ring,
            allows=AccessList(rules or (Rule(to="*@serial"),)).allows,
            max_payload=max_payload,
            clock=self.broker.clock,
            random=random or Random(1),
        )

    def tell(self, info: Any, device: str = "bench", route: str = "serial") -> None:
        self.announcing.note_info(publication(f"devices/{device}/info", info, route))

    def hear(self, incoming: Incoming) -> None:
        for inlet in self.announcing.inlets:
            if inlet.subscription.split("/")[-1] == incoming.topic.split("/")[-1]:
                inlet.hear(incoming)

    def wind(self, seconds: float) -> None:
        self.broker.clock.now += seconds
        self.announcing.tick()
        self.leftovers.tick()

    def statistics(self) -> dict[str, int]:
        found: dict[str, int] = self.announcing.statistics()["discovery"]
        return found


def test_a_device_is_announced_when_its_info_comes_and_when_it_changes() -> None:
    stage = Stage()
    info = info_of("bench_board")
    stage.tell({**info, "identity": None})
    stage.tell(info)
    stage.tell(info)
    before, after = stage.broker.taken()
    assert [each.topic for each in (before, after)] == [BENCH, BENCH]
    assert before.options == RETAINED
    assert b"007" not in before.payload
    assert b"007" in after.payload
    assert stage.statistics()["devices"] == 1
    assert stage.statistics()["entities"] == len(home.check(after.topic, after.payload))


def test_only_what_may_be_called_of_that_device_is_a_switch() -> None:
    stage = Stage(Rule(to="bench@serial", subject="led"), Rule(to="*@usb", subject="*"))
    stage.tell(info_of("bench_board"))
    (said,) = stage.broker.taken()
    told = platforms_in(said.payload)
    assert told is not None
    assert [key for key in told if key.startswith("command.")] == ["command.led"]


def test_a_device_that_has_no_info_any_more_is_taken_back() -> None:
    stage = Stage()
    stage.tell(info_of("bench_board"))
    stage.tell(None)
    stage.tell(None)
    assert [each.payload == b"" for each in stage.broker.taken()] == [False, True]
    assert stage.statistics()["devices"] == 0


def test_all_is_said_again_once_when_home_assistant_is_born_and_not_at_the_same_moment() -> None:
    stage = Stage(spread=5.0)
    stage.tell(info_of("bench_board"))
    (first,) = stage.broker.taken()
    for _ in range(1000):
        stage.hear(BIRTH)
    assert stage.broker.bells == 1000
    stage.announcing.tick()
    assert stage.announcing.is_waiting
    assert not stage.broker.said
    stage.wind(5.0)
    assert stage.broker.taken() == [first]
    assert not stage.announcing.is_waiting
    assert stage.statistics()["births"] == 1000


@pytest.mark.parametrize(
    "incoming",
    [
        Incoming("homeassistant/status", b"offline"),
        Incoming("homeassistant/status", b"online", retained=True),
        Incoming("homeassistant/status", b"\xff" * 1000),
    ],
)
def test_what_is_no_birth_is_let_go(incoming: Incoming) -> None:
    stage = Stage()
    stage.tell(info_of("bench_board"))
    stage.broker.taken()
    stage.hear(incoming)
    stage.announcing.tick()
    stage.wind(10.0)
    assert not stage.broker.said


class Late(Random):
    """Always the longest wait."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_one_birth_after_another_does_not_put_it_off() -> None:
    stage = Stage(random=Late(), spread=5.0)
    stage.tell(info_of("bench_board"))
    stage.broker.taken()
    for _ in range(12):
        stage.hear(BIRTH)
        stage.wind(1.0)
    assert len(stage.broker.taken()) == 2


def test_a_flood_of_births_is_answered_once_a_second() -> None:
    stage = Stage(spread=0.0)
    stage.tell(info_of("bench_board"))
    stage.broker.taken()
    for _ in range(100):
        stage.hear(BIRTH)
        stage.wind(0.125)
    assert len(stage.broker.taken()) == 13


def entry_of(stage: Stage, device: str, driver: str = "bench_board") -> Incoming:
    entry = stage.announcer.entry(
        device, info_of(driver), allows=lambda name: True, before={}, limit=100_000
    )
    return Incoming(entry.topic, entry.payload, retained=True)


@pytest.mark.parametrize("first", ["info", "entry"])
def test_an_entity_of_an_earlier_run_that_is_gone_is_taken_back(first: str) -> None:
    stage = Stage(Rule(to="bench@serial", subject="stream"))
    earlier = entry_of(stage, "bench")
    if first == "info":
        stage.tell(info_of("bench_board"))
        stage.broker.taken()
        stage.hear(earlier)
        stage.announcing.tick()
    else:
        stage.hear(earlier)
        stage.announcing.tick()
        stage.tell(info_of("bench_board"))
    (said,) = stage.broker.taken()
    assert b'"command.led":{"platform":"switch"}' in said.payload
    assert b'"command.stream":{"platform":"number","name"' in said.payload
    # What is said now comes back at the next connection, and asks for nothing more.
    stage.hear(Incoming(said.topic, said.payload, retained=True))
    stage.wind(PATIENCE)
    assert not stage.broker.said


def test_an_entry_of_a_device_that_is_gone_is_cleared_after_a_while() -> None:
    stage = Stage()
    stage.hear(entry_of(stage, "pump"))
    stage.hear(entry_of(stage, "bench"))  # configured, and not there yet
    stage.wind(PATIENCE - 1)
    assert not stage.broker.said
    stage.wind(1)
    assert stage.broker.taken() == [(stage.announcer.topic("pump"), b"", RETAINED)]


@pytest.mark.parametrize(
    "incoming",
    [
        Incoming("homeassistant/device/gateway-pi/pump/config", b'{"origin": {"name": "other"}}'),
        Incoming("homeassistant/device/gateway-pi/pump/config", b"\xff"),
        Incoming("homeassistant/device/gateway-pi/a_b/config", b"{}"),
    ],
)
def test_an_entry_that_is_not_ours_is_left_alone_and_counted(incoming: Incoming) -> None:
    stage = Stage()
    stage.hear(Incoming(incoming.topic, incoming.payload, retained=True))
    stage.wind(PATIENCE)
    assert not stage.broker.said
    assert stage.statistics()["foreign"] == 1


def test_what_is_said_while_we_are_there_is_no_leftover() -> None:
    stage = Stage()
    entry = entry_of(stage, "pump")
    stage.hear(Incoming(entry.topic, entry.payload))
    stage.hear(Incoming(entry.topic, b"", retained=True))
    stage.wind(PATIENCE)
    assert not stage.broker.said


def test_switched_off_it_takes_back_what_an_earlier_run_announced_and_says_nothing() -> None:
    stage = Stage(enabled=False)
    assert [each.subscription for each in stage.announcing.inlets] == [
        "homeassistant/device/gateway-pi/+/config"
    ]
    stage.tell(info_of("bench_board"))
    stage.hear(entry_of(stage, "bench"))
    stage.hear(Incoming(BENCH, b'{"origin": {"name": "other"}}', retained=True))
    stage.wind(PATIENCE)
    assert stage.broker.taken() == [(BENCH, b"", RETAINED)]


def test_entities_without_room_are_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(max_payload=3000)
    for model in ("a", "b", "c"):
        stage.tell({**info_of("line_device"), "identity": {"model": model}})
    assert all(len(each.payload) <= 3000 for each in stage.broker.taken())
    assert stage.statistics()["entities_omitted"] > 0
    assert caplog.text.count("found no room") == 1


def test_an_info_that_no_json_can_hold_costs_that_device_alone() -> None:
    stage = Stage()
    stage.tell({"identity": {"model": "\ud800"}})
    stage.tell(info_of("bench_board"))
    assert len(stage.broker.taken()) == 1
    assert stage.statistics()["infos_unwritable"] == 1


def test_a_flood_of_entries_is_bounded() -> None:
    stage = Stage()
    entry = entry_of(stage, "pump")
    for number in range(MOST + 10):
        stage.hear(Incoming(stage.announcer.topic(f"pump-{number}"), entry.payload, retained=True))
    stage.wind(PATIENCE)
    while stage.leftovers.is_waiting:
        stage.wind(PAUSE)
    assert len(stage.broker.taken()) == MOST
    assert stage.leftovers.statistics()["leftovers_overlooked"] == 10


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
STRANGE = st.binary(max_size=40) | JSON.map(json.dumps).map(str.encode)
OURS = st.builds(
    lambda components: json.dumps(
        {"origin": {"name": "hardware-gateway"}, "components": components}
    ).encode(),
    JSON | st.dictionaries(st.sampled_from(["state", "x"]), JSON),
)


@given(STRANGE | OURS, st.booleans())
def test_whatever_the_broker_has_at_our_places_it_breaks_nothing(
    payload: bytes, retained: bool
) -> None:
    stage = Stage()
    stage.tell(info_of("bench_board"))
    for topic in (BENCH, stage.announcer.topic("pump"), "homeassistant/status"):
        stage.hear(Incoming(topic, payload, retained=retained))
    stage.wind(PATIENCE)
    for each in stage.broker.taken():
        assert not each.payload or home.check(each.topic, each.payload)
