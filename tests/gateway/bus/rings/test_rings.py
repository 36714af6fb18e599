"""The rings of an application: each is one writer's at a time, and what is left is not lost."""

from __future__ import annotations

import mmap
import os
import select
import signal
import sys
import threading
from functools import partial
from itertools import count
from typing import Any

import pytest

from gateway.bus import ring as one
from gateway.bus import rings as module
from gateway.bus.ledger import GARBAGE, empty_row
from gateway.bus.ring import LETTER, NOT_IN, SLOTS, Ring, RingReader, RingWriter
from gateway.bus.rings import RINGS, Rings
from gateway.mail.message import Message
from tests.gateway.bus.rings.ends import (
    READER,
    Make,
    borrowed,
    in_a_child,
    left_in,
    packed,
    reader_of,
    taken,
    taking_stock,
)

FIRST = 1
"""The number of the first letter in a ring that nobody has borrowed before."""


def test_a_ring_is_one_writers_at_a_time(rings: Rings) -> None:
    mine = borrowed(rings)
    for _ in range(8):
        assert borrowed(rings, "other.1").number != mine.number, (
            "it is given back as it is collected"
        )


def test_another_os_process_borrows_another_ring(rings: Rings) -> None:
    mine = borrowed(rings)
    assert in_a_child(lambda: borrowed(rings).number != mine.number) == 0
    rings.give_back(mine)
    assert in_a_child(lambda: borrowed(rings).number == mine.number) == 0


def test_where_all_are_borrowed_there_is_none(rings: Rings) -> None:
    held = [borrowed(rings) for _ in range(RINGS)]
    assert rings.borrow(READER) is None
    assert in_a_child(lambda: rings.borrow(READER) is None) == 0
    rings.give_back(held.pop())
    assert rings.borrow(READER) is not None


def test_a_mailbox_with_too_long_a_name_has_none(rings: Rings) -> None:
    assert rings.borrow("x" * 129) is None
    assert rings.borrow("x" * 128) is not None


def test_a_fork_may_not_use_what_its_parent_borrowed(rings: Rings, letter: Make) -> None:
    mine = borrowed(rings)
    mine.open(packed(letter, 1))
    assert in_a_child(lambda: mine.put(packed(letter, 2)) == NOT_IN and not mine.largest) == 0

    # Given back there, it is still its parent's.
    def give_back_and_borrow() -> bool:
        rings.give_back(mine)
        return borrowed(rings).number != mine.number

    assert in_a_child(give_back_and_borrow) == 0
    assert mine.put(packed(letter, 2)) is None


def dies_with_a_ring(rings: Rings, letters: list[bytes], bells: int) -> None:
    """Have a child borrow a ring, put ``letters`` in, ring, and be killed."""

    def act() -> bool:
        ring = borrowed(rings)
        due: int | None = ring.open(letters[0])
        if bells and due is not None:
            ring.rung(due)
        for data in letters[1:]:
            ring.put(data)
        os.kill(os.getpid(), signal.SIGKILL)
        return False

    assert in_a_child(act) == -signal.SIGKILL


def test_what_a_writer_left_that_was_killed_is_taken_before_another_borrows_it(
    rings: Rings, letter: Make
) -> None:
    dies_with_a_ring(rings, [packed(letter, number) for number in range(3)], bells=1)
    held = [borrowed(rings, "other.1"), borrowed(rings)]
    assert [each.number for each in held] == [1, 2]
    reader = rings.ring_for(0, READER)
    assert reader is not None
    reader.hear(FIRST)
    assert taken(reader) == [0, 1, 2]
    assert borrowed(rings).number == 0


def test_what_nobody_was_told_of_holds_up_no_other_reader(rings: Rings, letter: Make) -> None:
    dies_with_a_ring(rings, [packed(letter, 0)], bells=0)
    # Its bell may lie in the socket all the same.
    mine, other = borrowed(rings), borrowed(rings, "other.1")
    assert (mine.number, other.number) == (1, 0)
    assert rings.ring_for(0, READER) is None
    reader = reader_of(rings, other, "other.1")
    reader.hear(other.open(packed(letter, "new")))
    assert taken(reader) == ["new"]


