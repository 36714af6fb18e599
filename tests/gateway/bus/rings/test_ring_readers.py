"""Readers of every kind take letters from rings, each in its turn."""

from __future__ import annotations

import select
from collections import Counter
from typing import Any

import pytest

from gateway.bus import intake, mailbox
from gateway.bus import ring as module
from gateway.bus.mailbox import Mailbox
from gateway.bus.ring import SLOTS
from gateway.bus.rings import RINGS, Rings
from gateway.bus.wire import ANNOUNCEMENT, BELL
from gateway.mail.codec import encode
from gateway.mail.message import Message
from tests.gateway.bus.rings.ends import (
    Boxes,
    Flowing,
    Make,
    Outlets,
    deliver_many,
    drained,
    received,
)


def test_whoever_shares_a_reader_gets_its_share(letter: Make, box: Boxes, rings: Rings) -> None:
    target = box(rings=rings, size=16)
    writers = [rings.borrow("worker.1") for _ in range(3)]
    got = dict.fromkeys(range(3), 0)
    for number, ring in enumerate(writers):
        assert ring is not None
        target._hear(ring.number, ring.open(encode(letter(body=number))))
    for _ in range(600):
        for number, ring in enumerate(writers):
            assert ring is not None
            while ring.make_room():
                ring.put(encode(letter(body=number)))
        got[received(target, 1)[0]] += 1
    assert min(got.values()) > 100, got


def test_a_ring_that_is_anothers_by_now_makes_way(
    letter: Make, target: Mailbox, rings: Rings
) -> None:
    for number in range(2):
        ring = rings.borrow("worker.1")
        assert ring is not None
        target._hear(ring.number, ring.open(encode(letter(body=number))))
        assert drained(target) == [number]
        rings.give_back(ring)
        others = rings.borrow("other.1")
        assert others is not None
        assert [each.number for each in target._flowing] == [others.number]
        assert target._flowing[0].is_for(b"other.1")
    assert target._flowing[0].number == 1


@pytest.mark.parametrize("size", [1, 2, 8])
def test_what_floods_the_socket_leaves_room_for_rings_and_they_for_it(
    letter: Make, box: Boxes, rings: Rings, outlet: Outlets, size: int
) -> None:
    target, out = box(rings=rings, size=size), outlet()
    ring = rings.borrow("worker.1")
    assert ring is not None
    target._hear(ring.number, ring.open(encode(letter(body="ring"))))
    got = Counter[str]()
    for _ in range(300):
        while ring.make_room():
            ring.put(encode(letter(body="ring")))
        while out.try_send(letter(body="socket"), "mail"):
            pass
        got[received(target, 1)[0]] += 1
    assert min(got["ring"], got["socket"]) > 50, got


def test_a_letter_of_which_a_bell_tells_is_there_at_once(
    letter: Make, target: Mailbox, outlet: Outlets, rings: Rings
) -> None:
    ring = rings.borrow("worker.1")
    assert ring is not None
    number = ring.open(encode(letter(body="here")))
    out = outlet()
    out.socket_for("mail").send(BELL.pack(ANNOUNCEMENT, ring.number, number))
    # As when letters came one at a time.
    target._singles = 3
    assert drained(target) == ["here"]


@pytest.fixture
def half_read(letter: Make, box: Boxes, rings: Rings, outlet: Outlets, flowing: Flowing) -> Mailbox:
    """A mailbox with room for four whose reader has read one of twenty, which lie in a ring."""
    target = box(rings=rings, size=4)
    out = outlet()
    flowing(out, target)
    for number in range(20):
        out.deliver(letter(body=number))
    assert target.get(1.0) is not None
    return target


