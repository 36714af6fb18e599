"""How a device came to be as it is: the last moves, and how often each event has happened."""

from __future__ import annotations

from gateway.clock import VirtualClock
from gateway.device.link_state import LinkEvent
from gateway.errors import MailboxFullError
from gateway.hosting.report import REMEMBERED, Report
from gateway.hosting.statistics import Statistics
from gateway.testing.fake_outside import FakeOutside

MOVES = "devices/arm/moves"


def report() -> tuple[Report, FakeOutside, VirtualClock]:
    outside, clock = FakeOutside(), VirtualClock(epoch=1000.0)
    return Report("arm", outside, Statistics(), clock), outside, clock


def test_each_move_is_told_with_event_cause_and_time() -> None:
    arm, outside, clock = report()
    arm.happened(LinkEvent.OPENED, "the port is open")
    clock.now = 2.0
    arm.happened(LinkEvent.PROVEN, "it said so")
    assert outside.retained[MOVES] == {
        "moves": [
            {"state": "open", "event": "opened", "cause": "the port is open", "at": 1000.0},
            {"state": "proven", "event": "proven", "cause": "it said so", "at": 1002.0},
        ],
        "counts": {"opened": 1, "proven": 1},
    }


def test_moves_are_told_after_the_state_and_before_the_events() -> None:
    arm, outside, _ = report()
    arm.happened(LinkEvent.FAILED, "no permission")
    assert [each.topic.removeprefix("devices/arm/") for each in outside.published] == [
        "state",
        "moves",
        "events/device_error",
    ]


def test_the_oldest_are_forgotten_and_the_counts_stay() -> None:
    arm, outside, _ = report()
    for number in range(40):
        arm.happened(LinkEvent.ABSENT, f"look {number}")
    told = outside.retained[MOVES]
    assert [each["cause"] for each in told["moves"]] == [
        f"look {number}" for number in range(40 - REMEMBERED, 40)
    ]
    assert told["counts"] == {"absent": 40}


def test_what_moves_nothing_is_counted_and_told_with_the_next_move() -> None:
    arm, outside, _ = report()
    arm.happened(LinkEvent.OPENED, "open")
    arm.happened(LinkEvent.PROVEN, "proven")
    for _ in range(3):
        arm.happened(LinkEvent.PONG, "it answered")
    assert len(outside.bodies(MOVES)) == 2
    arm.happened(LinkEvent.LOST, "pulled")
    assert outside.retained[MOVES]["counts"]["pong"] == 3


def test_a_claim_is_told_when_it_changes() -> None:
    arm, outside, _ = report()
    arm.tell_claim(None)
    arm.tell_claim({"node": "/dev/ttyACM0"})
    arm.tell_claim({"node": "/dev/ttyACM0"})
    arm.tell_claim(None)
    assert outside.bodies("devices/arm/claim") == [{"node": "/dev/ttyACM0"}, None]


def test_a_house_that_takes_nothing_costs_counts() -> None:
    outside, counts = FakeOutside(), Statistics()
    arm = Report("arm", outside, counts, VirtualClock())
    outside.refusal = MailboxFullError("full")
    arm.happened(LinkEvent.FAILED, "no permission")
    assert counts.unheard == 3
