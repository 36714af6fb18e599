"""What a mailbox offers to a reader that must not wait in it."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest

from gateway.bus.mailbox import Mailbox
from gateway.clock import RealClock
from gateway.mail.message import Message, reply_to


def letter(number: int) -> Message:
    return Message(str(number), str(number), 1, 0.0, "a", "b", "s", number)


def is_readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


@pytest.fixture
def box() -> Iterator[Mailbox]:
    made = Mailbox("b", clock=RealClock())
    yield made
    made.close()


def test_an_armed_mailbox_is_readable_when_a_letter_comes_and_not_before(box: Mailbox) -> None:
    mail, _ = box.descriptors()
    assert box.arm()
    assert not is_readable(mail)
    box.deliver(letter(1))
    assert is_readable(mail)
    got = box.get(0)
    assert got is not None
    assert got.body == 1
    assert box.get(0) is None
    assert not is_readable(mail), "looked at, it is quiet again"


def test_what_is_there_already_is_not_waited_for(box: Mailbox) -> None:
    box.deliver(letter(1))
    assert not box.arm()
    box.get(0)
    box.wake()
    assert not box.arm(), "who was woken looks before it sleeps"


def test_a_reply_releases_its_turn_on_whatever_thread_it_comes(box: Mailbox) -> None:
    released = []

    class Turn:
        def release(self) -> None:
            released.append(True)

    call = box.open_call(letter(1), Turn())
    box.deliver(reply_to(letter(1), "2", 0.0, "answer"))
    assert released
    assert call.reply is not None
    assert call.reply.body == "answer"
    box.close_call(call)
    assert box.statistics().is_balanced


def test_looking_for_replies_leaves_an_armed_mailbox_armed(box: Mailbox) -> None:
    mail, _ = box.descriptors()
    assert box.arm()
    box.read_replies()
    box.deliver(letter(1))
    assert is_readable(mail)
