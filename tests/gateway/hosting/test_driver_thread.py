"""The life of a hosted device: it opens, proves, is lost, fails and comes back."""

from __future__ import annotations

import logging
import os
from random import Random

import pytest

from gateway.device.link_state import LinkState
from gateway.framing import CheckedLine
from gateway.testing.fake_link import FakeLink, answering

STATE = "devices/board/state"
FRAMING = CheckedLine()


def test_a_board_that_answers_is_proven_and_told_to_the_house(rig) -> None:
    rig.connect()
    assert rig.outside.states("board") == ["absent", "open", "proven"]
    assert rig.thread.state is LinkState.PROVEN
    body = rig.outside.retained[STATE]
    assert set(body) == {"state", "connected", "cause", "since"}
    assert body["connected"] is True
    assert "firmware 1.0" in body["cause"]
    event = rig.outside.wait_event("board", "connected")
    assert (event["device"], event["event"], event["at"]) == ("board", "connected", body["since"])
    assert event["identity"]["firmware"] == "1.0"


def test_the_description_is_retained_before_and_after_the_handshake(rig) -> None:
    rig.connect()
    before, after = rig.outside.bodies("devices/board/info")
    assert before["identity"] is None
    assert after["identity"]["firmware"] == "1.0"
    assert before["commands"]["led"]["description"] == "Light it."
    assert rig.outside.retained["devices/board/info"] == after


def test_the_first_frame_after_the_handshake_makes_it_healthy(rig) -> None:
    rig.connect()
    rig.hand(b"hello")
    rig.outside.wait_state("board", "healthy")
    rig.outside.wait_for(lambda: rig.outside.bodies("devices/board/frame") == ["hello"])


def test_an_absent_port_is_a_normal_state_that_is_said_once(make_rig, caplog) -> None:
    caplog.set_level(logging.INFO)
    rig = make_rig(random=Random(1))
    rig.opener.absent = True
    rig.thread.start()
    rig.opener.wait_attempts(3)
    assert rig.thread.state is LinkState.ABSENT
    assert rig.thread.cause == "nothing is plugged in"
    assert rig.outside.events("board") == []
    assert rig.outside.states("board") == ["absent", "absent"]  # at start, then with its cause
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [("INFO", "board: absent: nothing is plugged in")]
    rig.opener.plug_in()
    rig.outside.wait_event("board", "connected")


def test_a_pulled_cable_is_closed_at_once_and_comes_back_when_plugged_in(rig) -> None:
    first = rig.connect()
    rig.opener.pull()
    rig.outside.wait_state("board", "absent")
    assert first.closed
    assert rig.outside.events("board") == ["connected", "disconnected"]
    lost = rig.outside.bodies(STATE)[-2]
    assert (lost["state"], lost["connected"]) == ("present", False)
    assert lost["cause"] == "the cable was pulled"
    rig.opener.plug_in()
    rig.outside.wait_event("board", "connected", count=2)
    assert rig.call("led") == "LED ok"
    assert rig.thread.statistics().losses == 1


def test_each_opening_has_a_driver_of_its_own(rig) -> None:
    rig.connect().break_()
    rig.outside.wait_event("board", "connected", count=2)
    assert len(rig.drivers) == 2


def test_what_a_board_says_before_it_is_proven_is_received_after(rig) -> None:
    def booting() -> FakeLink:
        link = FakeLink(answering(FRAMING, {b"ID": b"ID 1.0"}))
        link.hand(b"boot noise\n" + FRAMING.encode(b"welcome"))
        return link

    rig.opener.make = booting
    rig.connect()
    rig.outside.wait_for(lambda: rig.outside.bodies("devices/board/frame") == ["welcome"])
    topics = [each.topic for each in rig.outside.published]
    assert topics.index("devices/board/events/connected") < topics.index("devices/board/frame")
    assert rig.thread.statistics().noise == 1


def test_noise_is_counted_and_harmless(rig) -> None:
    link = rig.connect()
    link.hand(b"\xff\x00garbage\n" + b"x" * 1000 + b"\n" + b"LED*00\n")
    rig.hand(b"hello")
    rig.outside.wait_for(lambda: rig.outside.bodies("devices/board/frame") == ["hello"])
    counts = rig.thread.statistics()
    assert (counts.noise, counts.frames) == (3, 2)  # the answered ID, and the hello
    assert rig.thread.state is LinkState.HEALTHY


def test_a_port_that_cannot_be_opened_fails_with_what_to_do_about_it(rig) -> None:
    rig.opener.refusal = "permission denied: add the user to the group dialout"
    rig.thread.start()
    rig.opener.wait_attempts(20)
    assert "dialout" in rig.thread.cause
    assert rig.outside.states("board") == ["absent", "failed"]
    assert rig.outside.events("board") == ["device_error"]  # once, however often it is tried
    rig.opener.refusal = None
    rig.outside.wait_event("board", "connected")


