"""One ring: what goes in comes out, in order, once, and not before its bell."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus import rings as module
from gateway.bus.ledger import GARBAGE, TAKEN_IN, empty_row
from gateway.bus.rings import LETTER, NOT_IN, SLOTS, RingReader, Rings, RingWriter
from gateway.mail.codec import encode, unpack
from gateway.mail.message import Message

READER = "worker.1"

Make = Callable[..., Message]


@pytest.fixture(params=[False, True], ids=["unsigned", "signed"])
def rings(request: pytest.FixtureRequest) -> Iterator[Rings]:
    made = Rings(4, is_signed=request.param)
    yield made
    made.close()


def borrowed(rings: Rings, reader: str = READER) -> RingWriter:
    ring = rings.borrow(reader)
    assert ring is not None
    return ring


def reader_of(rings: Rings, ring: RingWriter, reader: str = READER) -> RingReader:
    found = rings.ring_for(ring.number, reader)
    assert found is not None
    return found


def taken(reader: RingReader, most: int = SLOTS) -> list[Any]:
    letters: list[Message] = []
    reader.take(letters, empty_row(), 0, most)
    return [letter.body for letter in letters]


def caught_up(rings: Rings, letter: Make) -> tuple[RingWriter, RingReader, int]:
    """Return both ends of a ring whose reader had taken all, and the letter put in since: 1."""
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    reader.hear(writer.open(packed(letter, 0)))
    assert taken(reader) == [0]
    number = writer.put(packed(letter, 1))
    assert number == 1
    return writer, reader, number


def left_in(ending: list[RingReader]) -> list[Any]:
    letters: list[Message] = []
    for ring in ending:
        ring.rest(letters, empty_row(), 0)
    return [letter.body for letter in letters]


def packed(letter: Make, body: Any) -> bytes:
    return encode(letter(body=body))


def in_a_child(act: Callable[[], Any]) -> int:
    """Return the exit status of a child of os.fork() that does ``act``: 0 where it is true."""
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            status = 0 if act() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# Order, bells and room


@given(
    steps=st.lists(st.integers(0, 90) | st.text(max_size=900), max_size=150),
    is_signed=st.booleans(),
)
def test_whatever_goes_in_comes_out_once_and_in_order(
    steps: list[int | str], is_signed: bool
) -> None:
    rings = Rings(1, is_signed=is_signed)
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    sent: list[Any] = []
    got: list[Any] = []
    try:
        for step in steps:
            if isinstance(step, int):
                got += taken(reader, step)
                continue
            data = encode(Message(step, step, 1, 0.0, "main", "worker", "s", step))
            due = writer.put(data) if sent else writer.open(data)
            if due == NOT_IN:
                # It may look full until the writer looks again.
                assert len(data) > LETTER or len(sent) >= SLOTS or not writer.is_worthwhile
                if len(data) > LETTER or not writer.make_room():
                    continue
                due = writer.put(data)
            sent.append(step)
            if due is not None:
                assert not writer.is_taken(due)
                writer.rung(due)
                reader.hear(due)
        got += taken(reader, len(sent))
        assert got == sent
        assert writer.is_empty
    finally:
        rings.close()


def test_the_first_letter_waits_for_its_bell_and_the_others_with_it(
    rings: Rings, letter: Make
) -> None:
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    first = writer.open(packed(letter, 1))
    assert writer.put(packed(letter, 2)) is None
    assert not reader.is_ready
    assert taken(reader) == []
    reader.hear(first)
    assert taken(reader) == [1, 2]


def test_a_bell_is_due_where_the_reader_has_caught_up(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    reader.hear(writer.open(packed(letter, 1)))
    assert writer.put(packed(letter, 2)) is None
    assert taken(reader) == [1, 2]
    assert writer.put(packed(letter, 3)) == 2
    assert taken(reader) == [3], "it needs no bell where its reader looks"


def test_a_full_ring_takes_nothing_until_its_reader_has(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    reader.hear(writer.open(packed(letter, 0)))
    for number in range(1, SLOTS):
        assert writer.put(packed(letter, number)) is None
    assert writer.put(packed(letter, "x")) == NOT_IN
    assert not writer.make_room()
    assert taken(reader, 1) == [0]
    assert writer.put(packed(letter, "x")) == NOT_IN, "it has not looked yet"
    assert writer.make_room()
    assert writer.put(packed(letter, SLOTS)) is None
    assert taken(reader) == list(range(1, SLOTS + 1))


def test_a_writer_that_wants_room_is_told_when_half_of_it_is_free(
    rings: Rings, letter: Make
) -> None:
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    reader.hear(writer.open(packed(letter, 0)))
    for number in range(1, SLOTS):
        writer.put(packed(letter, number))
    taken(reader, SLOTS // 2)
    assert not select.select([writer], [], [], 0)[0], "nobody wanted to be told"
    writer.put(packed(letter, 0))
    writer.want_room()
    taken(reader, 1)
    assert select.select([writer], [], [], 0)[0]
    writer.was_told()
    taken(reader, 1)
    assert not select.select([writer], [], [], 0)[0], "it was told once"


@pytest.mark.parametrize("size", [0, LETTER + 1])
def test_what_does_not_fit_is_not_in(rings: Rings, letter: Make, size: int) -> None:
    writer = borrowed(rings)
    writer.open(packed(letter, 1))
    assert writer.put(b"x" * size) == NOT_IN


def test_a_letter_that_is_taken_back_never_comes(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    assert writer.take_back(writer.open(packed(letter, 1)))
    reader.hear(writer.open(packed(letter, 2)))
    assert taken(reader) == [2]
    assert not writer.take_back(0), "its reader has it"


def test_each_letter_is_counted_as_it_is_taken(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    reader.hear(writer.open(packed(letter, 1)))
    writer.put(packed(letter, 2))
    counts = empty_row()
    letters: list[Message] = []
    assert reader.take(letters, counts, 40, SLOTS) == 42
    assert counts[TAKEN_IN] == 42


def test_what_is_no_letter_is_garbage_and_the_next_one_comes(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    reader.hear(writer.open(b"nonsense"))
    writer.put(packed(letter, 2))
    counts = empty_row()
    letters: list[Message] = []
    assert reader.take(letters, counts, 0, SLOTS) == 1
    assert [each.body for each in letters] == [2]
    assert counts[GARBAGE] == 1


def test_a_ring_is_worthwhile_until_bells_are_good_for_few(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    due: int | None = writer.open(packed(letter, 0))
    for _ in range(module.SHORT):
        assert writer.is_worthwhile
        assert due is not None
        writer.rung(due)
        reader.hear(due)
        taken(reader)
        due = writer.put(packed(letter, 0))
    assert due is not None
    writer.rung(due)
    assert not writer.is_worthwhile
    assert writer.put(packed(letter, 0)) == NOT_IN, "whoever writes next is to think again"
    assert writer.make_room()
    for _ in range(module.FEW):
        writer.put(packed(letter, 0))
    taken(reader)
    due = writer.put(packed(letter, 0))
    assert due is not None
    writer.rung(due)
    assert writer.is_worthwhile


# What a core may see late


def test_a_ring_is_quiet_a_while_after_it_was_first_seen_empty(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    reader.hear(writer.open(packed(letter, 1)))
    assert not reader.is_quiet(0.0)
    assert not reader.is_quiet(1.0), "something lies there"
    assert taken(reader) == [1]
    assert not reader.is_quiet(2.0)
    assert not reader.is_quiet(2.0 + 0.9 * module.QUIET)
    assert reader.is_quiet(2.0 + 1.1 * module.QUIET)
    writer.put(packed(letter, 2))
    assert taken(reader) == [2]
    assert not reader.is_quiet(9.0), "it counts from the last letter on"


def test_what_becomes_visible_while_stock_is_taken_is_counted(
    rings: Rings, letter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = borrowed(rings)
    writer.rung(writer.open(packed(letter, 0)))
    late = packed(letter, "late")
    monkeypatch.setattr(module, "sleep", lambda seconds: writer.put(late))
    with rings.ending(READER) as ending:
        assert left_in(ending) == [0, "late"]


def test_stock_is_taken_of_what_lies_behind_a_torn_slot(letter: Make) -> None:
    rings = Rings(1, is_signed=True)
    writer = borrowed(rings)
    writer.rung(writer.open(packed(letter, "torn")))
    writer.put(packed(letter, "whole"))
    writer._data[20] ^= 0xFF
    with rings.ending(READER) as ending:
        assert left_in(ending) == ["whole"]
    rings.close()


def test_a_signed_slot_is_taken_when_all_of_it_is_there(letter: Make) -> None:
    rings = Rings(1, is_signed=True)
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    data = packed(letter, "whole")
    reader.hear(writer.open(data))
    late = writer._data[20]
    writer._data[20] = late ^ 0xFF
    assert taken(reader) == []
    writer._data[20] = late
    assert taken(reader) == ["whole"]
    # The number of a lap before.
    writer.put(packed(letter, "second"))
    state = writer._words[module._STATES + 1]
    writer._words[module._STATES + 1] = state ^ 1 << module._NUMBER
    assert taken(reader) == []
    writer._words[module._STATES + 1] = state
    assert taken(reader) == ["second"]
    rings.close()


def test_a_signed_slot_that_never_fits_is_garbage_in_the_end(letter: Make) -> None:
    rings = Rings(1, is_signed=True)
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    reader.hear(writer.open(packed(letter, "torn")))
    writer.put(packed(letter, "whole"))
    writer._data[20] ^= 0xFF
    counts = empty_row()
    letters: list[Message] = []
    for _ in range(module.LOOKS):
        assert reader.take(letters, counts, 0, SLOTS) == 0
        assert counts[GARBAGE] == 0
    assert reader.take(letters, counts, 0, SLOTS) == 1
    assert counts[GARBAGE] == 1
    assert [each.body for each in letters] == ["whole"]
    rings.close()


def test_a_slot_that_was_late_now_and_then_is_no_garbage(letter: Make) -> None:
    rings = Rings(1, is_signed=True)
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    for number in range(module.LOOKS + 2):
        data = packed(letter, number)
        due = writer.put(data) if number else writer.open(data)
        if due is not None:
            reader.hear(due)
        slot = number % SLOTS * LETTER + 20
        writer._data[slot] ^= 0xFF
        assert taken(reader) == []
        writer._data[slot] ^= 0xFF
        assert taken(reader) == [number]
        writer.make_room()
    rings.close()


def test_what_a_reader_has_in_its_hands_is_not_taken_back(
    rings: Rings, letter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader, number = caught_up(rings, letter)
    in_hand, go_on = threading.Event(), threading.Event()

    def slow(data: Any) -> Message:
        in_hand.set()
        go_on.wait(10.0)
        return unpack(data)

    monkeypatch.setattr(module, "unpack", slow)
    monkeypatch.setattr(module, "AT_IT", 10.0)
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.extend(taken(reader)))
    thread.start()
    assert in_hand.wait(10.0)
    monkeypatch.setattr(module, "sleep", lambda seconds: go_on.set())
    assert not writer.take_back(number)
    thread.join()
    assert got == [1]


def test_a_ring_whose_reader_stands_still_is_good_for_nothing_more(
    rings: Rings, letter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, _, number = caught_up(rings, letter)
    writer._words[module._BUSY] = 1
    assert writer.take_back(number)
    assert writer.put(packed(letter, 2)) == NOT_IN
    assert not writer.largest


def test_whoever_comes_while_a_letter_is_taken_back_leaves_it_alone(
    rings: Rings, letter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader, number = caught_up(rings, letter)
    got: list[Any] = []
    monkeypatch.setattr(module, "sleep", lambda seconds: got.extend(taken(reader)))
    assert writer.take_back(number)
    assert got == []


def test_a_letter_taken_back_is_not_what_a_reader_finds_that_looks_once_more(
    rings: Rings, letter: Make
) -> None:
    writer, reader, number = caught_up(rings, letter)
    assert writer.take_back(number)
    assert not reader.is_ready
    assert writer.put(packed(letter, 2)) == number
    assert taken(reader) == [2]


# Whose it is


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
    held = [borrowed(rings) for _ in range(4)]
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
    reader.hear(0)
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
    assert orphans == [(0, 0)]
    reader = rings.ring_for(0, READER)
    assert reader is not None
    reader.hear(0)
    assert taken(reader) == [0, 1]
    assert borrowed(rings).number == 0


# Readers that are gone


def test_what_was_rung_for_and_what_followed_is_left(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    writer.rung(writer.open(packed(letter, 0)))
    writer.put(packed(letter, 1))
    with rings.ending(READER) as ending:
        assert left_in(ending) == [0, 1]
        assert writer.has_ended
    assert writer.put(packed(letter, 2)) == 2, "it is told that its reader is gone"
    writer.await_end()
    assert writer.is_taken(1)
    assert writer.take_back(2)
    with rings.ending(READER) as ending:
        assert ending == [], "stock is taken once"


def test_a_writer_is_told_as_soon_as_its_reader_ends(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    writer.rung(writer.open(packed(letter, 0)))
    with rings.ending(READER):
        assert writer.put(packed(letter, 1)) == 1


def test_what_was_put_in_after_the_end_holds_nobody_up(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    writer.rung(writer.open(packed(letter, 0)))
    with rings.ending(READER) as ending:
        left_in(ending)
    writer.put(packed(letter, 1))
    rings.give_back(writer)
    assert borrowed(rings, "other.1").number == writer.number


def test_what_nobody_was_told_of_is_not_left(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    number = writer.open(packed(letter, 0))
    assert writer.is_unheard(number)
    with rings.ending(READER) as ending:
        assert left_in(ending) == []
    assert writer.take_back(number)


def test_a_ring_of_which_stock_is_taken_is_not_borrowed(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    writer.rung(writer.open(packed(letter, 0)))
    rings.give_back(writer)
    with rings.ending(READER) as ending:
        assert len(left_in(ending)) == 1
        assert in_a_child(lambda: borrowed(rings, "other.1").number == 1) == 0
    assert in_a_child(lambda: borrowed(rings, "other.1").number == 0) == 0


def test_a_writer_that_sleeps_is_told_of_the_end(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    writer.rung(writer.open(packed(letter, 0)))
    with rings.ending(READER):
        assert select.select([writer], [], [], 0)[0]


def test_closing_gives_every_descriptor_back() -> None:
    before = len(os.listdir("/proc/self/fd"))
    Rings().close()
    assert len(os.listdir("/proc/self/fd")) == before
