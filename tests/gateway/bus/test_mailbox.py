"""A mailbox is bounded, loses nothing without counting it, and holds up only its writers."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from gateway.bus.intake import LOOK_EVERY
from gateway.bus.lanes import ByPriority, Waiting
from gateway.bus.ledger import Balance
from gateway.bus.mailbox import Mailbox
from gateway.bus.wire import Folder, Outlet, socket_name
from gateway.clock import RealClock
from gateway.errors import ExpiredError, MailboxFullError, RecipientGoneError
from gateway.mail.message import BULK, URGENT, Message

Make = Callable[..., Message]
Boxes = Callable[..., Mailbox]
Outlets = Callable[..., Outlet]


def subjects(box: Mailbox, count: int) -> list[str]:
    found: list[str] = []
    for _ in range(count):
        message = box.get(5.0)
        assert message is not None, found
        found.append(message.subject)
    return found


# Writing


def test_a_full_mailbox_blocks_only_its_writers(letter: Make, box: Boxes, run: Any) -> None:
    stuck, idle = box("stuck", size=1), box("idle", size=1)
    stuck.deliver(letter())
    writer = run(lambda: stuck.deliver(letter("late"), 10.0))
    idle.deliver(letter("quick"), 0.0)
    assert subjects(idle, 1) == ["quick"]
    assert writer.runs
    assert subjects(stuck, 2) == ["hello", "late"]
    writer.result()


def test_a_full_mailbox_refuses_at_the_deadline(letter: Make, box: Boxes) -> None:
    full = box(size=2)
    full.deliver(letter("a"))
    full.deliver(letter("b"))
    with pytest.raises(MailboxFullError, match="stayed full with 2 letters"):
        full.deliver(letter("c"), 0.02)
    assert subjects(full, 2) == ["a", "b"]
    assert full.get(0.0) is None
    balance = full.statistics()
    assert (balance.accepted, balance.refused) == (2, 1)
    assert balance.is_balanced


def test_writers_are_let_in_in_the_order_in_which_they_came(
    letter: Make, box: Boxes, run: Any, until: Any
) -> None:
    full = box(size=1)
    full.deliver(letter("0"))
    writers = []
    for number in range(1, 6):
        writers.append(run(lambda number=number: full.deliver(letter(str(number)), 10.0)))
        until(lambda number=number: len(full._lanes.waiting) == number)
    assert subjects(full, 6) == list("012345")
    for writer in writers:
        writer.result()


# Its reader takes letters out without the lock, so that others meet it at any moment.


class MetWhileTaking(deque[Message]):
    """Letters of which one is taken out: ``before()`` and ``after()`` happen around that, once."""

    before: Callable[[], object] | None = None
    after: Callable[[], object] | None = None

    def popleft(self) -> Message:
        before, self.before = self.before, None
        if before:
            before()
        message = super().popleft()
        after, self.after = self.after, None
        if after:
            after()
        return message


class MetWhileLiningUp(deque[Waiting]):
    """Writers of which one is about to line up: ``then()`` happens just before."""

    then: Callable[[], object] | None = None

    def append(self, waiting: Waiting) -> None:
        then, self.then = self.then, None
        if then:
            then()
        super().append(waiting)


@pytest.fixture
def met(letter: Make, box: Boxes) -> tuple[Mailbox, MetWhileTaking]:
    """Return a mailbox that is full with one letter, and where that lies."""
    full = box(size=1)
    letters = full._lanes.letters = full._lanes.fifo = MetWhileTaking()
    in_a_row(full, letter)
    full.deliver(letter("first"))
    return full, letters


def in_a_row(box: Mailbox, letter: Make) -> None:
    """Have the reader in the midst of a row of letters: the first is taken under the lock."""
    box.deliver(letter("before"))
    assert subjects(box, 1) == ["before"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_who_lines_up_while_a_letter_is_taken_out_is_let_in(
    letter: Make, met: tuple[Mailbox, MetWhileTaking], run: Any, until: Any, moment: str
) -> None:
    full, letters = met
    writers: list[Any] = []

    def line_up() -> None:
        # The reader is in `get`, and is not to be taken for the one who writes.
        writers.append(run(lambda: full.deliver(letter("second"), 10.0)))
        until(lambda: full._lanes.waiting or not writers[0].runs)

    setattr(letters, moment, line_up)
    assert subjects(full, 1) == ["first"]
    writers[0].result()
    assert subjects(full, 1) == ["second"]


def test_who_lines_up_just_after_the_last_letter_was_taken_out_is_let_in(
    letter: Make, met: tuple[Mailbox, MetWhileTaking], run: Any
) -> None:
    full, _ = met
    waiting = full._lanes.waiting = MetWhileLiningUp()
    waiting.then = lambda: run(lambda: subjects(full, 1)).result()
    run(lambda: full.deliver(letter("second"), 10.0)).result()
    assert subjects(full, 1) == ["second"]


def test_a_newcomer_does_not_take_the_room_that_was_made_for_who_waits(
    letter: Make, met: tuple[Mailbox, MetWhileTaking], run: Any, until: Any
) -> None:
    full, letters = met
    second = run(lambda: full.deliver(letter("second"), 10.0))
    until(lambda: full._lanes.waiting)
    late: list[Any] = []

    def come_late() -> None:
        late.append(run(lambda: full.deliver(letter("third"), 10.0)))
        until(lambda: not second.runs)

    letters.after = come_late
    assert subjects(full, 3) == ["first", "second", "third"]
    late[0].result()


def test_a_letter_that_its_reader_took_does_not_give_way_as_well(
    letter: Make, box: Boxes, run: Any
) -> None:
    bounced: list[Message] = []
    full = box(size=1, policy="drop_oldest", undeliverable=lambda *told: bounced.append(told[0]))
    letters = full._lanes.letters = full._lanes.fifo = MetWhileTaking()
    in_a_row(full, letter)
    full.deliver(letter("first"))
    letters.before = lambda: run(lambda: subjects(full, 1)).result()
    full.deliver(letter("second"))
    assert subjects(full, 1) == ["second"]
    assert not bounced
    assert full.statistics()[:3] == (3, 3, 0)


class MetWhileCounted(deque[Message]):
    """Letters that are counted: ``after()`` happens just after that, once."""

    after: Callable[[], object] | None = None

    def __len__(self) -> int:
        found = super().__len__()
        after, self.after = self.after, None
        if after:
            after()
        return found


def test_nothing_gives_way_where_room_was_made_meanwhile(
    letter: Make, box: Boxes, run: Any
) -> None:
    full = box(size=3, policy="drop_oldest")
    letters = full._lanes.letters = full._lanes.fifo = MetWhileCounted()
    in_a_row(full, letter)
    for subject in "abc":
        full.deliver(letter(subject))
    letters.after = lambda: run(lambda: subjects(full, 1)).result()
    full.deliver(letter("d"))
    assert full.statistics().dropped == 0
    assert subjects(full, 3) == ["b", "c", "d"]


def test_a_letter_is_counted_as_accepted_before_its_reader_can_take_it(
    letter: Make, box: Boxes
) -> None:
    mine = box()
    seen: list[int] = []

    class Watched(deque[Message]):
        def append(self, message: Message) -> None:
            seen.append(mine._lanes.balance().accepted)
            super().append(message)

    mine._lanes.letters = mine._lanes.fifo = Watched()
    mine.deliver(letter())
    assert seen == [1]


def test_what_its_reader_takes_as_a_mailbox_is_closed_ends_nothing(
    letter: Make, box: Boxes, run: Any
) -> None:
    mine = box()
    letters = mine._lanes.letters = mine._lanes.fifo = MetWhileTaking()
    in_a_row(mine, letter)
    for subject in ("now", "then", "whenever"):
        mine.deliver(letter(subject))
    letters.before = lambda: run(lambda: subjects(mine, 1)).result()
    assert [left.subject for left in mine.close()] == ["then", "whenever"]
    assert mine.statistics().is_balanced
    assert mine.get(0.0) is None


def test_who_has_only_ever_found_letters_is_known_as_the_reader(letter: Make, box: Boxes) -> None:
    own = box(size=1)
    own.deliver(letter())
    assert subjects(own, 1) == ["hello"]
    own.deliver(letter())
    with pytest.raises(MailboxFullError, match="it is its own reader"):
        own.deliver(letter(), 60.0)


def test_a_letter_that_gave_way_this_moment_is_not_read(
    letter: Make, met: tuple[Mailbox, MetWhileTaking]
) -> None:
    full, letters = met
    letters.before = letters.popleft
    assert full.get(0.0) is None


def test_a_ledger_that_is_asked_for_while_a_letter_is_taken_out_balances(
    met: tuple[Mailbox, MetWhileTaking], run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, letters = met
    looks_again, is_counted = threading.Event(), threading.Event()

    def nap(_seconds: float) -> None:
        looks_again.set()
        is_counted.wait(10.0)

    monkeypatch.setattr("gateway.bus.mailbox.sleep", nap)
    asked: list[Any] = []

    def ask() -> None:
        asked.append(run(full.statistics))
        assert looks_again.wait(10.0)

    letters.before = ask
    assert subjects(full, 1) == ["first"]
    is_counted.set()
    assert asked[0].result().is_balanced


class HandlerError(Exception):
    """What a signal's handler raises."""


