"""The queues of a mailbox: whatever happens to them, the ledger balances."""

from __future__ import annotations

import contextlib
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from gateway.bus.lanes import CLOSED, REMEMBERED, UNREAD_REPLIES, Lanes, Waiting
from gateway.bus.ledger import REFUSED
from gateway.errors import MailboxFullError
from gateway.mail.message import BULK, UNSOLICITED, URGENT, Message

Make = Callable[..., Message]


def drained(lanes: Lanes) -> list[str]:
    found = []
    while (message := lanes.pop()) is not None:
        found.append(message.subject)
    return found


def line_up(lanes: Lanes, message: Message) -> Waiting:
    lock = allocate_lock()
    lock.acquire()
    waiting = Waiting(message, lock)
    lanes.waiting.append(waiting)
    return waiting


def test_letters_come_out_in_the_order_in_which_they_came_in(letter: Make) -> None:
    lanes = Lanes(10, "fifo")
    for subject in "abcde":
        lanes.push_letter(letter(subject, priority=BULK if subject < "c" else URGENT))
    assert drained(lanes) == list("abcde")


def test_by_priority_the_urgent_come_first_and_each_kind_in_its_order(letter: Make) -> None:
    lanes = Lanes(10, "priority")
    for subject, priority in zip("abcdefgh", (1, 2, 0, 1, 2, 0, -5, 99), strict=True):
        lanes.push_letter(letter(subject, priority=priority))
    assert drained(lanes) == list("cfadbegh")


def test_replies_go_before_everything(letter: Make) -> None:
    lanes = Lanes(10, "fifo")
    lanes.push_letter(letter("mail", priority=URGENT))
    lanes.push_publication(letter("news", kind="publication"))
    lanes.push_urgent(letter("reply", kind="reply", in_reply_to="unknown"))
    assert drained(lanes)[0] == "reply"


def test_mail_and_publications_take_turns(letter: Make) -> None:
    lanes = Lanes(10, "fifo")
    for subject in "abc":
        lanes.push_letter(letter(subject))
        lanes.push_publication(letter(subject.upper(), kind="publication"))
    assert drained(lanes) == list("aAbBcC")


def test_the_oldest_publication_gives_way(letter: Make) -> None:
    lanes = Lanes(3, "fifo")
    for subject in "abcde":
        lanes.push_publication(letter(subject, kind="publication"))
    assert drained(lanes) == list("cde")
    assert lanes.balance().dropped == 2
    assert lanes.balance().is_balanced


def test_each_letter_taken_lets_the_first_writer_in(letter: Make) -> None:
    lanes = Lanes(1, "fifo")
    lanes.push_letter(letter("a"))
    first, second = (line_up(lanes, letter(subject)) for subject in "bc")
    assert lanes.pop().subject == "a"  # type: ignore[union-attr]
    assert (first.taken, second.taken) == (True, False)
    assert not first.lock.locked()
    assert second.lock.locked()
    assert len(lanes.letters) == 1
    assert drained(lanes) == list("bc")


def test_a_lane_that_holds_too_much_lets_nobody_in(letter: Make) -> None:
    lanes = Lanes(1, "fifo")
    lanes.push_letter(letter("a"))
    lanes.push_letter(letter("from a socket"))
    waiting = line_up(lanes, letter("b"))
    lanes.pop()
    assert not waiting.taken
    lanes.pop()
    assert waiting.taken


# Calls


def test_a_reply_goes_to_its_call_and_nowhere_else(letter: Make) -> None:
    lanes = Lanes(2, "fifo")
    asked = letter("ask")
    call = lanes.open_call(asked)
    answer = letter("answer", kind="reply", in_reply_to=asked.message_id)
    assert lanes.push_urgent(answer) is call
    assert call.reply is answer
    assert lanes.pop() is None
    assert lanes.balance().delivered == 1


def test_a_reply_that_came_before_anybody_asked_is_found(letter: Make) -> None:
    for read_meanwhile in (False, True):
        lanes = Lanes(2, "fifo")
        asked = letter("ask")
        answer = letter("answer", kind="reply", in_reply_to=asked.message_id)
        lanes.push_urgent(answer)
        lanes.push_urgent(letter("other", kind="reply", in_reply_to="other"))
        if read_meanwhile:
            assert lanes.pop() is answer
        assert lanes.open_call(asked).reply is answer
        assert drained(lanes) == ["other"]
        assert lanes.balance().delivered == 2
        assert lanes.balance().is_balanced


