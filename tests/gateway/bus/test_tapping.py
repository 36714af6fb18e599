"""Copies of the mail, and that an office without a tap is a plain one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway.bus.directory import Book
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.bus.tapping import NOTICE, Tap, TappedOffice, bare, follow
from gateway.errors import AddressError, GatewayError, MailboxFullError, RecipientGoneError
from gateway.mail.message import Message, bounce_of

Offices = Callable[..., tuple[Office, Office]]
MakeLetter = Callable[..., Message]


def tell(office: Office, **taps: Tap) -> None:
    """Hand the office a newer book with these taps, as the boss does."""
    old = office.book
    notices = {NOTICE: msgspec.to_builtins(taps)} if taps else {}
    office.update(Book(old.version + 1, old.incarnations, old.subscriptions, notices=notices))
    follow(office)


def send(office: Office, message: Message) -> None:
    office.target(message.recipient).deliver(message, 0.0)


def contents(box: Mailbox) -> list[dict[str, Any]]:
    return [message.body for message in iter(lambda: box.get(0.5), None)]


def box_of(office: Office, name: str) -> Mailbox:
    return office._boxes[name]


@pytest.mark.parametrize("home", [0, 1])
def test_each_letter_is_copied_and_still_arrives(
    offices: Offices, letter: MakeLetter, home: int
) -> None:
    here, there = offices(worker=0, watcher=home)
    tell(here, t=Tap("watcher"))
    sent = letter("drive", body={"left": 1}, receipt=True)
    send(here, sent)
    assert box_of(here, "worker").get(0.5) == sent
    (copy,) = contents(box_of((here, there)[home], "watcher"))
    assert (copy["kind"], copy["sender"], copy["recipient"]) == ("letter", "main", "worker")
    assert (copy["subject"], copy["body"]) == ("drive", {"left": 1})
    assert copy["thread_id"] == sent.thread_id


def test_answers_and_publications_are_copied_and_control_is_not(
    offices: Offices, letter: MakeLetter
) -> None:
    here, _ = offices(main=0, worker=0, watcher=0)
    tell(here, t=Tap("watcher"))
    asked = letter(sender_incarnation=1)
    here.answer(bounce_of(asked, "b", 0.0, GatewayError("no")))
    here.publish(letter("devices/a", kind="publication", recipient="", body=7))
    here.target("worker").deliver(letter("book", kind="control"))
    copies = contents(box_of(here, "watcher"))
    assert [copy["kind"] for copy in copies] == ["bounce", "publication"]
    assert copies[0]["in_reply_to"] == asked.message_id


def test_a_letter_that_fails_is_shown_with_its_error(offices: Offices, letter: MakeLetter) -> None:
    here, _ = offices(watcher=0)
    here.update(Book(2, {"watcher": 1, "tiny": 1}))
    here.open("tiny", 1, here.bind("tiny", 1), size=1)
    tell(here, t=Tap("watcher"))
    send(here, letter(recipient="tiny"))
    with pytest.raises(MailboxFullError):
        send(here, letter(recipient="tiny"))
    with pytest.raises(AddressError):
        here.target("nobody")
    copies = contents(box_of(here, "watcher"))
    assert [copy.get("error", {}).get("code") for copy in copies] == [None, None, "mailbox_full"]


@pytest.mark.parametrize(
    ("tap", "seen"),
    [
        (Tap("watcher", sender="ma*"), ["a", "b", "t/x"]),
        (Tap("watcher", sender="other"), []),
        (Tap("watcher", recipient="worker"), ["a"]),
        (Tap("watcher", subject="[bt]*"), ["b", "t/x"]),
        (Tap("watcher", kinds=("publication",)), ["t/x"]),
    ],
)
def test_only_what_is_asked_for_is_copied(
    offices: Offices, letter: MakeLetter, tap: Tap, seen: list[str]
) -> None:
    here, _ = offices(worker=0, second=0, watcher=0)
    tell(here, t=tap)
    send(here, letter("a"))
    send(here, letter("b", recipient="second"))
    here.publish(letter("t/x", kind="publication", recipient=""))
    assert [copy["subject"] for copy in contents(box_of(here, "watcher"))] == seen


def test_without_a_tap_an_office_is_a_plain_one_again(offices: Offices, letter: MakeLetter) -> None:
    here, _ = offices(worker=0, watcher=0)
    plain = here.target("worker")
    tell(here, t=Tap("watcher"))
    assert type(here) is TappedOffice
    assert bare(here.target("worker")) is plain
    tell(here)
    assert type(here) is Office
    assert here.target("worker") is plain
    send(here, letter())
    assert contents(box_of(here, "watcher")) == []
    # And once more, the numbers beginning anew.
    tell(here, t=Tap("watcher"))
    send(here, letter())
    copy = box_of(here, "watcher").get(0.5)
    assert copy is not None
    assert copy.thread_index == 1


def test_a_tap_whose_mailbox_is_gone_is_none(offices: Offices, letter: MakeLetter) -> None:
    here, _ = offices(worker=0, watcher=0)
    tell(here, t=Tap("nobody"))
    assert type(here) is Office
    tell(here, t=Tap("watcher"))
    here.close(box_of(here, "watcher"))
    # The book has not said so yet.
    send(here, letter())
    assert box_of(here, "worker").get(0.5) is not None


def test_a_reader_that_is_stuck_holds_up_nobody_and_misses_by_number(
    offices: Offices, letter: MakeLetter, until: Callable[..., None]
) -> None:
    here, there = offices(worker=0, watcher=1)
    tell(here, t=Tap("watcher"))
    worker, watcher = box_of(here, "worker"), box_of(there, "watcher")
    for number in range(2000):
        send(here, letter("flood", body=number))
        assert worker.get(0.5) is not None
    # Only now does it read: the newest came through, and the numbers tell the rest.
    numbers: list[int] = []

    def read() -> bool:
        while (copy := watcher.get(0.0)) is not None:
            assert copy.body["body"] == copy.thread_index - 1
            numbers.append(copy.thread_index)
        return bool(numbers) and numbers[-1] == 2000

    until(read)
    assert numbers == sorted(numbers)
    assert len(numbers) < 2000


def test_text_that_is_no_unicode_harms_nobody(offices: Offices, letter: MakeLetter) -> None:
    here, _ = offices(worker=0, watcher=1)
    tell(here, t=Tap("watcher"))
    send(here, letter("\ud800", body="\ud800", sender="\ud800"))
    assert box_of(here, "worker").get(0.5) is not None


def test_a_recipient_that_was_restarted_is_still_found(
    offices: Offices, letter: MakeLetter
) -> None:
    here, _ = offices(worker=0, watcher=0)
    tell(here, t=Tap("watcher"))
    here.close(box_of(here, "worker"))
    with pytest.raises(RecipientGoneError):
        send(here, letter(incarnation=1))
    here.update(Book(9, {"worker": 2, "watcher": 1}, (), notices=here.book.notices))
    follow(here)
    here.open("worker", 2, here.bind("worker", 2))
    assert here.look_up_again("worker").incarnation == 2


@pytest.mark.parametrize(
    ("topic", "is_shown"), [("tail/1", False), ("log/serial", False), ("tailor/1", True)]
)
def test_what_tells_of_the_mail_is_not_copied_again(
    offices: Offices, letter: MakeLetter, topic: str, is_shown: bool
) -> None:
    here, _ = offices(worker=0, watcher=0)
    tell(here, t=Tap("watcher"))
    here.publish(letter(topic, kind="publication"))
    # A letter may be about whatever it likes.
    send(here, letter(topic))
    kinds = [copy["kind"] for copy in contents(box_of(here, "watcher"))]
    assert kinds == (["publication", "letter"] if is_shown else ["letter"])
