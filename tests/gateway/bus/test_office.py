"""Delivery across two offices on one folder, as two OS processes have them."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.bus import office as module
from gateway.bus.directory import Book, Subscription
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.bus.outlets import outlet_to
from gateway.bus.spool_terms import SpoolTerms
from gateway.bus.spool_writer import SpoolWriter
from gateway.bus.wire import ANNOUNCEMENT, INLINE, Outlet
from gateway.errors import AddressError, RecipientGoneError, RefusedError
from gateway.mail.message import BULK, NORMAL, URGENT, Message, bounce_of, reply_to

Make = Callable[..., Message]
Offices = Callable[..., tuple[Office, Office]]


def box_of(office: Office, name: str) -> Mailbox:
    return office._boxes[name]


def send(office: Office, message: Message) -> Message:
    """Deliver as a process does: to the life that the book knows."""
    target = office.target(message.recipient)
    stamped = Message(
        message.message_id,
        message.thread_id,
        1,
        0.0,
        message.sender,
        message.recipient,
        message.subject,
        message.body,
        incarnation=target.incarnation,
        sender_incarnation=office.book.incarnations.get(message.sender, 0),
        receipt=message.receipt,
    )
    target.deliver(stamped, 1.0)
    return stamped


@pytest.mark.parametrize("home", [0, 1])
def test_a_letter_and_its_reply_find_their_way(letter: Make, offices: Offices, home: int) -> None:
    pair = offices(main=0, worker=home)
    asked = send(pair[0], letter(recipient="x@worker"))
    there = pair[home]
    arrived = box_of(there, "worker").get(5.0)
    assert arrived == asked
    assert (arrived is asked) is (home == 0), "by reference at home, as a datagram elsewhere"
    there.answer(reply_to(asked, "2", 0.0, "done"))
    assert box_of(pair[0], "main").wait_for(asked, 5.0).body == "done"


@pytest.mark.parametrize("before", [0, 1, 4, 63, 69])
def test_the_urgent_come_first_also_after_a_quiet_time(
    letter: Make, offices: Offices, before: int
) -> None:
    here, there = offices(main=0, worker=1, order="priority")
    target, box = here.target("worker"), box_of(there, "worker")
    for number in range(before):
        target.deliver(letter(str(number), incarnation=1), 1.0)
        assert box.get(5.0) is not None
    for priority in (BULK, NORMAL, URGENT) * 3:
        target.deliver(letter("crowd", priority=priority, incarnation=1), 1.0)
    found = [box.get(0.0) for _ in range(9)]
    assert [read and read.priority for read in found] == [URGENT] * 3 + [NORMAL] * 3 + [BULK] * 3


def test_what_its_boss_told_a_mailbox_that_is_closed_is_no_letter_that_was_lost(
    letter: Make, offices: Offices
) -> None:
    here, there = offices(main=0, worker=1)
    box = box_of(there, "worker")
    box.obey_also(lambda message: True)
    for kind in ("control", "letter"):
        here.target("worker").deliver(letter("book", kind=kind, incarnation=1), 1.0)
    there.close(box)
    found = box.statistics()
    assert (found.accepted, found.lost_with_reader, found.is_balanced) == (1, 1, True)


def test_threads_that_write_first_at_the_same_moment_share_an_outlet(
    offices: Offices, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, _ = offices(main=0, worker=1)
    both = threading.Barrier(2)

    def at_once(*arguments: Any) -> Outlet:
        both.wait(10.0)
        return outlet_to(*arguments)

    monkeypatch.setattr(module, "outlet_to", at_once)
    one, other = [run(lambda: here.target("worker")) for _ in range(2)]
    assert one.result() is other.result()


def test_an_outlet_to_a_life_that_is_over_by_now_is_not_kept(
    offices: Offices, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, _ = offices(main=0, worker=1)

    def meanwhile(*arguments: Any) -> Outlet:
        here.update(Book(2, {"main": 1}))
        return outlet_to(*arguments)

    monkeypatch.setattr(module, "outlet_to", meanwhile)
    assert here.target("worker").incarnation == 1
    assert here._outlets == {}


def test_nobody_is_an_address_error(offices: Offices) -> None:
    here, _ = offices(main=0)
    with pytest.raises(AddressError):
        here.target("nobody")


@pytest.mark.parametrize("home", [0, 1])
@pytest.mark.parametrize("kind", ["reply", "bounce"])
def test_an_answer_never_reaches_a_successor(
    letter: Make, offices: Offices, home: int, kind: str
) -> None:
    pair = offices(main=home, worker=1)
    asked = send(pair[home], letter())
    pair[home].close(box_of(pair[home], "main"))
    for office in pair:
        office.update(Book(2, {"main": 2, "worker": 1}))
    successor = pair[home].open("main", 2, pair[home].bind("main", 2))
    answer = (
        reply_to(asked, "2", 0.0, None)
        if kind == "reply"
        else bounce_of(asked, "2", 0.0, RefusedError("no"))
    )
    with pytest.raises(RecipientGoneError, match="restarted since"):
        pair[1].answer(answer)
    assert successor.get(0.0) is None


def test_an_answer_to_the_dead_is_a_typed_error(letter: Make, offices: Offices) -> None:
    here, there = offices(main=0, worker=1)
    asked = send(here, letter())
    there.update(Book(2, {"worker": 1}))
    with pytest.raises(RecipientGoneError, match="'main' is gone"):
        there.answer(reply_to(asked, "2", 0.0, None))


def test_a_newer_book_ends_the_waits_for_the_dead(
    letter: Make, offices: Offices, run: Any, until: Any
) -> None:
    here, _ = offices(main=0, worker=1)
    asked = send(here, letter())
    box = box_of(here, "main")
    caller = run(lambda: box.wait_for(asked, 60.0))
    until(box._lanes.open_calls)
    assert not here.update(Book(0, {"main": 1}))
    assert caller.runs, "an older book says nothing"
    assert here.update(Book(2, {"main": 1, "worker": 2}))
    with pytest.raises(RecipientGoneError, match="'worker' died"):
        caller.result()


def test_who_looks_up_again_finds_a_successor_or_learns_that_there_is_none(
    letter: Make, offices: Offices
) -> None:
    here, there = offices(main=0, worker=1)
    assert here.target("worker").incarnation == 1
    assert here.look_up_again("worker").incarnation == 1
    for office in (here, there):
        office.update(Book(2, {"main": 1, "worker": 2}))
    assert here.look_up_again("worker").incarnation == 2
    here.update(Book(3, {"main": 1}))
    with pytest.raises(RecipientGoneError):
        here.look_up_again("worker")


@pytest.mark.parametrize("receipt", [True, False])
@pytest.mark.parametrize("home", [0, 1])
def test_what_a_closed_mailbox_leaves_bounces_where_that_was_asked_for(
    letter: Make, offices: Offices, home: int, receipt: bool
) -> None:
    pair = offices(main=0, worker=home)
    asked = send(pair[0], letter(receipt=receipt))
    pair[home].close(box_of(pair[home], "worker"))
    main = box_of(pair[0], "main")
    if receipt:
        with pytest.raises(RecipientGoneError, match="ended before it read this"):
            main.wait_for(asked, 5.0)
    assert main.get(0.0) is None


def test_a_bounce_that_nobody_takes_harms_nobody(letter: Make, offices: Offices) -> None:
    here, there = offices(main=0, worker=1)
    send(here, letter(receipt=True))
    here.close(box_of(here, "main"))
    there.close(box_of(there, "worker"))


# Publications


def subscribe(office: Office, *patterns: tuple[str, str]) -> None:
    book = office.book
    known = tuple(Subscription(mailbox, pattern, 0) for mailbox, pattern in patterns)
    office.update(Book(book.version + 1, book.incarnations, known))


def test_a_publication_reaches_every_subscriber_once(letter: Make, offices: Offices) -> None:
    here, there = offices(main=0, near=0, far=1)
    subscribe(here, ("near", "a/+"), ("near", "#"), ("far", "a/b"), ("main", "c"), ("dead", "#"))
    here.publish(letter("a/b", kind="publication", recipient="", body={"v": [1]}))
    for box in (box_of(here, "near"), box_of(there, "far")):
        assert box.get(5.0).body == {"v": [1]}  # type: ignore[union-attr]
        assert box.get(0.0) is None
    assert box_of(here, "main").get(0.0) is None


def test_no_two_subscribers_share_what_a_publication_holds(letter: Make, offices: Offices) -> None:
    here, _ = offices(main=0, one=0, two=0)
    subscribe(here, ("one", "#"), ("two", "#"))
    body = {"list": [1]}
    here.publish(letter("a", kind="publication", recipient="", body=body))
    first, second = (box_of(here, name).get(0.0) for name in ("one", "two"))
    assert first is not None
    assert second is not None
    first.body["list"].append(2)
    assert second.body == {"list": [1]}


def test_publishing_never_waits_for_a_full_subscriber(letter: Make, offices: Offices) -> None:
    here, there = offices(main=0, near=0, far=1)
    subscribe(here, ("near", "#"), ("far", "#"))
    for number in range(600):
        here.publish(letter(str(number), kind="publication", recipient=""))
    assert box_of(here, "near").statistics().dropped > 0
    box = box_of(there, "far")
    assert box.get(5.0).subject == "0"  # type: ignore[union-attr]
    told = here.statistics()
    assert told["dropped_at_sender"] > 0
    assert told["publications_dropped"] == {
        "near": box_of(here, "near").statistics().dropped,
        "far": told["dropped_at_sender"],
    }


def test_a_later_subscriber_can_be_handed_what_it_missed(letter: Make, offices: Offices) -> None:
    here, there = offices(main=0, far=1)
    here.publish_to("far", letter("kept", kind="publication"))
    here.publish_to("nobody", letter("kept", kind="publication"))
    assert box_of(there, "far").get(5.0).subject == "kept"  # type: ignore[union-attr]


def test_a_new_book_is_heeded_by_what_was_remembered(letter: Make, offices: Offices) -> None:
    here, there = offices(main=0, far=1)
    here.publish(letter("t", kind="publication", recipient=""))
    here.target("far")
    subscribe(here, ("far", "t"))
    here.publish(letter("t", kind="publication", recipient=""))
    assert box_of(there, "far").get(5.0) is not None
    assert box_of(there, "far").get(0.0) is None


def test_ids_are_unique_across_offices(offices: Offices) -> None:
    pair = offices(main=0)
    made = [office.new_id() for office in pair for _ in range(1000)]
    assert len(set(made)) == 2000


def test_a_shut_office_leaves_no_socket_file(offices: Offices, tmp_path: Any) -> None:
    here, there = offices(main=0, worker=1)
    assert len(list((tmp_path / "bus").iterdir())) == 4
    here.shut()
    there.shut()
    assert not list((tmp_path / "bus").iterdir())


def test_two_who_find_each_other_full_read_while_they_wait(
    letter: Make, offices: Offices, run: Any
) -> None:
    here, there = offices(main=0, worker=1)

    done: list[str] = []

    def flood(office: Office, own: str, to: str) -> None:
        for number in range(200):
            reply = letter(recipient=to, kind="reply", in_reply_to=f"{to} {number}", incarnation=1)
            office.target(to).deliver(reply, 5.0)
        done.append(own)
        while len(done) < 2:
            box_of(office, own).get(0.01)

    # Neither's socket holds so many, and nobody else reads until both have written.
    floods = [
        run(lambda: flood(here, "main", "worker")),
        run(lambda: flood(there, "worker", "main")),
    ]
    for each in floods:
        each.result()


def test_who_wants_to_know_is_told_of_every_newer_book(offices: Offices) -> None:
    here, _ = offices(main=0)
    told: list[int] = []

    def note() -> None:
        told.append(here.book.version)

    here.on_change(note)
    here.update(Book(2, {"main": 1}))
    here.update(Book(1, {"main": 1}))
    here.forget(note)
    here.forget(note)
    here.update(Book(3, {"main": 1}))
    assert told == [2]


def left_unread(offices: Offices) -> tuple[Office, Office, tuple[socket.socket, socket.socket]]:
    """Return the office of main, that of the boss, and the sockets of a worker who is dead."""
    writers, boss = offices(main=0)
    sockets = boss.bind("worker", 1)
    for office in (writers, boss):
        office.update(Book(2, {"main": 1, "worker": 1}))
    return writers, boss, sockets


def test_who_was_killed_after_an_announcement_leaves_the_large_letter_to_be_counted(
    letter: Make, offices: Offices
) -> None:
    writers, boss, sockets = left_unread(offices)
    send(writers, letter("large", recipient="worker", body="x" * INLINE, receipt=True))
    assert sockets[0].recv(1) == ANNOUNCEMENT
    assert boss.inherit("worker", 1, sockets) == 1
    bounce = box_of(writers, "main").get(5.0)
    assert bounce is not None
    assert bounce.kind == "bounce"


SHORT = """
import os, resource, sys
from pathlib import Path
from gateway.bus.directory import Book
from gateway.bus.office import Office
from gateway.bus.spool_terms import SpoolTerms
from gateway.clock import RealClock
from gateway.process.subscriber import Subscriber

