"""Who waits for room elsewhere reads what is for its own OS process meanwhile."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from gateway.bus.mailbox import Mailbox
from gateway.bus.unread import Unread
from gateway.bus.wire import Folder, Lane, Outlet
from gateway.errors import MailboxFullError
from gateway.mail.message import Message, reply_to

Make = Callable[..., Message]
Boxes = Callable[..., Mailbox]
Outlets = Callable[..., Outlet]

LANES: dict[Lane, str] = {"mail": "letter", "urgent": "reply"}


@pytest.fixture
def unread(stack: ExitStack) -> Unread:
    made = Unread()
    stack.callback(made.close)
    return made


@pytest.fixture
def full(folder: Folder, box: Boxes, letter: Make, unread: Unread, stack: ExitStack) -> Outlet:
    """Return an outlet to a mailbox that is full, as whoever has ``unread`` writes through."""
    box("full")
    out = Outlet(folder, "full", 1, unread)
    # pytest holds it until its own end.
    stack.callback(out.__del__)
    fill(out, letter(), "mail")
    return out


def fill(out: Outlet, message: Message, lane: Lane) -> None:
    while out.try_send(message, lane):
        pass


def answer(message: Message) -> Message:
    return reply_to(message, f"re-{message.message_id}", 0.0, "answer")


@pytest.mark.parametrize("when", ["before", "since"])
def test_replies_come_through_to_boxes_that_were_there_before_the_first_wait_and_since(
    letter: Make, box: Boxes, outlet: Outlets, unread: Unread, full: Outlet, run: Any, when: str
) -> None:
    mine = box("main")
    if when == "before":
        unread.add(mine)
    with pytest.raises(MailboxFullError):
        full.deliver(letter(), 0.01)
    if when == "since":
        unread.add(mine)
    asked = letter()
    call = mine.open_call(asked, mine.make_lock())
    waiting = run(lambda: full.deliver(letter(), 0.3))
    outlet("main").deliver(answer(asked))
    with pytest.raises(MailboxFullError):
        waiting.result()
    assert call.reply is not None, "nobody but the waiting writer could read it"


@pytest.mark.parametrize("in_order", [True, False])
def test_a_box_that_was_closed_is_left_alone(
    letter: Make, box: Boxes, unread: Unread, full: Outlet, in_order: bool
) -> None:
    mine, other = box("main"), box("other")
    for each in (mine, other):
        unread.add(each)
    with pytest.raises(MailboxFullError):
        full.deliver(letter(), 0.01)
    if in_order:
        unread.remove(mine)
    mine.close()
    unread.remove(mine)
    assert unread.read()
    with pytest.raises(MailboxFullError):
        full.deliver(letter(), 0.01)


def test_what_another_thread_is_about_to_read_costs_the_writer_little(
    letter: Make, box: Boxes, outlet: Outlets, unread: Unread, full: Outlet
) -> None:
    mine = box("main")
    unread.add(mine)
    outlet("main").deliver(answer(letter()))
    # As if a leader had been woken for it, and had not come to it yet.
    mine._lead.held = True
    assert not unread.read()
    before = os.times()
    with pytest.raises(MailboxFullError):
        full.deliver(letter(), 0.3)
    after = os.times()
    assert after.user + after.system - before.user - before.system < 0.15, "it spun"
    mine._lead.held = False
    assert unread.read()
    assert mine.get(0.0) is not None


def test_a_machine_out_of_descriptors_takes_letters_all_the_same(
    letter: Make,
    box: Boxes,
    outlet: Outlets,
    unread: Unread,
    full: Outlet,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = box("main")
    unread.add(mine)
    asked = letter()
    call = mine.open_call(asked, mine.make_lock())
    outlet("main").deliver(answer(asked))

    def none_left() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(select, "epoll", none_left)
    with pytest.raises(MailboxFullError):
        full.deliver(letter(), 0.05)
    assert call.reply is not None


def test_an_outlet_gives_back_what_it_waited_with(
    letter: Make, box: Boxes, folder: Folder, unread: Unread
) -> None:
    box("full")
    unread.add(box("main"))
    unread.fileno()
    before = set(os.listdir("/proc/self/fd"))
    out = Outlet(folder, "full", 1, unread)
    for lane, kind in LANES.items():
        fill(out, letter(), lane)
        with pytest.raises(MailboxFullError):
            out.deliver(letter(kind=kind), 0.01)
    assert len(set(os.listdir("/proc/self/fd"))) == len(before) + 4
    del out
    assert set(os.listdir("/proc/self/fd")) == before
