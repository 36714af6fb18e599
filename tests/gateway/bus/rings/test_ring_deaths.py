"""Either side may end, or be killed, at any moment: whatever was sent is there, or counted."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.bus import ring as module
from gateway.bus.directory import Book
from gateway.bus.ledger import SharedLedgers, empty_row
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.bus.ring import SLOTS, RingReader
from gateway.bus.ring_outlet import RingOutlet
from gateway.bus.rings import Rings
from gateway.bus.wire import Folder, socket_name
from gateway.clock import RealClock
from gateway.errors import RecipientGoneError
from gateway.mail.codec import encode
from gateway.mail.message import Message
from tests.gateway.bus.rings.ends import (
    Flowing,
    Make,
    Outlets,
    Waiting,
    drained,
    filled,
    taking_stock,
)


def test_a_ring_that_was_given_back_is_not_touched_any_more(
    letter: Make, target: Mailbox, outlet: Outlets, rings: Rings, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = outlet()
    filled(out, letter)
    others: list[Any] = []
    give_back, borrow = Rings.give_back, Rings.borrow

    def at_once_anothers(self: Rings, ring: Any) -> None:
        give_back(self, ring)
        if not others:
            others.append(borrow(self, "other.1"))
            others[0].open(encode(letter(body="another's")))

    def as_its_reader_ends(self: Rings, *arguments: Any) -> Any:
        target.close()
        return borrow(self, *arguments)

    monkeypatch.setattr(Rings, "give_back", at_once_anothers)
    monkeypatch.setattr(Rings, "borrow", as_its_reader_ends)
    with pytest.raises(RecipientGoneError):
        out.deliver(letter(body="too late"))
    reader = rings.ring_for(others[0].number, "other.1")
    assert reader is not None
    reader.hear(others[0].last)
    left: list[Message] = []
    reader.take(left, empty_row(), 0, SLOTS)
    assert [each.body for each in left] == ["another's"]


@pytest.mark.parametrize("who", ["mailbox", "office"])
def test_a_ring_that_is_borrowed_as_its_reader_ends_takes_nothing(
    letter: Make,
    folder: Folder,
    outlet: Outlets,
    office: Office,
    rings: Rings,
    monkeypatch: pytest.MonkeyPatch,
    who: str,
) -> None:
    sockets = office.bind("worker", 1)
    out = outlet()
    count = filled(out, letter)
    told: list[Any] = []
    really = Rings.ending

    def meanwhile(self: Rings, reader: str, take: Callable[[list[RingReader]], None]) -> None:
        def first_write(found: list[RingReader]) -> None:
            for number in range(3):
                try:
                    out.deliver(letter(body=number), 0.1)
                except RecipientGoneError:
                    told.append("gone")
            take(found)

        really(self, reader, first_write)

    monkeypatch.setattr(Rings, "ending", meanwhile)
    if who == "office":
        assert office.inherit("worker", 1, sockets) == count
    else:
        made = Mailbox("worker", 1, clock=RealClock(), sockets=sockets, rings=rings)
        assert len(made.close()) == count
        assert made.statistics().accepted == count
        office.unlink("worker", 1)
    assert told == ["gone"] * 3


def test_a_ring_that_is_closed_takes_nothing_and_touches_nothing(
    letter: Make, target: Mailbox, outlet: Outlets, rings: Rings, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    ring = out._ring
    assert ring is not None
    ring.lapse()
    ring.was_told()
    assert ring.fileno() == -1
    out.deliver(letter(body="by the socket"))
    assert out._ring is None
    assert drained(target, 0.05) == ["by the socket"]


@pytest.mark.parametrize("after", [0, 5, 200, 999])
def test_whatever_was_sent_to_a_mailbox_that_closes_is_counted(
    letter: Make, target: Mailbox, outlet: Outlets, run: Any, after: int
) -> None:
    out = outlet()
    sent = Counter[str]()

    def write() -> None:
        while True:
            try:
                out.deliver(letter(body=sent["told"]), 5.0)
            except RecipientGoneError:
                return
            sent["told"] += 1

    writer = run(write)
    for _ in range(after):
        assert target.get(10.0) is not None
    target.close()
    writer.result()
    found = target.statistics()
    assert found.accepted == sent["told"]
    assert found.delivered == after
    assert found.lost_with_reader == sent["told"] - after


def test_a_writer_that_meets_the_end_waits_to_learn_what_became_of_its_letter(
    letter: Make,
    target: Mailbox,
    outlet: Outlets,
    rings: Rings,
    run: Any,
    until: Any,
    flowing: Flowing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ENDED_WITHIN", 10.0)
    out = outlet()
    flowing(out, target)
    out.deliver(letter(body="before"))
    ring = out._ring
    assert ring is not None
    with taking_stock(rings) as ending:
        writer = run(lambda: out.deliver(letter(body="counted")))
        until(lambda: ring._words[module._HEAD] == ring._words[module._TAIL] + 2)
        left: list[Message] = []
        for used in ending:
            used.rest(left, empty_row(), 0)
        assert [each.body for each in left] == ["before", "counted"]
    writer.result()
    target.close()
    with pytest.raises(RecipientGoneError):
        out.deliver(letter(body="refused"))


def test_a_writer_that_waits_in_a_ring_is_told_of_the_end(
    target: Mailbox, waiting: Waiting
) -> None:
    out, writer = waiting()
    assert len(target.close()) == SLOTS
    with pytest.raises(RecipientGoneError):
        writer.result()
    assert out._ring is None


@pytest.fixture
def office(folder: Folder, rings: Rings) -> Iterator[Office]:
    office = Office(folder.path, clock=RealClock(), ledgers=SharedLedgers(8), rings=rings)
    office.update(Book(1, {"boss": 1, "worker": 1}))
    yield office
    office.shut()


@pytest.mark.parametrize("seed", range(6))
def test_what_lay_in_a_ring_of_a_reader_that_was_killed_is_counted(
    letter: Make, office: Office, outlet: Outlets, run: Any, rings: Rings, seed: int
) -> None:
    """The reader is a forked process that is killed at some moment, under load."""
    assert office.ledgers is not None
    sockets = office.bind("worker", 1)
    counts = office.ledgers.row(office.ledgers.claim())
    many = random.Random(seed).randrange(20, 3000)
    pid = os.fork()
    if pid == 0:
        box = Mailbox("worker", 1, clock=RealClock(), sockets=sockets, counts=counts, rings=rings)
        for _ in range(many):
            box.get(10.0)
        os.kill(os.getpid(), signal.SIGKILL)
    out = outlet()
    told = Counter[str]()

    def write() -> None:
        while True:
            try:
                out.deliver(letter(body=told["sent"], receipt=False), 5.0)
            except RecipientGoneError:
                return
            told["sent"] += 1

    writer = run(write)
    os.waitpid(pid, 0)
    found = office.inherit("worker", 1, sockets)
    writer.result()
    left = sum(counts[each] for each in (0, 1, 2)) + found
    assert left == told["sent"]


@pytest.mark.parametrize("seed", range(6))
def test_what_a_writer_sent_before_it_was_killed_comes_once_and_in_order(
    letter: Make, target: Mailbox, outlet: Outlets, until: Any, seed: int
) -> None:
    many = random.Random(seed).randrange(20, 3000)
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        out = outlet()
        for number in range(many):
            out.deliver(letter(body=number), 10.0)
            os.write(tell, b".")
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(tell)
    got: list[Any] = []
    while len(got) < many:
        message = target.get(10.0)
        assert message is not None, f"nothing after {len(got)} of {many} letters"
        got.append(message.body)
    os.waitpid(pid, 0)
    os.close(told)
    assert all(later == before + 1 for before, later in pairwise(got))
    assert target.get(0.05) is None
    assert target._flowing == []


def test_the_rings_of_an_application_leave_nothing(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        rings = Rings()
        folder = Folder(tmp_path / "bus")
        names = [socket_name("worker", 1, lane) for lane in ("mail", "urgent")]
        mail, urgent = (folder.bind(each) for each in names)
        target = Mailbox("worker", 1, clock=RealClock(), sockets=(mail, urgent), rings=rings)
        out = RingOutlet(folder, "worker", 1, rings, None)
        message = Message("a", "a", 1, 0.0, "main", "worker", "s")
        while out.try_send(message, "mail"):
            pass
        writer = threading.Thread(target=out.deliver, args=(message,))
        writer.start()
        while target.get(0.05):
            pass
        writer.join()
        out._patience.close()
        del out
        target.close()
        for name in names:
            folder.unlink(name)
        folder.close()
        rings.close()
    assert len(os.listdir("/proc/self/fd")) == before
