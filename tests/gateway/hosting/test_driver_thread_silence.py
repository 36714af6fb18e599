"""The heartbeat of a hosted device: pings, pongs, silence and coming back."""

from __future__ import annotations

import pytest

from gateway.device import Heartbeat
from gateway.device.link_state import LinkState
from gateway.errors import CallTimeoutError
from tests.gateway.hosting.scripted_wire import Conversation
from tests.lab.os_processes import until

QUICK = Heartbeat(ping=b"P", every=0.05, patience=0.2)
MUTE = {b"ID": b"ID 1.0"}


def test_pings_are_answered_and_told_and_never_received(make_rig) -> None:
    rig = make_rig(heartbeat=QUICK)
    rig.connect()
    event = rig.outside.wait_event("board", "pong", count=3)
    assert 0 < event["round_trip"] < 1
    assert rig.thread.state is LinkState.HEALTHY
    assert rig.outside.bodies("devices/board/frame") == []
    assert rig.thread.statistics().pings >= 3


def test_the_first_ping_follows_the_handshake_at_once(make_rig) -> None:
    rig = make_rig(heartbeat=Heartbeat(ping=b"P", every=60.0, patience=120.0))
    rig.connect()
    rig.outside.wait_state("board", "healthy", seconds=1.0)


def test_a_board_that_falls_silent_is_stale_then_an_error_then_healthy_again(make_rig) -> None:
    rig = make_rig(heartbeat=QUICK, answers=MUTE)
    link = rig.connect()
    rig.outside.wait_event("board", "comms_error")
    assert rig.outside.states("board") == ["absent", "open", "proven", "stale"]
    assert "it has been silent for" in rig.cause()
    assert rig.outside.retained["devices/board/state"]["connected"] is True
    link.wait_written(len(link.written) + 8)  # two patiences of pings more
    assert rig.outside.events("board") == ["connected", "comms_error"]  # once a spell
    rig.hand(b"P")
    rig.outside.wait_event("board", "comms_error", count=2)  # and once more in the next
    assert rig.outside.states("board")[-2:] == ["healthy", "stale"]
    assert len(rig.opener.links) == 1


def test_pongs_that_pile_up_behind_a_hung_board_are_one_pong(make_rig) -> None:
    rig = make_rig(heartbeat=QUICK, answers=MUTE)
    rig.connect()
    rig.outside.wait_state("board", "stale")
    rig.hand(b"P", b"P", b"P", b"hello")
    rig.outside.wait_for(lambda: rig.outside.bodies("devices/board/frame") == ["hello"])
    assert rig.outside.events("board").count("pong") == 1


def test_any_frame_is_a_sign_of_life() -> None:
    conversation = Conversation(heartbeat=QUICK)
    for tick in range(1, 13):  # three patiences long
        conversation.wire.say(b"telemetry\n", 0.05 * tick)
    with pytest.raises(CallTimeoutError):
        conversation.ask(b"?", lambda frame: False, 0.65)
    assert conversation.outside.states("talker") == ["open", "proven", "healthy"]
    with pytest.raises(CallTimeoutError):
        conversation.ask(b"?", lambda frame: False, 0.25)
    assert conversation.outside.states("talker")[-1] == "stale"


def test_noise_is_no_sign_of_life(make_rig) -> None:
    rig = make_rig(heartbeat=QUICK, answers=MUTE)
    link = rig.connect()
    for count in range(1, 5):
        link.wait_written(1 + count)
        link.hand(b"garbage\n")
    rig.outside.wait_state("board", "stale")
    assert until(lambda: rig.thread.statistics().noise == 4, 10.0)


def test_no_ping_interrupts_a_question_but_silence_is_noticed(make_rig) -> None:
    rig = make_rig(heartbeat=QUICK, answers=MUTE)
    link = rig.connect()
    message = rig.post("wait", {"seconds": 60.0})
    rig.outside.wait_event("board", "comms_error")
    question = next(index for index, data in enumerate(link.written) if data.startswith(b"?"))
    assert link.written[question + 1 :] == []
    rig.hand(b"? at last")
    rig.outside.wait_answers(1)
    assert rig.answers_to(message) == ["? at last"]
    assert rig.outside.states("board")[-2:] == ["stale", "healthy"]
    link.wait_written(question + 2, seconds=1.0)  # the ping that was owed


def test_a_ping_that_was_owed_during_a_question_follows_it_at_once(make_rig) -> None:
    rig = make_rig(heartbeat=Heartbeat(ping=b"P", every=1.0, patience=60.0))
    link = rig.connect()
    link.wait_written(2)
    with pytest.raises(CallTimeoutError):
        rig.call("wait", {"seconds": 1.05})
    link.wait_written(4, seconds=0.5)


def test_a_board_that_is_rarely_pinged_is_stale_again_in_time(make_rig) -> None:
    rig = make_rig(heartbeat=Heartbeat(ping=b"P", every=60.0, patience=0.1), answers=MUTE)
    rig.connect()
    rig.outside.wait_event("board", "comms_error")
    rig.hand(b"hello")
    rig.outside.wait_event("board", "comms_error", count=2)
    assert rig.outside.states("board")[-3:] == ["stale", "healthy", "stale"]


def test_a_stale_board_still_takes_commands(make_rig) -> None:
    rig = make_rig(heartbeat=QUICK, answers={**MUTE, b"LED": b"LED ok"})
    rig.connect()
    rig.outside.wait_state("board", "stale")
    assert rig.call("led") == "LED ok"


def test_a_stale_board_whose_cable_is_pulled_is_disconnected(make_rig) -> None:
    rig = make_rig(heartbeat=QUICK, answers=MUTE)
    rig.connect()
    rig.outside.wait_state("board", "stale")
    rig.opener.pull()
    rig.outside.wait_event("board", "disconnected")
    rig.outside.wait_state("board", "absent")


def test_without_a_heartbeat_nothing_is_pinged_and_nothing_is_stale(rig) -> None:
    link = rig.connect()
    turns = rig.count_turns()
    with pytest.raises(AssertionError, match="not within"):
        rig.outside.wait_for(lambda: rig.thread.state is LinkState.STALE, seconds=0.3)
    assert len(link.written) == 1
    assert turns() <= 1
