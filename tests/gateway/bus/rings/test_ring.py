"""One ring: what goes in comes out, in order, once, and not before its bell."""

from __future__ import annotations

import select
import threading
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.bus import ring as module
from gateway.bus.attempts import TRIES
from gateway.bus.ledger import GARBAGE, TAKEN_IN, empty_row
from gateway.bus.ring import LETTER, NOT_IN, SLOTS, RingReader, RingWriter
from gateway.bus.rings import Rings
from gateway.mail.codec import encode, unpack
from gateway.mail.message import Message
from tests.gateway.bus.rings.ends import (
    Make,
    borrowed,
    packed,
    reader_of,
    taken,
)


def caught_up(rings: Rings, letter: Make) -> tuple[RingWriter, RingReader, int]:
    """Return both ends of a ring whose reader had taken all, and the number of the next letter.

    That is in, and its body is 1.
    """
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    reader.hear(writer.open(packed(letter, 0)))
    assert taken(reader) == [0]
    number = writer.put(packed(letter, 1))
    assert number == writer.last
    return writer, reader, number


def tear(writer: RingWriter) -> None:
    """Have the last letter look as if part of it were not visible yet, or undo that."""
    writer._data[writer.last % SLOTS * LETTER + 20] ^= 0xFF


@given(
    steps=st.lists(st.integers(0, 90) | st.text(max_size=900), max_size=150),
    is_signed=st.booleans(),
)
@example(steps=["\u016b" * 900, ""], is_signed=False)
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
            data = encode(Message("1", "1", 1, 0.0, "main", "worker", "s", step))
            # Nobody borrows a ring for what does not fit.
            is_first = not sent and len(data) <= LETTER
            due = writer.open(data) if is_first else writer.put(data)
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
    assert writer.put(packed(letter, 3)) == writer.last
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
    assert not writer.take_back(writer.last), "its reader has it"


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


def test_a_signed_slot_is_taken_when_all_of_it_is_there(letter: Make) -> None:
    rings = Rings(1, is_signed=True)
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    reader.hear(writer.open(packed(letter, "whole")))
    tear(writer)
    assert taken(reader) == []
    tear(writer)
    assert taken(reader) == ["whole"]
    # The number of a lap before.
    writer.put(packed(letter, "second"))
    state = module._STATES + writer.last % SLOTS
    writer._words[state] ^= 1 << module._NUMBER
    assert taken(reader) == []
    writer._words[state] ^= 1 << module._NUMBER
    assert taken(reader) == ["second"]
    rings.close()


def test_a_signed_slot_that_never_fits_is_garbage_in_the_end(letter: Make) -> None:
    rings = Rings(1, is_signed=True)
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    reader.hear(writer.open(packed(letter, "torn")))
    tear(writer)
    writer.put(packed(letter, "whole"))
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
        tear(writer)
        assert taken(reader) == []
        tear(writer)
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


