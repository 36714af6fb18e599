"""A gateway that was held up: what lies unread when it looks at the clock came in time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.device.heartbeat import Heartbeat
from gateway.errors import CallTimeoutError
from gateway.framing import Line
from tests.gateway.hosting.scripted_wire import Conversation

FRAME = Line(64).encode
HEARTBEAT = Heartbeat(ping=b"P", every=0.2, patience=0.5)


ASKED: dict[str, Callable[[Conversation, Callable[[bytes], bool]], list[bytes]]] = {
    "a question": lambda each, answers: [each.ask(b"Q1", answers, 1.0)],
    "many": lambda each, answers: each.ask_many([b"Q1"], lambda _, frame: answers(frame), 1.0, 1),
    "none": lambda each, answers: [each.session.listen(answers, 1.0)],
}


@pytest.mark.parametrize("heartbeat", [None, HEARTBEAT], ids=["quiet", "heartbeat"])
@pytest.mark.parametrize("asked", ASKED)
def test_an_answer_that_came_while_this_thread_stood_still_is_taken(
    asked: str, heartbeat: Heartbeat | None
) -> None:
    conversation = Conversation(heartbeat=heartbeat)
    conversation.wire.say(FRAME(b"hello"), 0.1)
    conversation.wire.say(FRAME(b"A1"), 0.2)

    def answers(frame: bytes) -> bool:
        if frame == b"hello":
            conversation.wire.clock.now += 5.0
        return frame == b"A1"

    assert ASKED[asked](conversation, answers) == [b"A1"]
    assert conversation.now == pytest.approx(5.1)
    assert conversation.outside.events("talker") == ["connected"]


@pytest.mark.parametrize("asked", ASKED)
def test_who_talks_all_the_time_and_does_not_answer_buys_no_more_than_a_look(asked: str) -> None:
    conversation = Conversation(heartbeat=HEARTBEAT)
    for tick in range(200):
        conversation.wire.say(FRAME(b"hello"), tick * 0.01)
    with pytest.raises(CallTimeoutError):
        ASKED[asked](conversation, lambda frame: frame == b"A1")
    assert conversation.now == pytest.approx(1.0, abs=0.011)
    assert conversation.outside.events("talker") == ["connected"]


def test_a_board_that_spoke_during_a_long_command_was_not_silent() -> None:
    conversation = Conversation(heartbeat=HEARTBEAT)
    conversation.wire.say(FRAME(b"hello"), 2.0)
    conversation.wire.clock.now += 2.1  # a command that asks nothing
    conversation.session.beat(conversation.now)
    assert conversation.outside.events("talker") == ["connected"]
    assert conversation.heard() == [b"hello"]
    assert conversation.wire.written == [FRAME(b"P")]
    conversation.wire.clock.now += 2.1
    conversation.session.beat(conversation.now)
    assert conversation.outside.events("talker") == ["connected", "comms_error"]
