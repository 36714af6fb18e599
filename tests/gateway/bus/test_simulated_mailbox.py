"""The mailbox of a simulation keeps what the real one promises, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf
from random import Random
from threading import Thread
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.bus.baton import Baton
from gateway.bus.directory import Book, Subscription
from gateway.bus.ledger import Balance
from gateway.bus.simulated_mailbox import SimulatedMailbox
from gateway.bus.simulated_office import SimulatedOffice
from gateway.clock import VirtualClock
from gateway.errors import GatewayError, RecipientGoneError, SimulationError
from gateway.mail.message import Message, reply_to


class Bench:
    """One baton, one office, and the scenes that run in it."""

    def __init__(self) -> None:
        self.baton = Baton(VirtualClock(), Random(0))
        self.office = SimulatedOffice(self.baton, Random(0))
        self.failures: list[BaseException] = []

    def open(self, name: str = "worker", **options: Any) -> SimulatedMailbox:
        box = self.office.open(name, 1, self.office.bind(name, 1), **options)
        assert isinstance(box, SimulatedMailbox)
        return box

    def start(self, scene: Callable[[], object]) -> None:
        def run() -> None:
            try:
                scene()
            except Exception as failure:  # noqa: BLE001 - raised where the test is
                self.failures.append(failure)

        self.baton.thread(run).start()

    def run(self, until: float = inf) -> float:
        self.baton.run(until)
        if self.failures:
            raise self.failures[0]
        return self.baton.clock.now


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.baton.end()
    bench.office.shut()


def letter(number: int, **fields: Any) -> Message:
    return Message(str(number), str(number), 1, 0.0, "main", "worker", "work", number, **fields)


def test_get_waits_for_a_letter_or_its_timeout(bench: Bench) -> None:
    box, got = bench.open(), list[tuple[float, Any]]()

    def read() -> None:
        for timeout in (2.0, 5.0, 0.0, None):
            message = box.get(timeout)
            got.append((bench.baton.clock.now, message and message.body))

    def write() -> None:
        bench.baton.wait(3.0)
        box.deliver(letter(1))
        bench.baton.wait(9.0)
        box.deliver(letter(2))

    bench.start(read)
    bench.start(write)
    bench.run()
    assert got == [(2.0, None), (3.0, 1), (3.0, None), (9.0, 2)]
    assert box.statistics().is_balanced


def test_letters_go_by_priority_where_that_was_asked_for(bench: Bench) -> None:
    box = bench.open(order="priority")
    for number, priority in enumerate((2, 1, 0)):
        box.deliver(letter(number, priority=priority))
    bodies: list[Any] = []
    bench.start(lambda: bodies.extend(message.body for message in iter(lambda: box.get(0.0), None)))
    bench.run()
    assert bodies == [2, 1, 0]


def test_wake_ends_a_get_also_behind_letters_that_are_too_old(bench: Bench) -> None:
    box, got = bench.open(), list[tuple[float, Message | None]]()

    def read() -> None:
        for _ in range(2):
            got.append((bench.baton.clock.now, box.get(60.0)))

    def wake() -> None:
        bench.baton.wait(1.0)
        box.wake()
        bench.baton.wait(2.0)
        box.deliver(letter(1, expiry=0.0))
        box.wake()

    bench.start(read)
    bench.start(wake)
    assert bench.run() == 2.0
    assert got == [(0.0, None), (1.0, None)]
    assert box.statistics().expired == 1


def test_a_letter_that_is_too_old_does_not_end_a_get(bench: Bench) -> None:
    box, got = bench.open(), list[tuple[float, Any]]()

    def read() -> None:
        message = box.get(60.0)
        got.append((bench.baton.clock.now, message and message.body))

    def write() -> None:
        bench.baton.wait(1.0)
        box.deliver(letter(1, expiry=0.0))
        bench.baton.wait(2.0)
        box.deliver(letter(2))

    bench.start(read)
    bench.start(write)
    bench.run()
    assert got == [(2.0, 2)]


def test_a_reader_and_who_waits_for_a_reply_share_one_mailbox(bench: Bench) -> None:
    box, got = bench.open(), list[tuple[str, float, Any]]()
    asked = letter(7)

    def read() -> None:
        while (message := box.get(10.0)) is not None:
            got.append(("get", bench.baton.clock.now, message.body))

    def wait() -> None:
        reply = box.wait_for(asked, 10.0)
        got.append(("wait_for", bench.baton.clock.now, reply.body))

    def write() -> None:
        bench.baton.wait(1.0)
        box.deliver(letter(1))
        bench.baton.wait(2.0)
        box.deliver(reply_to(asked, "9", 0.0, "answer"))
        bench.baton.wait(3.0)
        box.deliver(letter(2))

    for scene in (read, wait, write):
        bench.start(scene)
    assert bench.run() == 13.0
    assert got == [("get", 1.0, 1), ("wait_for", 2.0, "answer"), ("get", 3.0, 2)]


@pytest.mark.parametrize("first", ["read", "wait"])
def test_whoever_leads_the_other_goes_on_when_it_leaves(bench: Bench, first: str) -> None:
    box, ends = bench.open(), dict[str, float]()

    def read() -> None:
        box.get(1.0 if first == "read" else 3.0)
        ends["read"] = bench.baton.clock.now

    def wait() -> None:
        with pytest.raises(GatewayError):
            box.wait_for(letter(7), 3.0 if first == "read" else 1.0)
        ends["wait"] = bench.baton.clock.now

    for scene in (read, wait) if first == "read" else (wait, read):
        bench.start(scene)
    bench.run()
    # A follower who reads gives the leader a moment to look.
    assert ends == pytest.approx(
        {"read": 1.0, "wait": 3.0} if first == "read" else {"read": 3.0, "wait": 1.0}
    )


def test_a_reader_who_gives_up_leaves_the_mail_to_the_next_one(bench: Bench) -> None:
    box, got = bench.open(), list[tuple[float, Any]]()

    def read(timeout: float) -> None:
        message = box.get(timeout)
        got.append((bench.baton.clock.now, message and message.body))

    def write() -> None:
        bench.baton.wait(2.0)
        box.deliver(letter(1))

    for scene in (lambda: read(1.0), lambda: read(60.0), write):
        bench.start(scene)
    bench.run()
    assert got == [(1.0, None), (2.0, 1)]


def test_close_ends_every_wait_and_counts_what_was_left(bench: Bench) -> None:
    box, said = bench.open(size=1), list[str]()

    def wait() -> None:
        with pytest.raises(RecipientGoneError):
            box.wait_for(letter(7), 60.0)
        said.append("wait_for")

    def write() -> None:
        box.deliver(letter(1))
        with pytest.raises(RecipientGoneError):
            box.deliver(letter(2), 60.0)
        said.append("deliver")

    def close() -> None:
        bench.baton.wait(1.0)
        bench.office.close(box)
        assert box.get(5.0) is None

    for scene in (wait, write, close):
        bench.start(scene)
    assert bench.run() == 1.0
    assert sorted(said) == ["deliver", "wait_for"]
    assert box.statistics().lost_with_reader == 1
    assert bench.office.ledger()["worker"].is_balanced


def test_collect_hands_out_what_is_there(bench: Bench) -> None:
    box = bench.open()
    for number in range(3):
        box.deliver(letter(number))
    assert [message.body for message in box.collect()] == [0, 1, 2]


def test_the_digest_tells_orders_and_bodies_apart(bench: Bench) -> None:
    digests = set()
    for numbers in ((1, 2), (2, 1), (1, 3), (1, 2)):
        other = Bench()
        box = other.open()
        for number in numbers:
            box.deliver(letter(number))
            box.collect()
        digests.add(other.office.digest())
        assert other.office.letters_read == 2
    assert len(digests) == 3


def test_nothing_real_is_bound_or_watched(bench: Bench) -> None:
    with pytest.raises(SimulationError, match="real descriptor"):
        bench.open().watch(0, lambda events: None)
    with pytest.raises(SimulationError, match="no socket"):
        bench.office._folder.bind("worker.1.mail")
    bench.office.update(bench.office.book.__class__(5, {"elsewhere": 1}))
    with pytest.raises((SimulationError, GatewayError)):
        bench.office.target("elsewhere").deliver(letter(1), 0.0)


def test_who_writes_to_a_mailbox_that_is_closed_and_still_known_is_told_that_it_is_gone(
    bench: Bench,
) -> None:
    subscriptions = (Subscription("worker", "work", 1),)
    bench.office.update(Book(1, {"main": 1, "worker": 1}, subscriptions))
    main, worker = bench.open("main"), bench.open()
    bench.office.close(worker)

    def write() -> None:
        asked = letter(1, incarnation=1)
        with pytest.raises(RecipientGoneError, match="'worker' is gone: nobody reads its mail"):
            bench.office.target("worker").deliver(asked)
        bench.office.publish(letter(2, kind="publication"))
        with pytest.raises(RecipientGoneError, match="'worker' is gone"):
            bench.office.answer(reply_to(replace(letter(3), sender="worker"), "4", 0.0, None))

    bench.start(write)
    bench.run()
    assert main.statistics().accepted == 0
    assert bench.office.ledger()["worker"] == Balance()
    assert bench.office.statistics()["publications_dropped"] == {"worker": 1}


def test_who_writes_again_and_again_to_who_is_gone_is_found_out() -> None:
    baton = Baton(VirtualClock(), Random(0), at_once=100)
    office = SimulatedOffice(baton, Random(0))
    office.update(Book(1, {"worker": 1}))

    def write() -> None:
        while True:
            with suppress(RecipientGoneError):
                office.target("worker").deliver(letter(1))

    baton.thread(write, name="writer").start()
    with pytest.raises(SimulationError, match=r"time stands still at 0 s: .* by 'writer'"):
        baton.run(inf)
    office.shut()


def test_a_thread_that_the_simulation_does_not_know_may_not_write_to_who_is_gone_either(
    bench: Bench,
) -> None:
    bench.office.update(Book(1, {"worker": 1}))
    target = bench.office.target("worker")
    refused: list[BaseException] = []

    def write() -> None:
        try:
            target.deliver(letter(1))
        except SimulationError as error:
            refused.append(error)

    stranger = Thread(target=write)
    stranger.start()
    stranger.join(10.0)
    assert "does not belong to the simulation and may not write" in str(refused[0])