def test_whoever_follows_has_the_leader_read_what_lies_in_a_ring(
    half_read: Mailbox, letter: Make, run: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However late the leader gets a core.
    monkeypatch.setattr(mailbox, "HANDOVER", 10.0)
    waiter = run(lambda: half_read.wait_for(letter(id="asked"), 10.0))
    until(lambda: half_read._lead.leader)
    assert drained(half_read) == list(range(1, 20))
    half_read.deliver(letter(kind="reply", in_reply_to="asked"))
    waiter.result()


def test_a_loop_goes_on_while_something_lies_in_a_ring(half_read: Mailbox) -> None:
    for number in range(1, 4):
        message = half_read.get()
        assert message is not None
        assert message.body == number
    assert half_read._lanes.queued == 0
    assert not half_read.arm()
    assert drained(half_read) == list(range(4, 20))


def test_all_that_was_written_is_collected(half_read: Mailbox) -> None:
    found = [each.body for _ in range(8) for each in half_read.collect()]
    assert found == list(range(1, 20))


def test_a_reader_looks_once_more_into_a_ring_that_it_has_emptied(
    letter: Make,
    target: Mailbox,
    outlet: Outlets,
    run: Any,
    until: Any,
    flowing: Flowing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = outlet()
    # It looks every 10 ms, and relies on the next bell after 30 s.
    monkeypatch.setattr(module, "QUIET", 30.0)
    monkeypatch.setattr(intake, "QUIET", 0.01)
    flowing(out, target)
    reader = run(lambda: target.get(None))
    until(lambda: target._lead.leader)
    # As if it had not been seen that the reader is about to leave.
    assert out._ring is not None
    out._ring.put(encode(letter(body="late")))
    assert reader.result().body == "late"


def test_a_reader_that_must_not_wait_is_told_of_what_lies_in_a_ring(
    letter: Make, target: Mailbox, outlet: Outlets, run: Any
) -> None:
    out, many = outlet(), 2000
    mail, _ = target.descriptors()
    writer = run(lambda: deliver_many(out, letter, many))
    got: list[Any] = []
    while len(got) < many:
        if target.arm():
            assert select.select([mail], [], [], 10.0)[0], f"nothing after {len(got)} letters"
        got += drained(target)
    writer.result()
    assert got == list(range(many))


def test_a_reader_sleeps_for_good_soon_after_a_ring_was_emptied(
    letter: Make, target: Mailbox, outlet: Outlets, run: Any, until: Any, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    assert target.get(0.05) is None
    assert target._flowing == []
    reader = run(lambda: target.get(None))
    until(lambda: target._lead.leader)
    out.deliver(letter(body="wakes it"))
    assert reader.result().body == "wakes it"


@pytest.mark.parametrize(("ring", "number"), [(0, 0), (RINGS, 0), (255, 2**64 - 1)])
def test_a_bell_that_somebody_made_up_rings_in_vain(
    letter: Make, target: Mailbox, outlet: Outlets, ring: int, number: int
) -> None:
    out = outlet()
    way = out.socket_for("mail")
    way.send(BELL.pack(ANNOUNCEMENT, ring, number))
    out.deliver(letter(body="letter"))
    assert drained(target, 0.05) == ["letter"]
    assert target._flowing == []


def test_a_bell_is_garbage_where_there_are_no_rings(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    target, out = box(), outlet()
    out.socket_for("mail").send(BELL.pack(ANNOUNCEMENT, 0, 0))
    out.deliver(letter(body="letter"))
    assert drained(target) == ["letter"]
    assert target.statistics().garbage == 1


def test_what_was_told_before_a_letter_is_obeyed_before_it_is_handled(
    letter: Make,
    box: Boxes,
    rings: Rings,
    outlet: Outlets,
    flowing: Flowing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for each in (module, intake):
        monkeypatch.setattr(each, "QUIET", 10.0)
    obeyed: list[Any] = []

    def control(message: Message) -> bool:
        obeyed.append(message.body)
        return True

    target = box(rings=rings, control=control)
    out = outlet()
    flowing(out, target)
    assert target._flowing
    target._singles = 3
    for number in range(5):
        out.deliver(letter(body=number, kind="control"))
    assert out._ring is not None
    out._ring.put(encode(letter(body="afterwards")))
    message = target.get(1.0)
    assert message is not None
    assert message.body == "afterwards"
    assert obeyed == list(range(5))


def test_letters_wait_in_a_ring_while_their_reader_has_no_room(
    letter: Make, box: Boxes, rings: Rings, outlet: Outlets, flowing: Flowing
) -> None:
    target = box(rings=rings, size=4)
    out = outlet()
    flowing(out, target)
    for number in range(SLOTS):
        out.deliver(letter(body=number))
    assert target.get(1.0) is not None
    assert len(target._lanes.letters) <= 4
    assert drained(target, 0.05) == list(range(1, SLOTS))
