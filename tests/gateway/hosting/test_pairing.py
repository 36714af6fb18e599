"""Which question a frame answers: one at a time, many, and too late."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from gateway.device.heartbeat import Heartbeat
from gateway.errors import CallTimeoutError, LinkLostError, ProtocolError
from gateway.framing import Line
from gateway.hosting.pairing import REMEMBERED, LateAnswer, Overdue, Pipeline
from tests.gateway.hosting.scripted_wire import Conversation

FRAME = Line(64).encode


def tagged(request: bytes, frame: bytes) -> bool:
    return frame[:1] == b"A" and frame[1:] == request[1:]


def untagged(request: bytes, frame: bytes) -> bool:
    return frame[:1] == b"A"


def answering(
    conversation: Conversation,
    *delays: float | None,
    answer: Callable[[bytes], bytes] | None = None,
) -> None:
    """Have the n-th question answered after the n-th delay, not at all where that is None."""
    waiting = iter(delays)

    def board(data: bytes) -> None:
        delay = next(waiting)
        if delay is not None:
            said = b"A" + data[1:-1] if answer is None else answer(data[:-1])
            conversation.wire.say(FRAME(said), delay)

    conversation.wire.board = board


# Many questions.


def test_no_more_questions_are_in_flight_than_allowed() -> None:
    conversation = Conversation()
    outstanding = most = 0

    def board(data: bytes) -> None:
        nonlocal outstanding, most
        outstanding += 1
        most = max(most, outstanding)
        conversation.wire.say(FRAME(b"A" + data[1:-1]), 0.1 * outstanding)

    def answers(request: bytes, frame: bytes) -> bool:
        nonlocal outstanding
        if tagged(request, frame):
            outstanding -= 1
            return True
        return False

    conversation.wire.board = board
    requests = [b"Q%d" % number for number in range(20)]
    assert conversation.ask_many(requests, answers, 1.0, 4) == [
        b"A%d" % number for number in range(20)
    ]
    assert most == 4


def test_pipelining_saves_the_way_there_and_back() -> None:
    took = {}
    for in_flight in (1, 4):
        conversation = Conversation()
        answering(conversation, *[0.1] * 8)
        conversation.ask_many([b"Q%d" % number for number in range(8)], tagged, 1.0, in_flight)
        took[in_flight] = conversation.now
    assert took[1] == pytest.approx(0.8)
    assert took[4] == pytest.approx(0.2)


def test_answers_with_tags_may_come_in_any_order() -> None:
    conversation = Conversation()
    answering(conversation, 0.3, 0.1, 0.2)
    assert conversation.ask_many([b"Q1", b"Q2", b"Q3"], tagged, 1.0, 3) == [b"A1", b"A2", b"A3"]
    assert conversation.heard() == []


def test_answers_without_tags_are_paired_in_order() -> None:
    conversation = Conversation()
    answering(conversation, 0.1, 0.2, 0.3)
    assert conversation.ask_many([b"Q1", b"Q2", b"Q3"], untagged, 1.0, 3) == [b"A1", b"A2", b"A3"]


def test_what_nobody_asked_for_is_kept_in_order_and_told_apart() -> None:
    conversation = Conversation()
    answering(conversation, 0.1, 0.3)
    for number, moment in enumerate((0.05, 0.2, 0.25)):
        conversation.wire.say(FRAME(b"U%d" % number), moment)
    assert conversation.ask_many([b"Q1", b"Q2"], tagged, 1.0, 2) == [b"A1", b"A2"]
    assert conversation.heard() == [b"U0", b"U1", b"U2"]


def test_a_question_has_its_time_from_the_last_answer_on() -> None:
    conversation = Conversation()
    answering(conversation, 0.9, 1.8, 2.7)  # a board that takes 0.9 s for each
    assert len(conversation.ask_many([b"Q1", b"Q2", b"Q3"], untagged, 1.0, 3)) == 3
    assert conversation.now == pytest.approx(2.7)


def test_a_question_without_an_answer_ends_them_all_and_names_itself() -> None:
    conversation = Conversation()
    answering(conversation, 0.1, None, 0.1, 0.1)
    with pytest.raises(CallTimeoutError, match="no answer to b'Q2' within 1 s"):
        conversation.ask_many([b"Q1", b"Q2", b"Q3", b"Q4"], tagged, 1.0, 2)
    assert conversation.now == pytest.approx(1.3)


def test_unsolicited_frames_do_not_buy_a_question_time() -> None:
    conversation = Conversation()
    for moment in range(1, 100):
        conversation.wire.say(FRAME(b"U"), moment / 10)
    with pytest.raises(CallTimeoutError):
        conversation.ask_many([b"Q1"], tagged, 1.0, 1)
    assert conversation.now == pytest.approx(1.0)


def test_the_handshakes_end_is_the_end_of_every_question() -> None:
    conversation = Conversation()
    conversation.session.deadline = 0.5
    with pytest.raises(CallTimeoutError):
        conversation.ask_many([b"Q1"], tagged, 1.0, 1)
    assert conversation.now == pytest.approx(0.5)


def test_nothing_is_written_where_one_request_cannot_be_framed() -> None:
    conversation = Conversation()
    with pytest.raises(ProtocolError, match="it cannot be framed"):
        conversation.ask_many([b"Q1", b"Q\n2"], tagged, 1.0, 2)
    assert conversation.wire.written == []


def test_no_questions_have_no_answers() -> None:
    assert Conversation().ask_many([], tagged, 1.0, 2) == []


def test_misuse_is_refused() -> None:
    conversation = Conversation()
    with pytest.raises(ValueError, match="some seconds"):
        conversation.ask_many([b"Q1"], tagged, 0.0, 1)
    with pytest.raises(ValueError, match="at least one question"):
        conversation.ask_many([b"Q1"], tagged, 1.0, 0)
    with pytest.raises(ValueError, match="quarantine"):
        Conversation(quarantine=float("inf"))
    assert conversation.wire.written == []


def test_a_broken_link_ends_them_all() -> None:
    conversation = Conversation()
    conversation.break_()
    with pytest.raises(LinkLostError):
        conversation.ask_many([b"Q1", b"Q2"], tagged, 1.0, 2)


def test_silence_is_noticed_during_many_questions_and_no_ping_goes_out() -> None:
    conversation = Conversation(heartbeat=Heartbeat(ping=b"P", every=0.2, patience=0.5))
    with pytest.raises(CallTimeoutError):
        conversation.ask_many([b"Q1"], tagged, 3.0, 1)
    assert conversation.wire.written == [FRAME(b"Q1")]
    assert conversation.now == pytest.approx(3.0)
    assert conversation.outside.events("talker") == ["connected", "comms_error"]


# Late answers.


def ask(conversation: Conversation, request: bytes, timeout: float = 1.0) -> bytes:
    return conversation.ask(request, lambda frame: tagged(request, frame), timeout)


def test_a_late_answer_with_a_tag_is_told_from_the_next_ones() -> None:
    conversation = Conversation()
    answering(conversation, 1.5, 0.8)
    with pytest.raises(CallTimeoutError):
        ask(conversation, b"Q1")
    assert ask(conversation, b"Q2") == b"A2"
    assert conversation.heard() == [LateAnswer(b"Q1", b"A1")]
    assert conversation.counts.late == 1


def test_a_late_answer_that_comes_while_nothing_is_asked_is_late_all_the_same() -> None:
    conversation = Conversation()
    answering(conversation, 1.5)
    with pytest.raises(CallTimeoutError):
        ask(conversation, b"Q1")
    conversation.let_pass(1.0)
    conversation.wire.say(FRAME(b"A1"))  # once is late; twice is something else
    conversation.let_pass(1.0)
    assert conversation.heard() == [LateAnswer(b"Q1", b"A1"), b"A1"]


def test_after_a_while_an_answer_is_not_late_but_something_else() -> None:
    conversation = Conversation()
    answering(conversation, 12.0)
    with pytest.raises(CallTimeoutError):
        ask(conversation, b"Q1")
    conversation.let_pass(12.0)
    assert conversation.heard() == [b"A1"]


def test_only_so_many_questions_are_remembered() -> None:
    overdue = Overdue(0.0)
    for number in range(REMEMBERED + 1):
        overdue.add(b"Q%d" % number, partial(tagged, b"Q%d" % number), 0.0)
    assert overdue.claim(b"A0") is None
    assert overdue.claim(b"A1") == LateAnswer(b"Q1", b"A1")


def test_the_answers_to_many_questions_that_were_given_up_are_late() -> None:
    conversation = Conversation()
    answering(conversation, 0.1, 5.0, 6.0, 7.0)
    with pytest.raises(CallTimeoutError):
        conversation.ask_many([b"Q1", b"Q2", b"Q3", b"Q4"], tagged, 1.0, 3)
    conversation.let_pass(8.0)
    assert conversation.heard() == [LateAnswer(b"Q%d" % each, b"A%d" % each) for each in (2, 3, 4)]


def ask_untagged(conversation: Conversation, request: bytes, timeout: float = 1.0) -> bytes:
    return conversation.ask(request, lambda frame: untagged(request, frame), timeout)


def test_without_tags_a_quarantine_lets_the_late_answer_pass() -> None:
    conversation = Conversation(quarantine=1.0)
    answering(conversation, 1.5, 0.1)
    with pytest.raises(CallTimeoutError):
        ask_untagged(conversation, b"Q1")
    assert ask_untagged(conversation, b"Q2") == b"A2"
    assert conversation.now == pytest.approx(1.6)  # the answer ended it before its time
    assert conversation.heard() == [LateAnswer(b"Q1", b"A1")]


def test_a_quarantine_ends_where_the_answer_is_lost_for_good() -> None:
    conversation = Conversation(quarantine=1.0)
    answering(conversation, None, 0.1)
    with pytest.raises(CallTimeoutError):
        ask_untagged(conversation, b"Q1")
    assert ask_untagged(conversation, b"Q2") == b"A2"
    assert conversation.now == pytest.approx(2.1)
    assert conversation.heard() == []


def test_a_quarantine_ends_with_the_handshakes_time() -> None:
    conversation = Conversation(quarantine=60.0)
    with pytest.raises(CallTimeoutError):
        ask_untagged(conversation, b"Q1")
    conversation.session.deadline = 2.0
    with pytest.raises(CallTimeoutError):
        ask_untagged(conversation, b"Q2")
    assert conversation.now == pytest.approx(2.0)


def test_what_came_before_a_question_is_not_its_answer() -> None:
    conversation = Conversation()
    answering(conversation, 1.5, 0.1)
    with pytest.raises(CallTimeoutError):
        ask_untagged(conversation, b"Q1")
    conversation.wire.clock.now += 1.0  # it lies there unread
    assert ask_untagged(conversation, b"Q2") == b"A2"
    assert conversation.heard() == [LateAnswer(b"Q1", b"A1")]


def test_without_tags_and_quarantine_only_the_next_question_is_mistaken() -> None:
    # What the driver's documentation warns of; and that it does not go on for ever.
    conversation = Conversation()
    answering(conversation, 1.5, 0.8, 0.1, 0.1)
    with pytest.raises(CallTimeoutError):
        ask_untagged(conversation, b"Q1")
    assert ask_untagged(conversation, b"Q2") == b"A1"
    conversation.let_pass(1.0)
    assert ask_untagged(conversation, b"Q3") == b"A3"
    assert ask_untagged(conversation, b"Q4") == b"A4"
    assert conversation.heard() == [LateAnswer(b"Q1", b"A2")]


def test_a_hook_that_cannot_read_a_frame_does_not_claim_it() -> None:
    conversation = Conversation()

    def picky(frame: bytes) -> bool:
        raise ProtocolError("that is no frame of mine")

    with pytest.raises(CallTimeoutError):
        conversation.ask(b"Q1", picky, 1.0)
    conversation.wire.say(FRAME(b"U"))
    conversation.let_pass(1.0)
    assert conversation.heard() == [b"U"]


@given(
    st.permutations(range(6)),
    st.integers(min_value=1, max_value=6),
    st.lists(st.integers(min_value=0, max_value=9), max_size=6),
)
def test_a_pipeline_pairs_whatever_comes(
    order: list[int], in_flight: int, extra: list[int]
) -> None:
    pipeline = Pipeline([b"Q%d" % number for number in range(6)], tagged, in_flight)
    written: set[int] = set()
    said = [*order, *extra, *order, *order, *order, *order, *order]
    for number in said:
        written |= set(pipeline.to_write())
        assert len(pipeline.waiting) <= in_flight
        was_waiting = b"Q%d" % number in pipeline.waiting
        assert pipeline.take(b"A%d" % number) is was_waiting
    assert pipeline.is_done
    assert pipeline.answers == [b"A%d" % number for number in range(6)]


class Board(RuleBasedStateMachine):
    """A board with tags that is late, loses answers, and talks by itself.

    Whatever it does: a question is given its own answer or none, late answers
    are told as such, and everything else is kept in order, once.
    """

    fates = st.one_of(st.none(), st.integers(min_value=0, max_value=40))

    @initialize()
    def begin(self) -> None:
        self.conversation = Conversation()
        self.conversation.wire.board = self.hear
        self.number = 0
        self.fate: dict[bytes, int | None] = {}
        self.in_flight = 1
        self.outstanding: set[bytes] = set()
        self.given_up: dict[bytes, float] = {}
        self.late: dict[bytes, float] = {}
        self.expected_late: list[bytes] = []
        self.unasked: list[bytes] = []
        self.heard: list[bytes | LateAnswer] = []

    def hear(self, data: bytes) -> None:
        request = data[:-1]
        self.outstanding.add(request)
        assert len(self.outstanding) <= self.in_flight
        if (fate := self.fate[request]) is not None:
            # Never exactly at a deadline.
            self.conversation.wire.say(FRAME(b"A" + request[1:]), 0.05 + 0.1 * fate)

    def accepts(self, request: bytes, frame: bytes) -> bool:
        if not tagged(request, frame):
            return False
        self.outstanding.discard(request)
        return True

    def make(self, fates: list[int | None]) -> list[bytes]:
        requests = []
        for fate in fates:
            self.number += 1
            requests.append(b"Q%d" % self.number)
            self.fate[requests[-1]] = fate
        return requests

    @rule(fate=fates)
    def ask_one(self, fate: int | None) -> None:
        (request,) = self.make([fate])
        self.in_flight = 1
        self.outstanding.clear()
        try:
            answer = self.conversation.ask(request, lambda frame: self.accepts(request, frame), 1.0)
        except CallTimeoutError:
            assert fate is None or fate >= 10
            self.give_up([request])
        else:
            assert answer == b"A" + request[1:]
            assert fate is not None
            assert fate < 10

    @rule(fates=st.lists(fates, max_size=6), in_flight=st.integers(min_value=1, max_value=4))
    def ask_several(self, fates: list[int | None], in_flight: int) -> None:
        requests = self.make(fates)
        self.in_flight = in_flight
        self.outstanding.clear()
        try:
            answers = self.conversation.ask_many(requests, self.accepts, 1.0, in_flight)
        except CallTimeoutError:
            assert any(fate is None or fate >= 10 for fate in fates)
            self.give_up(sorted(self.outstanding))
        else:
            assert answers == [b"A" + request[1:] for request in requests]
            assert None not in fates

    def give_up(self, requests: list[bytes]) -> None:
        self.expected_late += [each for each in requests if self.fate[each] is not None]

    @rule(after=st.integers(min_value=0, max_value=30))
    def say_something(self, after: int) -> None:
        self.number += 1
        self.unasked.append(b"U%d" % self.number)
        self.conversation.wire.say(FRAME(self.unasked[-1]), 0.1 * after)

    @rule(tenths=st.integers(min_value=0, max_value=30))
    def let_pass(self, tenths: int) -> None:
        self.conversation.let_pass(0.1 * tenths)

    def teardown(self) -> None:
        if not hasattr(self, "conversation"):
            return
        self.conversation.let_pass(20.0)
        heard = self.conversation.heard()
        late = [frame for frame in heard if isinstance(frame, LateAnswer)]
        unasked = [frame for frame in heard if not isinstance(frame, LateAnswer)]
        # No answer here takes longer than 4.05 s: too short to be forgotten.
        assert {each.request for each in late} == set(self.expected_late)
        assert len(late) == len(self.expected_late) == self.conversation.counts.late
        assert all(each.payload == b"A" + each.request[1:] for each in late)
        assert sorted(unasked) == sorted(self.unasked)


TestBoard = Board.TestCase
