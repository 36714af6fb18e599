"""Frames that silence ends: the session tells the decoder, in time and not before."""

from __future__ import annotations

from typing import ClassVar

import pytest

from gateway.device import command
from gateway.errors import CallTimeoutError
from gateway.framing import Delimited, Framing, Line, Silent, checksums
from gateway.hosting.session import Session
from gateway.hosting.timed_session import TimedSession
from gateway.testing.fake_link import FakeLink
from tests.gateway.hosting.conftest import Board
from tests.gateway.hosting.scripted_wire import Conversation

QUIET = 0.05
RTU = Silent(QUIET, limit=16, checksum=checksums.CRC16_MODBUS)


def any_frame(frame: bytes) -> bool:
    return True


def test_only_a_wire_with_silences_is_timed() -> None:
    assert type(Conversation(Line()).session) is Session
    assert type(Conversation(RTU).session) is TimedSession
    assert type(Conversation(Delimited(b"\r")).session) is Session
    assert type(Conversation(Delimited(b"\r", silence=QUIET)).session) is TimedSession


def test_an_answer_ends_with_the_silence_behind_it() -> None:
    conversation = Conversation(RTU)
    frame = RTU.encode(b"answer")
    conversation.wire.say(frame[:3], 0.1)
    conversation.wire.say(frame[3:], 0.1 + 0.9 * QUIET)
    assert conversation.ask(b"question", any_frame, 1.0) == b"answer"
    assert conversation.now == pytest.approx(0.1 + 1.9 * QUIET)


def test_bytes_after_a_silence_are_another_frame() -> None:
    conversation = Conversation(RTU)
    conversation.wire.say(RTU.encode(b"one"), 0.1)
    conversation.wire.say(RTU.encode(b"two"), 0.1 + 1.1 * QUIET)
    conversation.let_pass(1.0)
    assert conversation.heard() == [b"one", b"two"]
    assert conversation.now == pytest.approx(1.0)


def test_what_a_late_thread_finds_unread_is_no_silence() -> None:
    conversation = Conversation(RTU)
    frame = RTU.encode(b"whole")
    conversation.wire.say(frame[:3], 0.0)
    conversation.let_pass(0.9 * QUIET)
    conversation.wire.say(frame[3:], 0.0)
    conversation.wire.clock.now += 10.0  # something else had the processor
    conversation.let_pass(1.0)
    assert conversation.heard() == [b"whole"]


def test_silence_that_nothing_came_before_wakes_nobody() -> None:
    conversation = Conversation(RTU)
    polls = 0
    poll = conversation.wire.poll

    def counted(seconds: float, most: int) -> list[tuple[int, int]]:
        nonlocal polls
        polls += 1
        return poll(seconds, most)

    conversation.session._poll = counted
    conversation.let_pass(60.0)
    assert polls == 1


def test_a_question_ends_at_its_time_though_half_an_answer_waits_for_silence() -> None:
    conversation = Conversation(RTU)
    for tick in range(100):
        conversation.wire.say(b"x", tick * 0.9 * QUIET)
    with pytest.raises(CallTimeoutError):
        conversation.ask(b"question", any_frame, 1.0)
    assert conversation.now == pytest.approx(1.0)


class Slave(Board):
    """A board of frames that silence ends."""

    framing: ClassVar[Framing] = RTU  # type: ignore[assignment]

    @command
    def read(self) -> str:
        """Ask for a register."""
        return self.ask(b"R").decode()


def test_a_driver_thread_hears_frames_that_only_silence_ends(make_rig) -> None:
    rig = make_rig(Slave, handshake_within=5.0, question_seconds=2.0)
    answers = {RTU.encode(b"ID"): RTU.encode(b"ID 1.0"), RTU.encode(b"R"): RTU.encode(b"R 512")}
    rig.opener.make = lambda: FakeLink(lambda data: answers.get(data, b""))
    link = rig.connect()
    assert rig.call("read") == "R 512"
    link.hand(RTU.encode(b"hello"))
    rig.outside.wait_for(lambda: rig.outside.bodies("devices/board/frame") == ["hello"])
    assert rig.call("read") == "R 512"