def test_a_letter_whose_writer_was_interrupted_as_it_waited_is_not_delivered(
    letter: Make, box: Boxes, run: Any, until: Any
) -> None:
    full = box(size=1)
    full.deliver(letter("first"))

    def interrupt(number: int, frame: object) -> None:
        raise HandlerError

    def strike() -> None:
        until(lambda: len(full._lanes.waiting) == 1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        striking = run(strike)
        with pytest.raises(HandlerError):
            full.deliver(letter("interrupted"), 30.0)
        striking.result()
    finally:
        signal.signal(signal.SIGALRM, before)
    writer = run(lambda: full.deliver(letter("next"), 10.0))
    until(lambda: len(full._lanes.waiting) == 1)
    assert subjects(full, 2) == ["first", "next"]
    writer.result()
    balance = full.statistics()
    assert (balance.accepted, balance.queued, balance.is_balanced) == (2, 0, True)


def test_a_letter_whose_writer_was_interrupted_as_it_lined_up_is_not_delivered(
    letter: Make, box: Boxes
) -> None:
    class Interrupting(deque[Waiting]):
        def append(self, waiting: Waiting) -> None:
            super().append(waiting)
            raise HandlerError

    full = box(size=1)
    full.deliver(letter("first"))
    full._lanes.waiting = Interrupting()
    with pytest.raises(HandlerError):
        full.deliver(letter("interrupted"))
    assert subjects(full, 1) == ["first"]
    assert full.get(0.0) is None
    assert full.statistics().is_balanced


@pytest.mark.parametrize("order", ["fifo", "priority"])
def test_a_letter_that_gave_way_is_counted_though_its_writer_was_interrupted(
    letter: Make, box: Boxes, order: Any
) -> None:
    class Interrupting(deque[Message]):
        def popleft(self) -> Message:
            super().popleft()
            raise HandlerError

    full = box(size=1, policy="drop_oldest", order=order)
    lanes, letters = full._lanes, Interrupting()
    if isinstance(lanes.letters, ByPriority):
        lanes.letters.queues = (letters, deque(), deque())
    else:
        lanes.letters = lanes.fifo = letters
    full.deliver(letter("oldest", priority=URGENT))
    with pytest.raises(HandlerError):
        full.deliver(letter("newer", priority=URGENT))
    balance = full.statistics()
    assert (balance.accepted, balance.dropped, balance.is_balanced) == (1, 1, True)


@pytest.mark.parametrize("timeout", [None, "5", float("inf"), 1e100])
def test_whatever_is_raised_of_its_timeout_a_letter_is_not_delivered(
    letter: Make, box: Boxes, timeout: Any
) -> None:
    full = box(size=1)
    full.deliver(letter("first"))
    with pytest.raises((TypeError, OverflowError)):
        full.deliver(letter("unsound"), timeout)
    assert subjects(full, 1) == ["first"]
    assert full.get(0.0) is None


def test_a_newcomer_does_not_overtake_who_waits(
    letter: Make, box: Boxes, run: Any, until: Any
) -> None:
    full = box(size=1)
    full.deliver(letter("0"))
    waits = run(lambda: full.deliver(letter("1"), 10.0))
    until(lambda: full._lanes.waiting)
    assert subjects(full, 1) == ["0"]
    with pytest.raises(MailboxFullError):
        run(lambda: full.deliver(letter("2"), 0.0)).result()
    waits.result()
    assert subjects(full, 1) == ["1"]


def test_a_reader_that_writes_to_its_own_full_mailbox_is_told_at_once(
    letter: Make, box: Boxes
) -> None:
    full = box(size=1)
    assert full.get(0.0) is None
    full.deliver(letter())
    with pytest.raises(MailboxFullError, match="its own reader"):
        full.deliver(letter(), 60.0)


def test_a_mailbox_that_rejects_refuses_at_once(letter: Make, box: Boxes) -> None:
    full = box(size=1, policy="reject")
    full.deliver(letter("a"), 10.0)
    with pytest.raises(MailboxFullError, match="is full with 1 letters"):
        full.deliver(letter("b"), 1e9)
    assert subjects(full, 1) == ["a"]
    assert full.statistics().refused == 1
    assert full.statistics().is_balanced


def test_a_mailbox_that_drops_the_oldest_gives_it_back(letter: Make, box: Boxes) -> None:
    dropped: list[tuple[str, type]] = []
    full = box(
        size=2,
        policy="drop_oldest",
        undeliverable=lambda message, error: dropped.append((message.subject, type(error))),
    )
    for subject in "abc":
        full.deliver(letter(subject), 1e9)
    assert dropped == [("a", MailboxFullError)]
    assert subjects(full, 2) == ["b", "c"]
    assert full.statistics().dropped == 1
    assert full.statistics().is_balanced


def test_what_drops_the_oldest_drops_the_least_urgent_first(letter: Make, box: Boxes) -> None:
    full = box(size=3, policy="drop_oldest", order="priority")
    for subject, priority in (("bulk 1", BULK), ("urgent", URGENT), ("bulk 2", BULK)):
        full.deliver(letter(subject, priority=priority))
    full.deliver(letter("normal"))
    assert subjects(full, 3) == ["urgent", "normal", "bulk 2"]


def test_publications_never_block_and_drop_the_oldest(letter: Make, box: Boxes) -> None:
    full = box(size=3)
    for number in range(5):
        full.deliver(letter(str(number), kind="publication"), 0.0)
    assert subjects(full, 3) == ["2", "3", "4"]
    assert full.statistics().dropped == 2


def test_a_letter_for_another_life_is_refused(letter: Make, box: Boxes) -> None:
    second = box(incarnation=2)
    with pytest.raises(RecipientGoneError):
        second.deliver(letter(incarnation=1))
    second.deliver(letter(incarnation=2))
    assert second.statistics().refused == 1


def test_a_mailbox_holds_at_least_one_letter() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Mailbox("none", clock=RealClock(), size=0)


# Reading


def test_an_expired_letter_is_not_handed_out_but_given_back(
    letter: Make, folder: Folder, clock: Any, stack: Any
) -> None:
    returned: list[tuple[Message, Exception]] = []
    box = Mailbox("w", clock=clock, undeliverable=lambda *given: returned.append(given))
    stack.callback(box.close)
    box.deliver(letter("old", expiry=clock.now + 5))
    box.deliver(letter("fresh", expiry=clock.now + 50))
    clock.now += 5
    assert subjects(box, 1) == ["fresh"]
    [(message, error)] = returned
    assert message.subject == "old"
    assert isinstance(error, ExpiredError)
    balance = box.statistics()
    assert (balance.delivered, balance.expired) == (1, 1)
    assert balance.is_balanced


def test_wake_ends_a_wait_and_is_not_lost_when_nobody_waits(box: Boxes, run: Any) -> None:
    idle = box()
    idle.wake()
    assert idle.get(None) is None
    reader = run(lambda: idle.get(None))
    idle.wake()
    assert reader.result() is None


def test_garbage_on_the_sockets_is_counted_and_does_no_harm(
    letter: Make, box: Boxes, outlet: Outlets, folder: Folder
) -> None:
    target = box()
    with folder.connect(socket_name("worker", 1, "mail")) as rogue:
        for garbage in (b"", b"garbage", b"\x93\x01\x02\x03", b"\xc1" * 500):
            rogue.send(garbage)
    outlet().deliver(letter("real"))
    assert subjects(target, 1) == ["real"]
    assert target.statistics().garbage == 4
    assert target.statistics().is_balanced


def test_control_is_seen_first_and_only_what_is_left_over_is_mail(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    seen: list[str] = []

    def control(message: Message) -> bool:
        seen.append(message.subject)
        return message.subject == "die"

    target = box(control=control)
    target.deliver(letter("die", kind="control"))
    outlet().deliver(letter("die", kind="control"))
    outlet().deliver(letter("other", kind="control"))
    assert subjects(target, 1) == ["other"]
    assert seen == ["die", "die", "other"]


def test_every_order_that_was_given_before_a_letter_is_obeyed_before_it(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    seen: list[str] = []

    def control(message: Message) -> bool:
        seen.append(message.subject)
        return True

    target, writer = box(control=control), outlet()
    # Letters that come alone have it read one at a time from then on.
    for _ in range(3):
        writer.deliver(letter("alone"))
        assert subjects(target, 1) == ["alone"]
    for order in ("first", "second", "third"):
        writer.deliver(letter(order, kind="control"))
    writer.deliver(letter("last"))
    assert subjects(target, 1) == ["last"]
    assert seen == ["first", "second", "third"]
    assert target.statistics().is_balanced


def test_who_asks_for_the_balance_while_letters_are_taken_in_is_told_one(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    seen: list[bool] = []

    def control(message: Message) -> bool:
        seen.append(target.statistics().is_balanced)
        return True

    target, writer = box(control=control), outlet()
    for kind in ("letter", "letter", "control"):
        assert writer.try_send(letter(kind, kind=kind), "mail")
    assert subjects(target, 2) == ["letter"] * 2
    assert seen == [True]
    assert target.statistics().is_balanced


def test_a_flood_by_reference_does_not_hide_the_sockets(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    target = box(size=8)
    for lane, kind in (("mail", "letter"), ("urgent", "bounce")):
        outlet().deliver(letter(lane, kind=kind))
    found = []
    for _ in range(4):
        target.deliver(letter("flood"))
    for _ in range(4 * LOOK_EVERY):
        message = target.get(0.0)
        assert message is not None
        if message.subject == "flood":
            target.deliver(letter("flood"), 0.0)
        else:
            found.append(message.subject)
    assert sorted(found) == ["mail", "urgent"]


# Foreign descriptors


def test_a_watched_descriptor_is_served_on_the_readers_thread(box: Boxes, stack: Any) -> None:
    here, there = (stack.enter_context(end) for end in socket.socketpair())
    target = box()
    heard: list[bytes] = []

    def serve(events: int) -> None:
        heard.append(here.recv(100))
        target.wake()

    target.watch(here.fileno(), serve)
    for word in (b"one", b"two"):
        there.send(word)
        assert target.get(5.0) is None
    target.unwatch(here.fileno())
    there.send(b"three")
    assert target.get(0.0) is None
    assert heard == [b"one", b"two"]


def test_a_flood_does_not_hide_a_watched_descriptor(letter: Make, box: Boxes, stack: Any) -> None:
    here, there = (stack.enter_context(end) for end in socket.socketpair())
    target = box(size=2)
    served: list[int] = []
    target.watch(here.fileno(), lambda events: served.append(target.statistics().delivered))
    there.send(b"!")
    target.deliver(letter())
    for _ in range(4 * LOOK_EVERY):
        target.deliver(letter())
        assert target.get(0.0) is not None
    assert len(served) >= 2, "it stays ready, and is served again and again"
    assert served[0] <= 2 * LOOK_EVERY


def test_descriptors_that_stay_ready_take_turns_and_do_not_stop_the_mail(
    letter: Make, box: Boxes, stack: Any
) -> None:
    target = box()
    served: dict[int, int] = {}

    def count(fd: int, events: int) -> None:
        served[fd] += 1

    for _ in range(3):
        here, there = (stack.enter_context(end) for end in socket.socketpair())
        there.send(b"!")
        fd = here.fileno()
        served[fd] = 0
        target.watch(fd, partial(count, fd))
    for number in range(30):
        target.deliver(letter(str(number)))
        assert subjects(target, 1) == [str(number)]
        target.get(0.0)
        target.get(0.001)
    assert len(served) == 3
    assert max(served.values()) - min(served.values()) <= 2


def test_a_callback_may_unwatch_itself_and_others(box: Boxes, stack: Any) -> None:
    target = box()
    pairs = [[stack.enter_context(end) for end in socket.socketpair()] for _ in range(2)]
    served: list[int] = []

    def serve(events: int) -> None:
        served.append(events)
        for here, _ in pairs:
            target.unwatch(here.fileno())

    for here, there in pairs:
        target.watch(here.fileno(), serve)
        there.send(b"!")
    for _ in range(4):
        assert target.get(0.001) is None
    assert len(served) == 1


def test_what_a_watch_callback_raises_rises_and_it_stays_watched(box: Boxes, stack: Any) -> None:
    here, there = (stack.enter_context(end) for end in socket.socketpair())
    target = box()

    def serve(events: int) -> None:
        raise ZeroDivisionError(here.recv(1))

    target.watch(here.fileno(), serve)
    there.send(b"ab")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            target.get(5.0)


# Ending


def test_closing_counts_and_returns_what_nobody_read(
    letter: Make, box: Boxes, outlet: Outlets, folder: Folder
) -> None:
    target = box()
    target.deliver(letter("by reference"))
    target.deliver(letter("news", kind="publication"))
    outlet().deliver(letter("by socket"))
    with folder.connect(socket_name("worker", 1, "mail")) as rogue:
        rogue.send(b"garbage")
    outlet().deliver(letter("behind garbage"))
    outlet().deliver(letter("bounce", kind="bounce"))
    left = [message.subject for message in target.close()]
    assert sorted(left) == ["behind garbage", "bounce", "by reference", "by socket", "news"]
    balance = target.statistics()
    assert (balance.lost_with_reader, balance.garbage, balance.queued) == (5, 1, 0)
    assert balance.is_balanced
    assert target.close() == []


def test_a_closed_mailbox_refuses_and_reads_nothing(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    target = box()
    target.close()
    with pytest.raises(RecipientGoneError):
        target.deliver(letter())
    with pytest.raises(RecipientGoneError):
        outlet().deliver(letter())
    assert target.get(None) is None
    target.watch(0, lambda events: None)
    target.unwatch(0)
    target.wake()


def test_closing_ends_every_wait(letter: Make, box: Boxes, run: Any, until: Any) -> None:
    target = box(size=1)
    reader = run(lambda: target.get(None))
    until(lambda: target._lead.leader)
    callers = [run(lambda: target.wait_for(letter(), 60.0)) for _ in range(3)]
    until(lambda: len(target._lanes.open_calls()) == 3)
    target.close()
    assert reader.result() is None
    for caller in callers:
        with pytest.raises(RecipientGoneError):
            caller.result()


def test_closing_turns_waiting_writers_away(letter: Make, box: Boxes, run: Any, until: Any) -> None:
    target = box(size=1)
    target.deliver(letter())
    writers = [run(lambda: target.deliver(letter(), 60.0)) for _ in range(2)]
    until(lambda: len(target._lanes.waiting) == 2)
    target.close()
    for writer in writers:
        with pytest.raises(RecipientGoneError):
            writer.result()
    balance = target.statistics()
    assert (balance.accepted, balance.lost_with_reader, balance.refused) == (1, 1, 2)
    assert balance.is_balanced


@pytest.mark.parametrize("how", ["get", "wait_for"])
def test_closing_under_a_leader_gives_every_descriptor_back(
    letter: Make, box: Boxes, run: Any, until: Any, how: str
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    target = box()
    waits = {"get": lambda: target.get(None), "wait_for": lambda: target.wait_for(letter(), 60.0)}
    reader = run(waits[how])
    until(lambda: target._lead.leader)
    target.close()
    if how == "get":
        assert reader.result() is None
    else:
        with pytest.raises(RecipientGoneError):
            reader.result()
    assert len(os.listdir("/proc/self/fd")) == before


def test_closing_under_a_leader_gives_up_what_lies_in_the_sockets(
    letter: Make, box: Boxes, outlet: Outlets, run: Any, until: Any
) -> None:
    given_up: list[Message] = []
    target = box(undeliverable=lambda message, error: given_up.append(message))
    waits = run(lambda: target.wait_for(letter(), 60.0))
    until(lambda: target._lead.asleep)
    outlet().deliver(letter("nobody reads this"))
    left = target.close()
    with pytest.raises(RecipientGoneError):
        waits.result()
    assert [message.subject for message in [*left, *given_up]] == ["nobody reads this"]
    assert target.statistics() == Balance(accepted=1, lost_with_reader=1)


def test_closing_as_a_letter_is_read_gives_every_descriptor_back(
    letter: Make, box: Boxes, outlet: Outlets, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    target, out = box(), outlet()
    listen = target._listen

    def closed_meanwhile(timeout: float | None) -> Message | None:
        read = listen(timeout)
        run(target.close).result()
        return read

    monkeypatch.setattr(target, "_listen", closed_meanwhile)
    target._singles = 5
    out.deliver(letter("read"))
    assert target.get(5.0).subject == "read"  # type: ignore[union-attr]
    with pytest.raises(RecipientGoneError):
        out.deliver(letter("too late"))
    del out
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_thousand_mailboxes_leave_no_descriptor(letter: Make, folder: Folder) -> None:
    names = [socket_name("worker", 1, lane) for lane in ("mail", "urgent")]
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(1000):
        mail, urgent = (folder.bind(name) for name in names)
        box = Mailbox("worker", clock=RealClock(), sockets=(mail, urgent))
        out = Outlet(folder, "worker", 1)
        out.deliver(letter())
        out.deliver(letter(kind="bounce"))
        box.close()
        for name in names:
            folder.unlink(name)
    del out
    assert len(os.listdir("/proc/self/fd")) == before


def test_whoever_wakes_a_mailbox_that_is_being_closed_is_not_hurt(
    letter: Make, folder: Folder, run: Any
) -> None:
    for _ in range(200):
        box = Mailbox("worker", clock=RealClock())
        reader = run(lambda box=box: box.get(None))
        waker = run(lambda box=box: [box.wake() for _ in range(20)])
        box.close()
        waker.result()
        reader.result()


def test_a_wake_finds_the_descriptors_closed_under_its_hands(
    box: Boxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = box()

    def closed_first(event: int, value: int) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr("gateway.bus.leading.eventfd_write", closed_first)
    target.wake()
    monkeypatch.undo()
    assert target.get(None) is None


def test_its_attributes_are_few_enough_to_lie_beside_it(box: Boxes) -> None:
    mine = box()
    mine.own()
    mine.on_gone = lambda name, incarnation: None
    # CPython's SHARED_KEYS_MAX_SIZE: with more every letter takes longer.
    assert len(vars(mine)) <= 30