def test_a_late_reply_is_dropped_and_confuses_nobody(letter: Make) -> None:
    lanes = Lanes(2, "fifo")
    asked = letter("ask")
    lanes.open_call(asked)
    lanes.close_call(asked.message_id)
    assert lanes.push_urgent(letter(kind="reply", in_reply_to=asked.message_id)) is None
    assert lanes.pop() is None
    assert lanes.balance().dropped == 1


def test_a_second_reply_is_dropped(letter: Make) -> None:
    lanes = Lanes(2, "fifo")
    asked = letter("ask")
    call = lanes.open_call(asked)
    first, second = (letter(kind="reply", in_reply_to=asked.message_id) for _ in range(2))
    assert lanes.push_urgent(first) is call
    assert lanes.push_urgent(second) is None
    assert call.reply is first
    assert lanes.balance().dropped == 1


def test_who_asks_again_after_giving_up_still_gets_the_reply(letter: Make) -> None:
    lanes = Lanes(2, "fifo")
    asked = letter("ask")
    lanes.open_call(asked)
    lanes.close_call(asked.message_id)
    call = lanes.open_call(asked)
    assert lanes.push_urgent(letter(kind="reply", in_reply_to=asked.message_id)) is call


def test_what_is_remembered_is_bounded(letter: Make) -> None:
    lanes = Lanes(1000, "fifo")
    for number in range(REMEMBERED * 2):
        lanes.push_urgent(letter(kind="reply", in_reply_to=f"unclaimed {number}"))
        lanes.pop()
        asked = letter(id=f"closed {number}")
        lanes.open_call(asked)
        lanes.close_call(asked.message_id)
        lanes.end_of_life("worker", number)
    for table in (lanes._unclaimed, lanes._ended_lives):
        assert len(table) == REMEMBERED
    for number in range(CLOSED):
        lanes.open_call(given_up := letter(id=f"given up {number}"))
        lanes.close_call(given_up.message_id)
    assert len(lanes._closed_calls) == CLOSED
    assert not lanes.calls


def test_replies_that_nobody_reads_are_bounded_and_refused(letter: Make) -> None:
    lanes = Lanes(2, "fifo")
    for _ in range(2 * UNREAD_REPLIES):
        lanes.push_urgent(letter(kind="bounce", in_reply_to="x"))
    with pytest.raises(MailboxFullError):
        lanes.push_urgent(letter(kind="bounce", in_reply_to="x"))
    assert lanes.balance().refused == 1
    assert lanes.balance().is_balanced


def test_bounces_for_nobody_leave_room_for_replies(letter: Make) -> None:
    lanes = Lanes(2, "fifo")
    for number in range(5):
        with contextlib.nullcontext() if number < 2 else pytest.raises(MailboxFullError):
            lanes.push_urgent(letter(kind="bounce", in_reply_to="x", headers=UNSOLICITED))
    lanes.push_urgent(letter(kind="reply", in_reply_to="y"))
    assert lanes.balance()[:2] == (3, 0)
    assert lanes.balance().is_balanced


def test_only_the_calls_to_the_life_that_ended_are_found(letter: Make) -> None:
    lanes = Lanes(2, "fifo")
    here = [
        lanes.open_call(letter(recipient=recipient, incarnation=incarnation))
        for recipient, incarnation in [("a", 1), ("x@a", 1), ("a", 2), ("b", 1), ("a@b", 1)]
    ]
    assert lanes.end_of_life("a", 1) == here[:2]


def test_a_call_to_a_life_that_is_over_has_failed_at_once(letter: Make) -> None:
    lanes = Lanes(2, "fifo")
    answered = letter(recipient="x@a", incarnation=1)
    answer = letter(kind="reply", in_reply_to=answered.message_id)
    lanes.push_urgent(answer)
    lanes.end_of_life("a", 1)
    assert "'a' died" in lanes.open_call(letter(recipient="x@a", incarnation=1)).gone
    assert not lanes.open_call(letter(recipient="a", incarnation=2)).gone
    assert lanes.open_call(answered).reply is answer


