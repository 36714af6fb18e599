"""What an earlier run left retained: cleared where its device is gone, and only that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.codec import to_json
from routes.mqtt.incoming import Incoming
from routes.mqtt.leftovers import AT_A_TIME, MOST, PATIENCE, PAUSE, Leftovers
from routes.mqtt.topics import Topics
from tests.routes.mqtt.broker_side import BrokerSide, publication

TOPICS = Topics("pi")
BASE = "gateway/pi/devices/pump"


class Stage:
    """The broker's side of one node, on which `bench` is configured."""

    def __init__(self) -> None:
        self.broker = BrokerSide()
        self.room = MOST
        self.leftovers = Leftovers(
            TOPICS,
            configured=("bench",),
            say=self.broker.say,
            ring=self.broker.ring,
            clock=self.broker.clock,
            room=lambda: self.room,
        )

    def hear(self, topic: str, payload: bytes, *, retained: bool = True) -> None:
        self.leftovers.hear(Incoming(topic, payload, retained=retained))

    def wind(self, seconds: float) -> list[str]:
        """Let time pass; return what was cleared."""
        self.broker.clock.now += seconds
        self.leftovers.tick()
        taken = self.broker.taken()
        assert all(each.payload == b"" and each.options["retain"] for each in taken)
        return [each.topic for each in taken]


def info(*topics: Any) -> bytes:
    return to_json({"publications": [{"topic": topic} for topic in topics]})


def test_all_that_the_info_names_is_cleared_the_info_last() -> None:
    stage = Stage()
    stage.hear(f"{BASE}/info", info("flow", "registers/supply"))
    assert stage.broker.bells == 1
    assert stage.leftovers.is_waiting
    assert stage.wind(PATIENCE - 1) == []
    assert stage.wind(1) == [
        *(f"{BASE}/flow", f"{BASE}/registers/supply"),
        *(f"{BASE}/state", f"{BASE}/moves", f"{BASE}/claim", f"{BASE}/info"),
    ]
    assert not stage.leftovers.is_waiting
    assert stage.leftovers.statistics()["leftovers_cleared"] == 6


def test_a_device_that_is_configured_keeps_its_topics_even_where_it_is_away() -> None:
    stage = Stage()
    stage.hear("gateway/pi/devices/bench/info", info("flow"))
    assert not stage.leftovers.is_waiting
    assert stage.wind(PATIENCE) == []


def test_a_device_that_tells_of_itself_in_time_keeps_its_topics() -> None:
    stage = Stage()
    stage.hear(f"{BASE}/info", info("flow"))
    stage.wind(PATIENCE - 1)
    stage.leftovers.note(publication("devices/pump/state", {"state": "healthy"}))
    assert stage.wind(1) == []
    stage.hear(f"{BASE}/info", info("flow"))
    assert stage.wind(PATIENCE) == []


def test_found_again_at_another_connection_it_waits_no_longer() -> None:
    stage = Stage()
    stage.hear(f"{BASE}/info", b"{}")
    stage.wind(PATIENCE - 1)
    stage.hear(f"{BASE}/info", b"{}")
    assert len(stage.wind(1)) == 4


@pytest.mark.parametrize(
    ("topic", "payload", "retained"),
    [
        (f"{BASE}/info", b"{}", False),
        (f"{BASE}/info", b"", True),
        ("gateway/other/devices/pump/info", b"{}", True),
        ("gateway/pi/devices/pu%6Dp/info", b"{}", True),
        ("gateway/pi/devices//info", b"{}", True),
    ],
)
def test_what_is_no_leftover_of_ours_is_let_go(topic: str, payload: bytes, retained: bool):
    stage = Stage()
    stage.hear(topic, payload, retained=retained)
    assert stage.wind(PATIENCE) == []


@pytest.mark.parametrize("payload", [b"\xff", b"[1]", b'{"publications": 7}', b"[" * 100_000])
@pytest.mark.usefixtures("uncollected")
def test_an_info_that_says_nothing_costs_what_every_device_has(payload: bytes) -> None:
    stage = Stage()
    stage.hear(f"{BASE}/info", payload)
    assert stage.wind(PATIENCE) == [
        f"{BASE}/{each}" for each in ("state", "moves", "claim", "info")
    ]


def test_no_info_makes_us_speak_for_anybody_else() -> None:
    stage = Stage()
    odd = ("pins/+", "#", "led/call", "led/reply", "../x", "a//b", "é%2F", None, "", "\0")
    stage.hear(f"{BASE}/info", info(*odd))
    cleared = stage.wind(PATIENCE)
    assert all(each.startswith(f"{BASE}/") for each in cleared)
    assert not [each for each in cleared if each.endswith(("/call", "/reply"))]
    assert not [each for each in cleared if "+" in each or "#" in each]


@given(st.lists(st.text(max_size=30), max_size=5))
def test_whatever_an_info_names_lies_below_its_own_device(topics: list[str]) -> None:
    stage = Stage()
    try:
        payload = info(*topics)
    except ValueError:
        return  # half a surrogate pair
    stage.hear(f"{BASE}/info", payload)
    assert all(each.startswith(f"{BASE}/") for each in stage.wind(PATIENCE))


def test_a_flood_is_bounded_and_what_was_overlooked_is_counted() -> None:
    stage = Stage()
    for number in range(MOST + 5):
        stage.hear(f"gateway/pi/devices/pump-{number}/info", b"{}")
    stage.hear("gateway/pi/devices/pump-0/info", info(*map(str, range(MOST + 5))))
    cleared = stage.wind(PATIENCE)
    while stage.leftovers.is_waiting:
        more = stage.wind(PAUSE)
        assert 0 < len(more) <= AT_A_TIME
        cleared += more
    assert len(cleared) == len(set(cleared)) == 4 * MOST + MOST
    assert stage.leftovers.statistics()["leftovers_overlooked"] == 5


def test_however_often_it_is_looked_at_only_so_many_are_cleared_at_a_time() -> None:
    stage = Stage()
    stage.hear(f"{BASE}/info", info(*map(str, range(50))))
    assert len(stage.wind(PATIENCE)) == AT_A_TIME
    assert stage.wind(0.0) == []


def test_where_there_is_no_room_the_rest_waits_and_half_of_it_is_left_to_others() -> None:
    stage = Stage()
    stage.hear(f"{BASE}/info", b"{}")
    stage.room = 0
    assert stage.wind(PATIENCE) == []
    stage.room = 5
    assert stage.wind(PAUSE) == [f"{BASE}/{each}" for each in ("state", "moves", "claim")]
    stage.room = 1
    assert stage.wind(PAUSE) == [f"{BASE}/info"]
    assert not stage.leftovers.is_waiting


def test_a_device_that_tells_of_itself_meanwhile_keeps_what_is_left() -> None:
    stage = Stage()
    stage.hear(f"{BASE}/info", info(*map(str, range(50))))
    stage.wind(PATIENCE)
    stage.leftovers.note(publication("devices/pump/state", {"state": "healthy"}))
    assert stage.wind(PAUSE) == []
    assert not stage.leftovers.is_waiting
