"""Letters to a mailbox that go by its socket and by rings, as it comes."""

from __future__ import annotations

import os
import random
import signal
import threading
from time import monotonic
from typing import Any

import pytest

from gateway.bus import ring as module
from gateway.bus.mailbox import Mailbox
from gateway.bus.ring import LETTER, SLOTS, RingWriter
from gateway.bus.ring_outlet import RingOutlet
from gateway.bus.rings import RINGS, Rings
from gateway.bus.wire import Outlet
from gateway.errors import BodyError, MailboxFullError
from gateway.mail.codec import encode
from gateway.mail.message import Message
from tests.gateway.bus.rings.ends import (
    ANOTHER,
    Boxes,
    Flowing,
    Make,
    Outlets,
    Waiting,
    deliver_many,
    drained,
    filled,
    received,
)

SIZES = [0, 100, 100, 100, 700, 1100, 70_000]


@pytest.mark.parametrize("mode", ["fifo", "small"])
def test_letters_of_every_size_come_once_and_in_order(
    letter: Make, box: Boxes, outlet: Outlets, rings: Rings, run: Any, mode: str
) -> None:
    target = box(rings=rings, size=8 if mode == "small" else 256)
    out, many = outlet(), 4000
    chance = random.Random(4)

    def write() -> None:
        for number in range(many):
            size = chance.choice(SIZES[:6]) if chance.random() < 0.998 else SIZES[6]
            body: Any = [number, "x" * size]
            out.deliver(letter(body=body), 30.0)

    writer = run(write)
    pause = threading.Event()
    got: list[Any] = []
    while len(got) < many:
        message = target.get(10.0)
        assert message is not None, f"nothing after {len(got)} letters"
        got.append(message.body[0])
        if chance.random() < 0.002:
            pause.wait(0.003)
    writer.result(30.0)
    assert got == list(range(many))
    assert target.get() is None
    assert target.statistics().accepted == target.statistics().delivered == many


def test_bytes_come_in_their_turn_however_large(
    letter: Make, target: Mailbox, outlet: Outlets, run: Any, flowing: Flowing
) -> None:
    out = outlet()
    count = flowing(out, target)
    bodies = [b"a", b"b" * 100_000, b"c", b"d" * 2000, b"e"]

    def write() -> None:
        for body in bodies:
            out.deliver(letter(body=body), 10.0)

    writer = run(write)
    assert [target.get(10.0).body for _ in bodies] == bodies  # type: ignore[union-attr]
    writer.result()
    assert target.statistics().delivered == count + len(bodies)