def test_a_call_that_goes_to_the_next_life_in_the_end_is_open(letter: Make) -> None:
    lanes = Lanes(2, "fifo")
    asked = letter(recipient="a", incarnation=1)
    call = lanes.open_call(asked)
    for ended in lanes.end_of_life("a", 1):
        ended.gone = "'a' died"
    assert lanes.open_call(asked).gone
    again = replace(asked, incarnation=2)
    assert lanes.open_call(again) is call
    assert not call.gone
    lanes.end_of_life("a", 2)
    assert lanes.open_call(again).gone


class LedgerMachine(RuleBasedStateMachine):
    """Any sequence of what can happen to a mailbox, beside a naive model."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 3
        self.lanes = Lanes(self.size, "fifo")
        self.mail: deque[str] = deque()
        self.news: deque[str] = deque()
        self.asked: list[Message] = []
        self.made = 0
        self.accepted = 0

    def message(self, **fields: object) -> Message:
        self.made += 1
        id = f"{self.made}"
        return Message(id, id, 1, 0.0, "main", "worker", id, **fields)  # type: ignore[arg-type]

    @rule()
    def write(self) -> None:
        message = self.message()
        if len(self.lanes.letters) < self.size:
            self.lanes.push_letter(message)
            self.accepted += 1
        else:
            line_up(self.lanes, message)
        self.mail.append(message.subject)

    @rule()
    def publish(self) -> None:
        message = self.message(kind="publication")
        self.lanes.push_publication(message)
        self.accepted += 1
        self.news.append(message.subject)
        if len(self.news) > self.size:
            self.news.popleft()

    @rule()
    def ask(self) -> None:
        self.asked.append(self.message(incarnation=1))
        self.lanes.open_call(self.asked[-1])

    @precondition(lambda self: self.asked)
    @rule(pick=st.integers(0, 99), kind=st.sampled_from(["reply", "bounce"]))
    def answer(self, pick: int, kind: str) -> None:
        asked = self.asked[pick % len(self.asked)]
        try:
            self.lanes.push_urgent(self.message(kind=kind, in_reply_to=asked.message_id))
        except MailboxFullError:
            return
        self.accepted += 1

    @rule()
    def answer_what_nobody_asked(self) -> None:
        message = self.message(kind="reply", in_reply_to="nobody")
        try:
            self.lanes.push_urgent(message)
        except MailboxFullError:
            return
        self.accepted += 1

    @precondition(lambda self: self.asked)
    @rule(pick=st.integers(0, 99))
    def give_up_asking(self, pick: int) -> None:
        self.lanes.close_call(self.asked[pick % len(self.asked)].message_id)

    @precondition(lambda self: self.lanes.waiting)
    @rule()
    def give_up_writing(self) -> None:
        self.mail.remove(self.lanes.waiting.pop().message.subject)
        self.lanes.counts[REFUSED] += 1

    @rule(too_old=st.booleans())
    def read(self, too_old: bool) -> None:
        waited = len(self.lanes.waiting)
        message = self.lanes.pop()
        self.accepted += waited - len(self.lanes.waiting)
        if message is None:
            assert not self.mail
            assert not self.news
            return
        if message.kind == "letter":
            assert message.subject == self.mail.popleft()
        elif message.kind == "publication":
            assert message.subject == self.news.popleft()
        if too_old:
            self.lanes.expire()

    @rule()
    def lose_the_reader(self) -> None:
        self.lanes.empty()
        for waiting in self.lanes.waiting:
            self.mail.remove(waiting.message.subject)
        self.lanes.waiting.clear()
        self.mail.clear()
        self.news.clear()

    @invariant()
    def the_ledger_balances(self) -> None:
        balance = self.lanes.balance()
        assert balance.is_balanced, balance
        assert balance.accepted == self.accepted
        assert len(self.lanes.letters) <= self.size
        assert min(balance) >= 0


TestTheLedgerBalances = LedgerMachine.TestCase
TestTheLedgerBalances.settings = settings(max_examples=60, stateful_step_count=40)
