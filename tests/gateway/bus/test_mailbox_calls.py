"""Waiting for a reply: handed over directly, by any thread, beside any other mail."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from gateway.bus.leading import Standing
from gateway.bus.ledger import Balance
from gateway.bus.mailbox import Mailbox
from gateway.bus.wire import Outlet
from gateway.errors import CallTimeoutError, RecipientGoneError, RefusedError
from gateway.mail.message import Message, bounce_of, reply_to

Make = Callable[..., Message]
Boxes = Callable[..., Mailbox]
Outlets = Callable[..., Outlet]

WAYS = ["by reference", "by socket"]


def answer(letter: Message, body: Any = "answer") -> Message:
    return reply_to(letter, f"answer to {letter.message_id}", 0.0, body)


@pytest.fixture
def hand_in(outlet: Outlets) -> Callable[[str, Mailbox, Message], None]:
    """Return a way to deliver, by reference or as another OS process does."""

    def deliver(way: str, box: Mailbox, message: Message) -> None:
        if way == "by socket":
            outlet(box.name, box.incarnation).deliver(message)
        else:
            box.deliver(message)

    return deliver


def test_who_was_told_that_there_will_be_no_reply_keeps_nothing_of_it(
    letter: Make, box: Boxes, cycle_free: Any
) -> None:
    mine, asked = box("main"), letter(recipient="arm", incarnation=1)
    mine.fail_calls("arm", 1)
    with cycle_free(), contextlib.suppress(RecipientGoneError):
        mine.wait_for(asked, 10.0)


@pytest.mark.parametrize("way", WAYS)
def test_a_reply_is_handed_over_and_other_mail_keeps_its_order(
    letter: Make, box: Boxes, run: Any, until: Any, hand_in: Any, way: str
) -> None:
    mine = box("main")
    asked = letter()
    caller = run(lambda: mine.wait_for(asked, 10.0))
    until(mine._lanes.open_calls)
    for subject in "abc":
        hand_in(way, mine, letter(subject))
    hand_in(way, mine, answer(asked))
    assert caller.result().body == "answer"
    assert [mine.get(5.0).subject for _ in "abc"] == list("abc")  # type: ignore[union-attr]
    assert mine.get(0.0) is None


@pytest.mark.parametrize("way", WAYS)
def test_a_reply_that_is_here_already_needs_no_wait(
    letter: Make, box: Boxes, hand_in: Any, way: str
) -> None:
    mine = box("main")
    asked = letter()
    hand_in(way, mine, answer(asked))
    assert mine.wait_for(asked, 0.0).body == "answer"
    assert mine.get(0.0) is None


@pytest.mark.parametrize("way", WAYS)
def test_a_bounce_raises_its_error(letter: Make, box: Boxes, hand_in: Any, way: str) -> None:
    mine = box("main")
    asked = letter()
    hand_in(way, mine, bounce_of(asked, "2", 0.0, RefusedError("not on a Sunday")))
    with pytest.raises(RefusedError, match="not on a Sunday"):
        mine.wait_for(asked, 5.0)


def test_no_answer_is_a_typed_error_at_the_deadline(letter: Make, box: Boxes) -> None:
    mine = box("main")
    asked = letter("lift")
    with pytest.raises(CallTimeoutError, match=r"did not answer 'lift' within 0\.02 s"):
        mine.wait_for(asked, 0.02)
    mine.deliver(answer(asked))
    assert mine.get(0.0) is None
    assert mine.statistics().dropped == 1


@pytest.mark.parametrize("way", WAYS)
def test_many_threads_wait_and_each_gets_its_own(
    letter: Make, box: Boxes, run: Any, until: Any, hand_in: Any, way: str
) -> None:
    mine = box("main")
    got: list[str] = []

    def read() -> None:
        while (message := mine.get(None)) is not None:
            got.append(message.subject)

    asked = [letter() for _ in range(8)]
    callers = [run(lambda each=each: mine.wait_for(each, 10.0)) for each in asked[:4]]
    until(lambda: len(mine._lanes.open_calls()) == 4)
    reader = run(read)
    callers += [run(lambda each=each: mine.wait_for(each, 10.0)) for each in asked[4:]]
    until(lambda: len(mine._lanes.open_calls()) == 8)
    for number, each in enumerate(reversed(asked)):
        hand_in(way, mine, letter(str(number)))
        hand_in(way, mine, answer(each, each.message_id))
    for caller, each in zip(callers, asked, strict=True):
        assert caller.result().body == each.message_id
    until(lambda: len(got) == 8)
    mine.wake()
    reader.result()
    assert got == list("01234567")
    assert not mine._lead.leader
    assert not mine._lead.followers
    assert mine._lead.readers == 0


@pytest.mark.parametrize("way", WAYS)
def test_threads_that_come_and_go_lose_no_wake_up(
    letter: Make, box: Boxes, run: Any, until: Any, outlet: Outlets, way: str
) -> None:
    mine, echo = box("main"), box("echo")
    rounds, callers = 150, 4
    out = {name: outlet(name) for name in ("main", "echo")}

    def deliver(to: Mailbox, message: Message) -> None:
        (out[to.name] if way == "by socket" else to).deliver(message, 10.0)

    def serve() -> None:
        while (message := echo.get(None)) is not None:
            deliver(mine, answer(message, message.message_id))
            if message.subject == "both":
                deliver(mine, letter("noise"))

    def call(number: int) -> None:
        for turn in range(rounds):
            asked = letter("both" if turn % 3 == 0 else "one", id=f"{number}-{turn}")
            deliver(echo, asked)
            assert mine.wait_for(asked, 10.0).body == asked.message_id

    heard: list[str] = []

    def read() -> None:
        while (message := mine.get(None)) is not None:
            heard.append(message.subject)

    server, reader = run(serve), run(read)
    workers = [run(lambda number=number: call(number)) for number in range(callers)]
    for worker in workers:
        worker.result(30.0)
    until(lambda: heard.count("noise") == callers * rounds // 3)
    for closed, thread in ((echo, server), (mine, reader)):
        closed.close()
        thread.result()
        assert closed.statistics().is_balanced


def test_mail_is_seen_at_once_while_another_thread_waits_for_a_reply(
    letter: Make,
    box: Boxes,
    run: Any,
    until: Any,
    outlet: Outlets,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However late the leader gets a core.
    monkeypatch.setattr("gateway.bus.mailbox.HANDOVER", 10.0)
    mine = box("main")
    asked = letter()
    caller = run(lambda: mine.wait_for(asked, 30.0))
    until(lambda: mine._lead.leader)
    outlet("main").deliver(letter("mail"))
    message = mine.get(0.0)
    assert message is not None
    assert message.subject == "mail"
    mine.deliver(answer(asked))
    caller.result()


def test_who_waits_for_a_reply_leaves_mail_in_the_socket(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    mine = box("main")
    outlet("main").deliver(letter("mail"))
    with pytest.raises(CallTimeoutError):
        mine.wait_for(letter(), 0.01)
    assert mine.statistics().accepted == 0


def test_a_call_within_a_callback_is_answered(letter: Make, box: Boxes, run: Any) -> None:
    mine, other = box("main"), box("other")

    def serve() -> None:
        for _ in range(2):
            message = other.get(10.0)
            assert message is not None
            mine.deliver(answer(message, message.subject))

    server = run(serve)
    mine.deliver(letter("outer"))
    mine.deliver(letter("waits its turn"))
    outer = mine.get(5.0)
    assert outer is not None
    for subject in ("first", "second"):
        asked = letter(subject)
        other.deliver(asked)
        assert mine.wait_for(asked, 10.0).body == subject
    assert mine.get(0.0).subject == "waits its turn"  # type: ignore[union-attr]
    server.result()


def test_a_death_ends_the_calls_to_that_life_and_no_others(
    letter: Make, box: Boxes, run: Any, until: Any
) -> None:
    mine = box("main")
    doomed = [letter(recipient=to, incarnation=3) for to in ("worker", "wheels@worker")]
    spared = [letter(recipient="worker", incarnation=4), letter(recipient="other", incarnation=3)]
    dying = [run(lambda each=each: mine.wait_for(each, 30.0)) for each in doomed]
    living = [run(lambda each=each: mine.wait_for(each, 30.0)) for each in spared]
    until(lambda: len(mine._lanes.open_calls()) == 4)
    mine.fail_calls("worker", 3)
    for caller in dying:
        with pytest.raises(RecipientGoneError, match="'worker' died before it answered 'hello'"):
            caller.result()
    for each, caller in zip(spared, living, strict=True):
        mine.deliver(answer(each))
        caller.result()


def test_a_death_between_the_letter_and_the_wait_is_no_less_a_death(
    letter: Make, box: Boxes
) -> None:
    mine = box("main")
    asked = letter(recipient="worker", incarnation=3)
    mine.fail_calls("worker", 3)
    with pytest.raises(RecipientGoneError):
        mine.wait_for(asked, 30.0)


@pytest.mark.parametrize("way", WAYS)
def test_who_answered_before_dying_has_answered(
    letter: Make, box: Boxes, hand_in: Any, way: str
) -> None:
    mine = box("main")
    asked = letter(recipient="worker", incarnation=3)
    hand_in(way, mine, answer(asked))
    mine.fail_calls("worker", 3)
    assert mine.wait_for(asked, 5.0).body == "answer"


def test_a_late_reply_of_the_dead_confuses_nobody(letter: Make, box: Boxes) -> None:
    mine = box("main")
    asked = letter(recipient="worker", incarnation=3)
    mine.fail_calls("worker", 3)
    with pytest.raises(RecipientGoneError):
        mine.wait_for(asked, 5.0)
    mine.deliver(answer(asked))
    assert mine.get(0.0) is None
    assert mine.statistics().is_balanced


def test_a_leader_that_wants_only_its_reply_sleeps_while_mail_waits(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    mine = box("main")
    outlet("main").deliver(letter("mail"))
    before = os.times()
    with pytest.raises(CallTimeoutError):
        mine.wait_for(letter(), 0.3)
    after = os.times()
    assert after.user + after.system - before.user - before.system < 0.15, "it spun"


def test_a_reader_woken_by_a_signal_handler_like_call_returns(
    box: Boxes, run: Any, until: Any, letter: Make
) -> None:
    mine = box("main")
    asked = letter()
    caller = run(lambda: mine.wait_for(asked, 30.0))
    until(lambda: mine._lead.leader)
    entered = threading.Event()

    def read() -> Message | None:
        entered.set()
        return mine.get(None)

    reader = run(read)
    entered.wait(5.0)
    until(lambda: mine._lead.readers)
    mine.wake()
    assert reader.result() is None
    mine.deliver(answer(asked))
    caller.result()


def test_a_reader_and_who_waits_for_a_reply_let_each_other_sleep(
    letter: Make, box: Boxes, run: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = box("main")
    asked = letter()
    caller = run(lambda: mine.wait_for(asked, 10.0))
    until(lambda: mine._lead.asleep)
    lined_up: list[bool] = []
    follow = mine._lead.follow

    def counted(place: Any) -> None:
        lined_up.append(place.reads)
        follow(place)

    monkeypatch.setattr(mine._lead, "follow", counted)
    assert mine.get(0.2) is None
    assert len(lined_up) < 10
    mine.deliver(answer(asked))
    assert caller.result().body == "answer"


@pytest.mark.parametrize("way", WAYS)
def test_mail_reaches_a_reader_behind_who_waits_for_replies(
    letter: Make, box: Boxes, run: Any, until: Any, hand_in: Any, way: str
) -> None:
    mine = box("main")
    letters = [letter() for _ in range(3)]
    callers = [run(lambda one=one: mine.wait_for(one, 10.0)) for one in letters]
    until(lambda: len(mine._lead.followers) == 2)
    reader = run(lambda: mine.get(10.0))
    until(lambda: mine._lead.readers == 1)
    hand_in(way, mine, letter("mail"))
    # At once, and not when its time is over.
    assert reader.result(5.0).subject == "mail"
    for one, caller in zip(letters, callers, strict=True):
        hand_in(way, mine, answer(one))
        assert caller.result().body == "answer"


class Bell:
    """Is rung, once for each call that ends."""

    def __init__(self) -> None:
        self.rings = 0

    def release(self) -> None:
        self.rings += 1


@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_nobody_waits_for_rings_and_may_be_waited_for_afterwards(
    letter: Make, box: Boxes, run: Any, hand_in: Any, way: str
) -> None:
    mine = box("main")
    # More than once: letters are read one at a time when no more than one has come before.
    for _ in range(3):
        bell, asked = Bell(), letter()
        call = mine.open_call(asked, bell)
        with pytest.raises(CallTimeoutError):
            mine.wait_on(call, 0.01)
        assert bell.rings == 0
        waiting = run(lambda call=call: mine.wait_on(call, 10.0))
        hand_in(way, mine, answer(asked))
        assert waiting.result().body == "answer"
        assert bell.rings == 1
        assert mine.wait_on(call, 0.0).body == "answer"
        mine.close_call(call)
    assert mine._lanes.open_calls() == []


def test_who_reads_replies_in_between_hands_the_lead_on(
    letter: Make, box: Boxes, run: Any, until: Any, outlet: Outlets
) -> None:
    mine = box("main")
    # As if another thread were in the middle of `read_replies`, and the reader came by.
    mine._lead.leader = Standing(reads=False)
    reader = run(lambda: mine.get(10.0))
    until(lambda: mine._lead.followers)
    mine._lead.leader = None
    mine.read_replies()
    outlet("main", 1).deliver(letter("mail"))
    assert reader.result().subject == "mail"


def test_control_mail_is_seen_by_who_asked_for_it_before_who_sees_it_already(
    letter: Make, box: Boxes
) -> None:
    seen: list[str] = []

    def older(message: Message) -> bool:
        seen.append(f"old {message.subject}")
        return True

    def newer(message: Message) -> bool:
        seen.append(f"new {message.subject}")
        return message.subject == "a"

    mine = box("main", control=older)
    mine.obey_also(newer)
    mine.deliver(letter("a", kind="control"))
    mine.deliver(letter("b", kind="control"))
    assert seen == ["new a", "new b", "old b"]
    assert mine.get(0.0) is None


def test_an_armed_reader_is_told_of_what_another_thread_has_read(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    mine = box("main")
    assert mine.arm()
    mail, _ = mine.descriptors()
    watching = select.poll()
    watching.register(mail, select.POLLIN)
    outlet("main", mine.incarnation).deliver(answer(letter()))
    # As whoever waits for room elsewhere does, for every mailbox of its OS process.
    mine.read_replies()
    assert watching.poll(1000)
    assert mine.get(0.0) is not None


@pytest.mark.parametrize("way", WAYS)
def test_a_reply_that_is_expected_is_no_mail_although_nobody_waits_yet(
    letter: Make, box: Boxes, hand_in: Any, way: str
) -> None:
    mine = box("main")
    asked = letter()
    mine.expect(asked)
    hand_in(way, mine, answer(asked))
    assert mine.get(0.05) is None
    assert mine.wait_for(asked, 1.0).body == "answer"
    assert mine._lanes.open_calls() == []


def test_what_could_not_leave_is_expected_no_more(letter: Make, box: Boxes) -> None:
    mine = box("main")
    asked = letter()
    mine.expect(asked)
    mine.expect_no_more(asked)
    assert mine._lanes.open_calls() == []


@pytest.mark.parametrize("order", ["fifo", "priority"])
def test_whoever_leads_next_costs_no_letter_that_is_still_to_be_sorted(
    letter: Make, box: Boxes, outlet: Outlets, run: Any, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    target, out = box(order=order), outlet()
    asked, sort = letter(), target._sort
    call = target.open_call(asked, target.make_lock())
    answer = letter(kind="reply", in_reply_to=asked.message_id)
    waits: list[Any] = []

    def switched(message: Message) -> None:
        if not waits:
            # The other thread runs until it needs the lock, which is held here.
            out.deliver(answer)
            waits.append(run(lambda: target.wait_on(call, 10.0)))
            threading.Event().wait(0.1)
        sort(message)

    monkeypatch.setattr(target, "_sort", switched)
    target._singles = 10
    # So that it is no usual letter, which is not sorted at all.
    target._lead.followers.append(Standing(reads=False))
    out.deliver(letter("first"))
    first = target.get(5.0)
    target._lead.followers.clear()
    waits[0].result()
    out.deliver(letter("second"))
    found = [first, *iter(lambda: target.get(0.0), None)]
    assert [message and message.subject for message in found] == ["first", "second"]
    assert target.statistics() == Balance(accepted=3, delivered=3)


@pytest.mark.parametrize(
    ("holder", "called"), [("push_urgent", "get"), ("push_urgent", "len"), ("pop", "popleft")]
)
def test_a_reply_that_another_thread_has_in_its_hands_is_not_missed(
    letter: Make, box: Boxes, run: Any, holder: str, called: str
) -> None:
    mine, asked = box("main"), letter()
    inside, opened = threading.Event(), threading.Event()

    def profile(frame: FrameType, event: str, function: Any) -> None:
        # The interpreter may go on with another thread here, whoever holds the lock.
        if (event, frame.f_code.co_name) == ("c_return", holder) and function.__name__ == called:
            sys.setprofile(None)
            inside.set()
            opened.wait(0.2)

    def hand_over() -> None:
        if holder == "pop":
            mine.deliver(answer(asked))
        sys.setprofile(profile)
        if holder == "pop":
            mine.get(0.0)
        else:
            mine.deliver(answer(asked))

    other = run(hand_over)
    assert inside.wait(10.0)
    assert mine.wait_for(asked, 10.0).body == "answer"
    other.result()
    assert mine._lanes.open_calls() == []