def test_what_nobody_was_told_of_may_be_taken_this_moment(
    rings: Rings, letter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer was killed right after the bell, which is read as another one borrows the ring."""
    dies_with_a_ring(rings, [packed(letter, number) for number in range(3)], bells=0)
    late = rings.ring_for(0, READER)
    assert late is not None
    late.hear(FIRST)
    got: list[Any] = []

    def meanwhile(seconds: float) -> None:
        # It was at it, and is done.
        late._words[one._TAIL] = late._tail = FIRST + 1
        got.extend(taken(late))

    monkeypatch.setattr(one, "sleep", meanwhile)
    ring = borrowed(rings, "other.1")
    assert ring.number == 0
    reader = reader_of(rings, ring, "other.1")
    reader.hear(ring.open(packed(letter, "new")))
    assert taken(late) == []
    assert taken(reader) == ["new"]
    assert got == []


def test_a_reader_that_stands_still_with_a_ring_keeps_it(
    rings: Rings, letter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies_with_a_ring(rings, [packed(letter, 0)], bells=0)
    late = rings.ring_for(0, READER)
    assert late is not None
    late.hear(FIRST)
    words, at_it = late._words, late._at_it
    monkeypatch.setattr(one, "sleep", lambda seconds: words.__setitem__(at_it, 1))
    held = [borrowed(rings, "other.1") for _ in range(2)]
    assert [each.number for each in held] == [1, 2]
    # It goes on.
    words[one._TAIL] = FIRST + 1
    words[at_it] = 0
    ring = borrowed(rings, "other.1")
    assert ring.number == 0
    reader = reader_of(rings, ring, "other.1")
    reader.hear(ring.open(packed(letter, "new")))
    assert taken(late) == []
    assert taken(reader) == ["new"]


def test_a_reader_that_was_killed_with_a_ring_in_its_hands_leaves_it(
    rings: Rings, letter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies_with_a_ring(rings, [packed(letter, 0)], bells=0)
    late = rings.ring_for(0, READER)
    assert late is not None
    monkeypatch.setattr(one, "sleep", lambda seconds: late._words.__setitem__(late._at_it, 1))
    assert borrowed(rings, "other.1").number == 1
    monkeypatch.undo()
    with taking_stock(rings) as ending:
        assert left_in(ending) == []
    assert borrowed(rings, "other.1").number == 0


def test_a_reader_that_looks_once_more_takes_nothing_of_anothers(
    rings: Rings, letter: Make
) -> None:
    first = borrowed(rings)
    stale = reader_of(rings, first)
    stale.hear(first.open(packed(letter, 0)))
    assert taken(stale) == [0]
    rings.give_back(first)
    second = borrowed(rings, "other.1")
    assert second.number == first.number
    reader = reader_of(rings, second, "other.1")
    reader.hear(second.open(packed(letter, "first")))
    assert taken(stale) == []
    # Once round: the slot that it looks at holds one that opens nothing.
    for number in range(SLOTS):
        assert taken(reader, 1)
        due = second.put(packed(letter, number))
        if due is not None:
            reader.hear(due)
        second.make_room()
        assert not stale.is_ready
        assert taken(stale) == []


def test_the_bell_of_a_writer_that_was_killed_is_rung_by_the_next_one(
    rings: Rings, letter: Make
) -> None:
    dies_with_a_ring(rings, [packed(letter, 0), packed(letter, 1)], bells=0)
    orphans: list[tuple[int, int]] = []
    ring = rings.borrow(READER, orphans)
    assert ring is not None
    assert ring.number == 1
    assert orphans == [(0, FIRST)]
    reader = rings.ring_for(0, READER)
    assert reader is not None
    reader.hear(FIRST)
    assert taken(reader) == [0, 1]
    assert borrowed(rings).number == 0


# Readers that are gone


def test_what_was_rung_for_and_what_followed_is_left(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    writer.rung(writer.open(packed(letter, 0)))
    writer.put(packed(letter, 1))
    with taking_stock(rings) as ending:
        assert left_in(ending) == [0, 1]
        assert writer.has_ended
    late = writer.put(packed(letter, 2))
    assert late == writer.last, "it is told that its reader is gone"
    writer.await_end()
    assert writer.is_taken(late - 1)
    assert writer.take_back(late)
    with taking_stock(rings) as ending:
        assert ending == [], "stock is taken once"


def test_a_writer_is_told_as_soon_as_its_reader_ends(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    writer.rung(writer.open(packed(letter, 0)))
    with taking_stock(rings):
        assert writer.put(packed(letter, 1)) == writer.last


def test_what_was_put_in_after_the_end_holds_nobody_up(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    writer.rung(writer.open(packed(letter, 0)))
    with taking_stock(rings) as ending:
        left_in(ending)
    writer.put(packed(letter, 1))
    rings.give_back(writer)
    assert borrowed(rings, "other.1").number == writer.number


def test_what_nobody_was_told_of_is_not_left(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    number = writer.open(packed(letter, 0))
    assert writer.is_unheard(number)
    with taking_stock(rings) as ending:
        assert left_in(ending) == []
    assert writer.take_back(number)


def test_a_ring_of_which_stock_is_taken_is_not_borrowed(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    writer.rung(writer.open(packed(letter, 0)))
    rings.give_back(writer)
    with taking_stock(rings) as ending:
        assert len(left_in(ending)) == 1
        assert in_a_child(lambda: borrowed(rings, "other.1").number == 1) == 0
    assert in_a_child(lambda: borrowed(rings, "other.1").number == 0) == 0


def test_a_writer_that_sleeps_is_told_of_the_end(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    writer.rung(writer.open(packed(letter, 0)))
    with taking_stock(rings):
        assert select.select([writer], [], [], 0)[0]


def test_what_becomes_visible_while_stock_is_taken_is_counted(
    rings: Rings, letter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = borrowed(rings)
    writer.rung(writer.open(packed(letter, 0)))
    late = packed(letter, "late")
    monkeypatch.setattr(module, "sleep", lambda seconds: writer.put(late))
    with taking_stock(rings) as ending:
        assert left_in(ending) == [0, "late"]


def test_stock_is_taken_of_what_lies_behind_a_torn_slot(letter: Make) -> None:
    rings = Rings(1, is_signed=True)
    writer = borrowed(rings)
    writer.rung(writer.open(packed(letter, "torn")))
    writer._data[writer.last % SLOTS * LETTER + 20] ^= 0xFF
    writer.put(packed(letter, "whole"))
    with taking_stock(rings) as ending:
        assert left_in(ending) == ["whole"]
    rings.close()


def test_stock_is_taken_while_somebody_was_stopped_as_it_looked_for_a_ring(
    rings: Rings, letter: Make
) -> None:
    dies_with_a_ring(rings, [packed(letter, "accepted")], bells=1)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        look = Ring.is_free_for

        def stopped(self: Ring, reader: bytes) -> bool:
            os.write(tell, b".")
            os.kill(os.getpid(), signal.SIGSTOP)
            return look(self, reader)

        pytest.MonkeyPatch().setattr(Ring, "is_free_for", stopped)
        rings.borrow("other.1")
        os._exit(0)
    try:
        os.read(told, 1)
        os.waitpid(child, os.WUNTRACED)
        with taking_stock(rings) as ending:
            assert left_in(ending) == ["accepted"]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(told)
        os.close(tell)
    assert borrowed(rings, "other.1").number == 0


def test_a_handler_that_borrows_while_stock_is_taken_gets_another_ring(
    rings: Rings, letter: Make
) -> None:
    writer = borrowed(rings)
    writer.rung(writer.open(packed(letter, 0)))
    rings.give_back(writer)
    with taking_stock(rings) as ending:
        assert left_in(ending) == [0]
        # As a handler on the same thread, which no lock of this OS process keeps out.
        assert borrowed(rings, "other.1").number == 1
    assert borrowed(rings, "other.1").number == 0


def test_who_fails_as_it_takes_stock_keeps_nobody_from_borrowing(rings: Rings, run: Any) -> None:
    writer = borrowed(rings)
    writer.rung(writer.open(b"x"))

    def fail(found: list[RingReader]) -> None:
        assert len(found) == 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rings.ending(READER, fail)
    assert writer.has_ended
    rings.give_back(writer)
    # By another thread, which a lock that was not given back would hold up for ever.
    assert run(lambda: borrowed(rings, "other.1").number).result() >= 0


@pytest.mark.parametrize("where", ["ending", "borrow"])
def test_a_child_that_is_forked_while_another_thread_is_in_here_borrows(
    rings: Rings, run: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    inside, go_on = threading.Event(), threading.Event()
    parent = os.getpid()
    look = Ring.is_free_for

    def slow(self: Ring, reader: bytes) -> bool:
        if os.getpid() == parent:
            inside.set()
            assert go_on.wait(10.0)
        return look(self, reader)

    def stay() -> None:
        if where == "borrow":
            monkeypatch.setattr(Ring, "is_free_for", slow)
            rings.borrow("other.1")
            return
        rings.ending("gone.1", take_stock)

    def take_stock(found: list[RingReader]) -> None:
        inside.set()
        assert go_on.wait(10.0)

    def borrow() -> bool:
        signal.alarm(10)
        return rings.borrow("mine.1") is not None

    thread = run(stay)
    assert inside.wait(10.0)
    try:
        assert in_a_child(borrow) == 0
    finally:
        go_on.set()
    thread.result()


def test_threads_of_a_child_that_borrow_first_at_the_same_moment_have_a_ring_each(
    rings: Rings,
) -> None:
    inherited, stepped = borrowed(rings), mmap.mmap(-1, 1)

    def borrow_both(step: int) -> bool:
        """Borrow; another thread does it where this one has come to the line ``step``."""
        signal.alarm(10)
        found: list[RingWriter] = []
        another = threading.Thread(target=lambda: found.append(borrowed(rings)))
        lines = count()

        def trace(frame: Any, event: str, _: Any) -> Any:
            if frame.f_code.co_filename != module.__file__:
                return None
            if event == "line" and next(lines) == step:
                stepped[0] = True
                another.start()
                another.join(0.005)  # where this one holds the lock it waits
            return trace

        sys.settrace(trace)
        found.append(borrowed(rings))
        sys.settrace(None)
        if stepped[0]:
            another.join()
        numbers = {ring.number for ring in [inherited, *found] if ring.largest or ring is inherited}
        return len(numbers) == 2 + stepped[0]

    for step in count():
        stepped[0] = False
        assert in_a_child(partial(borrow_both, step)) == 0, f"at line {step}"
        if not stepped[0]:
            break
    assert step > 10, "there is nothing to come in between"


def test_a_handler_that_borrows_in_the_middle_of_borrowing_has_a_ring_of_its_own(
    rings: Rings, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, held = Ring.is_free_for, list[RingWriter]()

    def struck(self: Ring, reader: bytes) -> bool:
        monkeypatch.setattr(Ring, "is_free_for", look)
        held.append(borrowed(rings))
        return look(self, reader)

    monkeypatch.setattr(Ring, "is_free_for", struck)
    assert borrowed(rings).number == 1
    assert [each.number for each in held] == [0]


def test_a_bell_is_owed_for_a_ring_behind_the_one_that_is_borrowed(
    rings: Rings, letter: Make
) -> None:
    first = borrowed(rings, "other.1")
    dies_with_a_ring(rings, [packed(letter, 0)], bells=0)
    rings.give_back(first)
    orphans: list[tuple[int, int]] = []
    ring = rings.borrow(READER, orphans)
    assert ring is not None
    assert ring.number == 0
    assert orphans == [(1, FIRST)]


def test_no_bell_is_owed_for_what_its_reader_takes_this_moment(
    rings: Rings, letter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies_with_a_ring(rings, [packed(letter, 0), packed(letter, 1)], bells=1)
    reader = rings.ring_for(0, READER)
    assert reader is not None
    reader.hear(FIRST)
    got: list[Any] = []
    look = Ring.is_free_for

    def meanwhile(self: Ring, name: bytes) -> bool:
        found = look(self, name)
        got.extend(taken(reader))
        return found

    monkeypatch.setattr(Ring, "is_free_for", meanwhile)
    orphans: list[tuple[int, int]] = []
    ring = rings.borrow(READER, orphans)
    assert ring is not None
    assert ring.number == 1
    assert got == [0, 1]
    assert orphans == []


def test_what_its_writer_takes_back_as_stock_is_taken_is_no_garbage(
    rings: Rings, letter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = borrowed(rings)
    writer.rung(writer.open(packed(letter, 0)))
    writer.put(packed(letter, 1))
    counts, letters = empty_row(), list[Message]()
    with taking_stock(rings) as (ring,):
        monkeypatch.setattr(one, "sleep", lambda seconds: ring.rest(letters, counts, 0))
        was_there = writer.take_back(writer.last)
    assert counts[GARBAGE] == 0
    assert [each.body for each in letters] == [0] + [1] * (not was_there)


def test_closing_gives_every_descriptor_back() -> None:
    before = len(os.listdir("/proc/self/fd"))
    Rings().close()
    assert len(os.listdir("/proc/self/fd")) == before