def test_what_is_taken_back_from_a_reader_that_stands_still_is_void(
    rings: Rings, letter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader, number = caught_up(rings, letter)
    writer._words[reader._at_it] = 1
    assert writer.take_back(number)
    assert writer.put(packed(letter, 2)) is None
    counts, letters = empty_row(), list[Message]()
    assert reader.take(letters, counts, 0, SLOTS) == 1
    assert [each.body for each in letters] == [2]
    assert counts[GARBAGE] == 0


def test_what_a_reader_has_taken_that_stands_still_since_is_not_taken_back(
    rings: Rings, letter: Make
) -> None:
    writer, reader, number = caught_up(rings, letter)
    assert taken(reader) == [1]
    writer._words[reader._at_it] = 1
    assert not writer.take_back(number)


def test_who_read_a_ring_before_does_not_say_that_nobody_is_at_it(
    rings: Rings, letter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _, _ = caught_up(rings, letter)
    before = reader_of(rings, first)
    assert taken(before) == [1]
    rings.give_back(first)
    writer, reader, number = caught_up(rings, letter)
    assert writer.number == first.number

    def meanwhile(data: Any) -> Message:
        assert taken(before) == []
        # As if it had been about to.
        writer._words[before._at_it] = 0
        assert writer._words[reader._at_it]
        return unpack(data)

    monkeypatch.setattr(module, "unpack", meanwhile)
    assert taken(reader) == [1]
    assert not writer.take_back(number)


def test_a_reader_of_long_ago_is_not_at_it(
    rings: Rings, letter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _, _ = caught_up(rings, letter)
    before = reader_of(rings, first)
    assert taken(before) == [1]
    writer = first
    for _ in range(module._BUSIES):
        rings.give_back(writer)
        writer = borrowed(rings)
    reader = reader_of(rings, writer)
    reader.hear(writer.open(packed(letter, "new")))

    def meanwhile(data: Any) -> Message:
        assert taken(before) == []
        assert writer._words[reader._at_it]
        return unpack(data)

    monkeypatch.setattr(module, "unpack", meanwhile)
    assert taken(reader) == ["new"]


def test_a_bell_that_is_late_takes_nothing_back(rings: Rings, letter: Make) -> None:
    writer, reader, late = caught_up(rings, letter)
    assert taken(reader) == [1]
    rings.give_back(writer)
    writer = borrowed(rings)
    reader.hear(writer.open(packed(letter, "new")))
    reader.hear(late)
    assert taken(reader) == ["new"]


def test_what_is_taken_back_from_behind_another_letter_never_comes(
    rings: Rings, letter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader, _ = caught_up(rings, letter)
    writer.put(packed(letter, 2))
    got: list[Any] = []
    monkeypatch.setattr(module, "sleep", lambda seconds: got.extend(taken(reader)))
    assert writer.take_back(writer.last)
    assert got == [1]
    writer.put(packed(letter, 3))
    assert taken(reader) == [3]


def test_a_bell_is_good_for_all_that_was_put_in_before(rings: Rings, letter: Make) -> None:
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    first = writer.open(packed(letter, 0))
    writer.put(packed(letter, 1))
    reader.hear(writer.last)
    reader.hear(first)
    assert taken(reader) == [0, 1]


def test_a_bell_of_a_letter_that_was_taken_back_rings_for_no_other(
    rings: Rings, letter: Make
) -> None:
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    number = writer.open(packed(letter, "taken back"))
    assert writer.take_back(number)
    rings.give_back(writer)
    writer = borrowed(rings)
    writer.open(packed(letter, "its bell lies further behind"))
    reader.hear(number)
    assert taken(reader) == []
    reader.hear(writer.last)
    assert taken(reader) == ["its bell lies further behind"]


def test_what_nobody_can_unpack_is_garbage_whatever_is_raised(
    rings: Rings, letter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    reader.hear(writer.open(packed(letter, "odd")))
    writer.put(packed(letter, "next"))

    def odd(data: Any) -> Message:
        message = unpack(data)
        if message.body == "odd":
            raise RuntimeError
        return message

    monkeypatch.setattr(module, "unpack", odd)
    monkeypatch.setattr("gateway.bus.attempts.TRIED", 0.0)
    for _ in range(TRIES):
        with pytest.raises(RuntimeError):
            taken(reader)
    assert taken(reader) == ["next"]


def test_what_a_handler_raises_as_a_letter_is_unpacked_costs_no_letter(
    rings: Rings, letter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = borrowed(rings)
    reader = reader_of(rings, writer)
    reader.hear(writer.open(packed(letter, "whole")))

    def struck(data: Any) -> Message:
        unpack(data)
        raise TimeoutError

    monkeypatch.setattr(module, "unpack", struck)
    for _ in range(2 * TRIES):
        with pytest.raises(TimeoutError):
            taken(reader)
    monkeypatch.undo()
    assert taken(reader) == ["whole"]


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