office = Office(Path(sys.argv[1]), clock=RealClock())
main = Subscriber("main", office, office.open("main", 1, office.bind("main", 1)))
office.update(Book(1, {"main": 1, "keeper": 1}))
Book.spools = lambda self, topic: {"keeper": SpoolTerms(limit=1 << 20)}
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
for number in range(2):
    main.publish("rooms/kitchen", number)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
main.publish("rooms/kitchen", 2)
print(office.statistics()["unwritten"])
office.shut()
"""


def test_what_is_published_where_no_descriptor_is_left_is_counted(tmp_path: Path) -> None:
    """Also where SQLite had to be loaded for it, which takes one."""
    program = [sys.executable, "-c", SHORT, str(tmp_path)]
    run = subprocess.run(program, capture_output=True, text=True, timeout=30, check=True)
    assert run.stdout.strip() == "{'keeper': 2}", run.stderr
    assert "publications for keeper are lost" in run.stderr


def test_who_publishes_while_its_office_is_shut_keeps_no_file_open(
    letter: Make, offices: Offices, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = offices(main=0)[0]
    monkeypatch.setattr(Book, "spools", lambda _, topic: {topic: SpoolTerms(limit=1 << 20)})
    office.publish(letter("before", kind="publication"))
    close = SpoolWriter.close

    def close_and_publish(writer: SpoolWriter) -> None:
        close(writer)
        monkeypatch.setattr(SpoolWriter, "close", close)
        office.publish(letter("meanwhile", kind="publication"))

    monkeypatch.setattr(SpoolWriter, "close", close_and_publish)
    office.shut()
    assert office.statistics()["unwritten"] == {"meanwhile": 1}


def test_what_its_boss_told_a_dead_reader_is_no_letter_that_was_lost(
    letter: Make, offices: Offices
) -> None:
    writers, boss, sockets = left_unread(offices)
    send(writers, letter("work", recipient="worker"))
    writers.target("worker").deliver(letter("die", kind="control", incarnation=1))
    assert boss.inherit("worker", 1, sockets) == 1
    for used in sockets:
        used.close()