def test_a_board_that_does_not_answer_is_asked_again_on_the_same_port(make_rig) -> None:
    rig = make_rig(answers={}, handshake_within=60.0)
    rig.thread.start()
    link = rig.opener.wait_link()
    link.wait_written(3)
    rig.hand(b"ID 2.0")
    rig.outside.wait_event("board", "connected")
    assert len(rig.opener.links) == 1


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ({}, "no handshake within 0.4 s: no answer to b'ID'"),
        ({b"ID": b"ID garbled"}, "no handshake within 0.4 s: that is no version"),
    ],
    ids=["silent", "garbled"],
)
def test_a_board_that_never_identifies_itself_fails_and_is_tried_again(
    make_rig, answers, cause
) -> None:
    rig = make_rig(answers=answers)
    rig.thread.start()
    rig.opener.wait_link(2)
    assert cause in rig.thread.cause
    assert rig.outside.states("board") == ["absent", "open", "failed"]
    assert rig.outside.events("board") == ["device_error"]
    first = rig.opener.links[0]
    assert first.closed
    assert len(first.written) <= 6  # every 0.1 s at the most: not in a spin


def test_the_time_for_the_handshake_also_ends_a_question_within_it(make_rig) -> None:
    rig = make_rig(answers={}, handshake_within=0.2, question_seconds=60.0)
    rig.thread.start()
    rig.outside.wait_state("board", "failed")
    assert len(rig.opener.links[0].written) == 1


def test_a_board_of_another_kind_fails_at_once(make_rig) -> None:
    rig = make_rig(answers={b"ID": b"ID other"})
    rig.thread.start()
    rig.outside.wait_state("board", "failed")
    assert rig.thread.cause == "this is a fan"
    assert len(rig.opener.links[0].written) == 1


def test_a_link_that_breaks_during_the_handshake_is_opened_again(make_rig) -> None:
    rig = make_rig(answers={}, handshake_within=60.0)
    rig.thread.start()
    link = rig.opener.wait_link()
    link.wait_written(1)
    link.break_()
    rig.opener.wait_link(2)
    assert rig.outside.states("board")[:3] == ["absent", "open", "present"]
    assert rig.outside.events("board") == []


def test_a_failed_board_that_is_unplugged_is_absent(make_rig) -> None:
    rig = make_rig(answers={b"ID": b"ID other"})
    rig.thread.start()
    rig.outside.wait_state("board", "failed")
    rig.opener.absent = True
    rig.outside.wait_state("board", "absent")


def test_a_bug_in_the_handshake_fails_the_device_and_it_comes_back(make_rig, caplog) -> None:
    answers = {b"ID": b"ID bug"}
    rig = make_rig(answers=answers)
    rig.thread.start()
    rig.opener.wait_link(3)
    assert rig.thread.cause == "its driver raised ZeroDivisionError: in the handshake"
    answers[b"ID"] = b"ID 1.0"
    rig.outside.wait_event("board", "connected")
    tracebacks = [each for each in caplog.records if each.exc_info]
    assert len(tracebacks) == 1, "the same bug again is told in one line"


def test_a_bug_in_received_fails_the_device_and_it_comes_back(rig, caplog) -> None:
    rig.connect()
    rig.hand(b"bug")
    event = rig.outside.wait_event("board", "device_error")
    assert event["cause"] == "its driver raised ZeroDivisionError: in received"
    rig.outside.wait_event("board", "connected", count=2)
    assert rig.outside.events("board") == [
        "connected",
        "disconnected",
        "device_error",
        "connected",
    ]
    assert rig.opener.links[0].closed
    assert "Traceback" in caplog.text
    assert rig.thread.statistics().failures == 1


def test_a_driver_that_cannot_be_made_fails_the_device(rig) -> None:
    make = rig.make_driver

    def broken(host):
        raise KeyError("no such setting")

    rig.make_driver = broken
    rig.thread.start()
    rig.outside.wait_state("board", "failed")
    assert "KeyError" in rig.thread.cause
    rig.make_driver = make
    rig.outside.wait_event("board", "connected")


def test_nonsense_in_a_frame_costs_the_frame(rig) -> None:
    rig.connect()
    rig.hand(b"nonsense", b"hello")
    rig.outside.wait_for(lambda: rig.outside.bodies("devices/board/frame") == ["hello"])
    assert rig.thread.statistics().nonsense == 1
    assert rig.thread.state is LinkState.HEALTHY


def test_a_fault_of_the_board_is_told_and_leaves_the_link_as_it_is(rig) -> None:
    rig.connect()
    rig.hand(b"fault")
    assert rig.outside.wait_event("board", "device_error")["cause"] == "too hot"
    assert rig.thread.state is LinkState.HEALTHY
    assert rig.call("led") == "LED ok"


def test_a_device_cannot_be_started_twice(rig) -> None:
    rig.connect()
    with pytest.raises(RuntimeError, match="started before"):
        rig.thread.start()


def test_a_device_that_sleeps_uses_no_processor_time(rig) -> None:
    rig.connect()
    turns = rig.count_turns()
    with pytest.raises(AssertionError):
        rig.outside.wait_for(lambda: False, seconds=0.3)
    assert turns() <= 1


def test_a_thousand_reconnects_leave_no_descriptor_and_no_thread(rig) -> None:
    rig.connect()
    before = len(os.listdir("/proc/self/fd"))
    for count in range(2, 1002):
        rig.link.break_()
        rig.outside.wait_event("board", "connected", count=count)
    assert len(os.listdir("/proc/self/fd")) == before
    assert rig.thread.statistics().losses == 1000
    assert rig.thread.statistics().connections == 1001
    assert all(link.closed for link in rig.opener.links[:-1])
