"""Whoever has a mailbox writes, answers, and handles what comes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from gateway.bus.directory import Book
from gateway.bus.office import Office
from gateway.clock import RealClock
from gateway.errors import AddressError, RecipientGoneError, RefusedError
from gateway.mail.message import Message
from gateway.process.correspondent import STATISTICS, Correspondent
from gateway.process.marks import on

Make = Callable[..., Correspondent]


@pytest.fixture
def correspondent(tmp_path: Path) -> Iterator[Make]:
    """Return a maker of correspondents who share one office."""
    office = Office(tmp_path, clock=RealClock())

    def make(name: str, **options: Any) -> Correspondent:
        box = office.open(name, 1, office.bind(name, 1), **options)
        office.update(Book(office.book.version + 1, {**office.book.incarnations, name: 1}))
        return Correspondent(name, office, box)

    yield make
    office.shut()


def test_a_letter_is_answered_in_its_thread(correspondent: Make) -> None:
    worker, main = correspondent("worker"), correspondent("main")
    worker.add_filter(subject="^ask$", callback=lambda message: worker.reply(message, "fine"))
    asked = main.send("worker", "ask")
    assert worker.mailman() == 1
    answer = main.wait_for_reply(asked, 0.0)
    assert (answer.body, answer.thread_id, answer.thread_index) == ("fine", asked.thread_id, 2)


def test_who_catches_everything_still_tells_its_statistics(correspondent: Make) -> None:
    worker, main = correspondent("worker"), correspondent("main")
    caught: list[Message] = []
    worker.add_filter(callback=caught.append)
    asked = main.send("worker", STATISTICS)
    worker.mailman()
    assert main.wait_for_reply(asked, 0.0).body["mail"]["accepted"] == 1
    assert caught == []


def test_control_mail_is_no_letter_for_who_catches_everything(correspondent: Make) -> None:
    worker, main = correspondent("worker"), correspondent("main")
    caught: list[Message] = []
    worker.add_filter(callback=caught.append)
    main.send_control("worker", "$cancel", "1")
    worker.mailman()
    assert caught == []


def test_what_a_callback_refuses_bounces_and_is_counted(correspondent: Make) -> None:
    worker, main = correspondent("worker"), correspondent("main")

    def refuse(message: Message) -> None:
        raise RefusedError("not on a Sunday")

    worker.add_filter(callback=refuse)
    asked = main.send("worker", "lift")
    worker.mailman()
    with pytest.raises(RefusedError, match="Sunday"):
        main.wait_for_reply(asked, 0.0)
    assert worker.statistics()["refused"] == 1


class Name(StrEnum):
    WORKER = "worker"


@pytest.mark.parametrize(
    ("option", "kind", "why"),
    [
        ({"receipt": 1}, TypeError, "receipt is True or False, not 1"),
        ({"receipt": None}, TypeError, "receipt is True or False, not None"),
        ({"expires_in": 1j}, TypeError, "expires_in is a number of seconds"),
        ({"expires_in": "5"}, TypeError, "expires_in is a number of seconds"),
        ({"expires_in": float("nan")}, ValueError, "expires_in is a number of seconds that end"),
        ({"expires_in": float("inf")}, ValueError, "expires_in is a number of seconds that end"),
        ({"thread": 5}, TypeError, "continued by a letter of it, not 5"),
        ({"recipient": 5}, AddressError, "an address is text"),
        ({"recipient": Name.WORKER}, AddressError, "an address is text"),
    ],
)
def test_what_a_reader_elsewhere_could_not_read_is_refused_whoever_reads(
    correspondent: Make, option: dict[str, Any], kind: type[Exception], why: str
) -> None:
    worker, main = correspondent("worker"), correspondent("main")
    worker.add_filter(callback=lambda message: None)
    with pytest.raises(kind, match=why):
        main.send(**{"recipient": "worker", "subject": "lift", **option})
    assert worker.mailman() == 0
    main.send("worker", "lift", receipt=True, expires_in=5)
    assert worker.mailman() == 1


def test_who_is_told_that_the_recipient_is_dead_keeps_no_way_to_it(
    correspondent: Make, tmp_path: Path, cycle_free: Any
) -> None:
    main, elsewhere = correspondent("main"), Office(tmp_path, clock=RealClock())
    worker = elsewhere.open("worker", 1, elsewhere.bind("worker", 1))
    main._office.update(Book(main._office.book.version + 1, {"main": 1, "worker": 1}))
    main.send("worker", "ask")
    elsewhere.close(worker)
    with cycle_free(), contextlib.suppress(RecipientGoneError):
        main.send("worker", "ask")
    elsewhere.shut()


def test_who_is_sent_to_twice_takes_no_more_than_its_time(
    correspondent: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = correspondent("main")
    now, left = [100.0], list[float]()

    class Life:
        def __init__(self, incarnation: int) -> None:
            self.incarnation = incarnation

        def deliver(self, message: Message, timeout: float) -> None:
            left.append(timeout)
            now[0] += 1.5
            if self.incarnation == 1:
                raise RecipientGoneError("'worker' is gone")

    monkeypatch.setattr(main, "_time", lambda: now[0])
    monkeypatch.setattr(main._office, "target", lambda _: Life(1))
    monkeypatch.setattr(main._office, "look_up_again", lambda _: Life(2))
    assert main.send("worker", "ask", timeout=2.0).incarnation == 2
    assert main.send("worker", "ask", timeout=1.0).incarnation == 2
    assert left == [2.0, 0.5, 1.0, 0.0]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"id": 5}, "the id of a filter is text, not 5"),
        ({"route": 5}, "the route of a filter is text, not 5"),
        ({"route": b"serial"}, "the route of a filter is text, not b'serial'"),
    ],
)
def test_a_filters_words_are_text(correspondent: Make, given: dict[str, Any], match: str) -> None:
    worker = correspondent("worker")
    with pytest.raises(TypeError, match=match):
        worker.add_filter(callback=print, **given)
    with pytest.raises(TypeError, match=match):
        on(**given)
    assert not list(worker.list_filters())
