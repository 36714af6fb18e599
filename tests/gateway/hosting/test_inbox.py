"""The inbox of a device: bounded, open only while connected, forgetting nothing."""

from __future__ import annotations

import threading

import pytest

from gateway.errors import MailboxFullError, RefusedError
from gateway.hosting.doorbell import Doorbell
from gateway.hosting.inbox import Inbox
from gateway.mail.message import Message


def letter(number: int) -> Message:
    return Message(str(number), str(number), 1, 0.0, "test", "board@fake", "led")


@pytest.fixture
def inbox() -> Inbox:
    inbox = Inbox("board", 2)
    inbox.open()
    return inbox


def test_letters_come_out_in_order(inbox: Inbox) -> None:
    first, second = letter(1), letter(2)
    inbox.post(first)
    inbox.post(second)
    assert [inbox.take(), inbox.take(), inbox.take()] == [first, second, None]


def test_a_shut_inbox_says_why(inbox: Inbox) -> None:
    inbox.shut("the cable was pulled")
    with pytest.raises(RefusedError, match="board is not connected: the cable was pulled"):
        inbox.post(letter(1))
    assert (inbox.accepted, inbox.refused) == (0, 1)


def test_shutting_hands_back_what_waits(inbox: Inbox) -> None:
    waiting = letter(1)
    inbox.post(waiting)
    assert inbox.shut("lost") == [waiting]
    assert inbox.shut("lost") == []
    assert inbox.take() is None


def test_one_more_than_the_limit_is_refused(inbox: Inbox) -> None:
    inbox.post(letter(1))
    inbox.post(letter(2))
    with pytest.raises(MailboxFullError, match="2 commands waiting"):
        inbox.post(letter(3))
    assert (inbox.accepted, inbox.refused, len(inbox)) == (2, 1, 2)


def test_no_letter_slips_between_accepting_and_shutting() -> None:
    inbox = Inbox("board", 1_000_000)
    accepted: list[list[Message]] = [[] for _ in range(3)]
    handed_back: list[Message] = []

    def write(mine: list[Message]) -> None:
        for number in range(3000):
            message = letter(number)
            try:
                inbox.post(message)
            except RefusedError:
                continue
            mine.append(message)

    writers = [threading.Thread(target=write, args=(mine,)) for mine in accepted]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        inbox.open()
        handed_back += inbox.shut("lost")
    assert sorted(id(each) for mine in accepted for each in mine) == sorted(map(id, handed_back))


def test_a_letter_rings_only_who_sleeps(inbox: Inbox) -> None:
    doorbell = Doorbell()
    inbox.attach(doorbell)
    doorbell.wait(0)
    rings: list[int] = []
    ring = doorbell.ring_if_asleep
    doorbell.ring_if_asleep = lambda: rings.append(1) or ring()  # type: ignore[method-assign,func-returns-value]
    inbox.post(letter(1))
    assert not doorbell.asleep
    doorbell.asleep = True
    inbox.post(letter(2))
    assert len(rings) == 2
    assert not doorbell.asleep
    inbox.detach()


def test_waking_a_thread_that_has_ended_does_nothing(inbox: Inbox) -> None:
    inbox.attach(Doorbell())
    inbox.detach()
    inbox.wake()
    inbox.post(letter(1))
    inbox.detach()