def test_what_holds_no_unicode_is_refused_and_the_next_letter_goes(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    with pytest.raises(BodyError, match="no Unicode"):
        out.deliver(letter(body="\ud800"))
    out.deliver(letter(body="fine"))
    assert drained(target, 0.05) == ["fine"]


def test_several_threads_share_a_ring(
    letter: Make, target: Mailbox, outlet: Outlets, run: Any
) -> None:
    out, threads, many = outlet(), 4, 1500

    def write(who: int) -> None:
        for number in range(many):
            out.deliver(letter(body=[who, number]), 30.0)

    writers = [run(lambda who=who: write(who)) for who in range(threads)]
    got = [target.get(10.0) for _ in range(threads * many)]
    for writer in writers:
        writer.result()
    for who in range(threads):
        assert [m.body[1] for m in got if m and m.body[0] == who] == list(range(many))


def test_a_thread_that_wrote_to_the_socket_meanwhile_keeps_its_order(
    letter: Make,
    box: Boxes,
    outlet: Outlets,
    rings: Rings,
    run: Any,
    until: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = box(rings=rings, size=2)
    out = outlet()
    count = filled(out, letter)
    checked, opened = threading.Event(), threading.Event()
    whole_way = Outlet.deliver

    def deliver(self: Outlet, message: Message, timeout: float = 5.0) -> None:
        if message.body == "first":
            checked.set()
            assert opened.wait(10.0)
        whole_way(self, message, timeout)

    monkeypatch.setattr(Outlet, "deliver", deliver)

    seen: list[bool] = []

    def two() -> None:
        out.deliver(letter(body="first"))
        seen.append(out._is_mixed)
        out.deliver(letter(body="second"))
        seen.append(out._ring is None)

    slow = run(two)
    assert checked.wait(10.0)
    quick = run(lambda: out.deliver(letter(body="opens")))
    until(lambda: out._ring is not None)
    got = received(target, count)
    quick.result()
    opened.set()
    got += received(target, 3)
    slow.result()
    assert got[:count] == list(range(count))
    assert sorted(got[count:]) == ["first", "opens", "second"]
    assert got.index("first") < got.index("second")
    assert seen == [True, True], "the second one went by the socket as well"


def test_whoever_wrote_to_the_socket_meanwhile_has_the_ring_given_back(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    out._is_mixed = True
    out.deliver(letter(body="by the socket"))
    assert out._ring is None
    assert not out._is_mixed
    assert drained(target) == ["by the socket"]


def test_what_is_too_large_for_a_ring_leaves_no_memory_behind(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    out.deliver(letter(body=[0] * 40_000))
    assert out._packed.__alloc__() <= LETTER
    assert drained(target) == [[0] * 40_000]


def test_who_has_waited_for_long_is_the_next_one(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing, run: Any, until: Any
) -> None:
    out = outlet()
    flowing(out, target)
    out._holder = ANOTHER
    waiter = run(lambda: out.deliver(letter(body="waited")))
    until(lambda: out._first)
    out._holder = 0
    out.deliver(letter(body="came by"))
    waiter.result()
    assert drained(target, 0.05) == ["waited", "came by"]


def test_one_deadline_holds_for_all_that_a_writer_waits_for(
    letter: Make,
    target: Mailbox,
    outlet: Outlets,
    flowing: Flowing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = outlet()
    flowing(out, target)
    for number in range(SLOTS):
        out.deliver(letter(body=number))
    out._holder = ANOTHER
    deadlines: list[float] = []
    stand, wait = RingOutlet._stand_in_line, RingOutlet._wait_in_ring

    def standing(self: RingOutlet, me: int, deadline: float, timeout: float) -> None:
        deadlines.append(deadline)
        self._holder = 0
        stand(self, me, deadline, timeout)

    def waiting(
        self: RingOutlet, ring: RingWriter, deadline: float, *how: Any, **more: Any
    ) -> None:
        deadlines.append(deadline)
        wait(self, ring, deadline, *how, **more)

    monkeypatch.setattr(RingOutlet, "_stand_in_line", standing)
    monkeypatch.setattr(RingOutlet, "_wait_in_ring", waiting)
    with pytest.raises(MailboxFullError):
        out.deliver(letter(body="too much"), 0.1)
    first, second = deadlines
    assert first == second


def test_what_waited_in_a_ring_does_not_wait_as_long_at_the_socket(
    letter: Make,
    target: Mailbox,
    outlet: Outlets,
    flowing: Flowing,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = outlet()
    flowing(out, target)
    out.deliver(letter(body="small"))
    began, ended, left = list[float](), list[float](), list[float]()
    wait = RingOutlet._wait_in_ring

    def waiting(self: RingOutlet, *how: Any, **more: Any) -> None:
        began.append(monotonic())
        wait(self, *how, **more)
        ended.append(monotonic())

    def at_the_socket(self: Outlet, message: Message, timeout: float = 5.0) -> None:
        left.append(timeout)
        raise MailboxFullError("it is full")

    def read_later() -> None:
        threading.Event().wait(0.2)
        assert target.get(10.0) is not None

    monkeypatch.setattr(RingOutlet, "_wait_in_ring", waiting)
    monkeypatch.setattr(Outlet, "deliver", at_the_socket)
    reader = run(read_later)
    with pytest.raises(MailboxFullError):
        out.deliver(letter(body="x" * 3000), 30.0)
    reader.result()
    assert left[0] <= 30.0 - (ended[0] - began[0])


def test_the_bell_that_a_dead_writer_owed_is_rung_although_the_socket_was_full(
    letter: Make, target: Mailbox, outlet: Outlets, rings: Rings, run: Any, until: Any
) -> None:
    pid = os.fork()
    if pid == 0:
        ring = rings.borrow("worker.1")
        assert ring is not None
        ring.open(encode(letter(body="owed")))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    out = outlet()
    count = filled(out, letter)
    writer = run(lambda: out.deliver(letter(body="opens")))
    until(lambda: out._ring is not None)
    got = received(target, count + 2)
    writer.result()
    assert {"opens", "owed"} <= set(got)


def test_replies_overtake_what_lies_in_a_ring(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    for number in range(SLOTS // 2):
        out.deliver(letter(body=number))
    out.deliver(letter(body="reply", kind="reply", in_reply_to="id-0"))
    assert drained(target, 0.05) == ["reply", *range(SLOTS // 2)]


def test_a_reader_that_is_stuck_has_its_writer_told_and_gets_nothing_later(
    letter: Make, target: Mailbox, outlet: Outlets, rings: Rings
) -> None:
    out = outlet()
    count = filled(out, letter)
    for _ in range(3):
        with pytest.raises(MailboxFullError, match=r"took no mail for 0\.05 s"):
            out.deliver(letter(body="too much"), 0.05)
        assert out._ring is None
    assert rings.ring_for(0, "worker.1") is not None, "it was the same ring each time"
    assert rings.ring_for(1, "worker.1") is None
    assert drained(target, 0.05) == list(range(count))
    out.deliver(letter(body="again"))
    assert drained(target, 0.05) == ["again"]


def test_a_ring_that_is_full_has_its_writer_told_and_gets_nothing_later(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    sent = 0
    for _ in range(SLOTS):
        out.deliver(letter(body=sent), 0.02)
        sent += 1
    with pytest.raises(MailboxFullError):
        out.deliver(letter(body=sent), 0.02)
    with pytest.raises(MailboxFullError):
        out.deliver(letter(body="too much"), 0.0)
    with pytest.raises(MailboxFullError):
        out.deliver(letter(body="x" * 3000), 0.02)
    assert drained(target, 0.05) == list(range(SLOTS))


def test_a_bell_that_finds_no_room_has_its_writer_told_and_the_letter_taken_back(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out, other = outlet(), outlet()
    flowing(out, target)
    assert target.get(0.05) is None
    assert target._flowing == []
    count = filled(other, letter)
    with pytest.raises(MailboxFullError):
        out.deliver(letter(body="too much"), 0.05)
    assert drained(target, 0.05) == list(range(count))
    out.deliver(letter(body="again"))
    assert drained(target, 0.05) == ["again"]


def test_whoever_has_no_time_gets_no_ring(letter: Make, target: Mailbox, outlet: Outlets) -> None:
    out = outlet()
    count = filled(out, letter)
    with pytest.raises(MailboxFullError):
        out.deliver(letter(), 0.0)
    assert out._ring is None
    assert len(drained(target)) == count


def test_without_a_ring_its_writer_waits_as_ever(
    letter: Make, target: Mailbox, outlet: Outlets, rings: Rings, run: Any
) -> None:
    held = [rings.borrow("other.1") for _ in range(RINGS)]
    out = outlet()
    writer = run(lambda: deliver_many(out, letter, 500))
    assert [target.get(10.0).body for _ in range(500)] == list(range(500))  # type: ignore[union-attr]
    writer.result()
    assert out._ring is None
    assert all(held)


def test_a_writer_that_waits_for_room_goes_on_as_soon_as_there_is_some(
    target: Mailbox, waiting: Waiting
) -> None:
    _, writer = waiting()
    assert received(target, SLOTS + 1) == [*range(SLOTS), "last"]
    writer.result()


def test_a_ring_that_is_no_gain_is_given_back_and_borrowed_again(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    for number in range(module.SHORT + 2):
        out.deliver(letter(body=number))
        assert target.get(10.0).body == number  # type: ignore[union-attr]
    assert out._ring is None
    flowing(out, target)


def test_an_outlet_that_goes_gives_its_ring_back(
    letter: Make, target: Mailbox, outlet: Outlets, rings: Rings, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    out.deliver(letter(body="left"))
    assert len(rings._borrowed) == 1
    del out
    assert len(rings._borrowed) == 0
    assert drained(target, 0.05) == ["left"]
