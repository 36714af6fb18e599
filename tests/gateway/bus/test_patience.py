"""Who waits for room elsewhere reads what is for its own OS process meanwhile."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from time import monotonic
from typing import Any

import pytest

from gateway.bus.leading import Standing
from gateway.bus.mailbox import Mailbox
from gateway.bus.patience import Patience
from gateway.bus.wire import Folder, Lane, Outlet
from gateway.errors import MailboxFullError
from gateway.mail.message import Message, reply_to

Make = Callable[..., Message]
Boxes = Callable[..., Mailbox]
Outlets = Callable[..., Outlet]

LANES: dict[Lane, str] = {"mail": "letter", "urgent": "reply"}


@pytest.fixture
def patience(stack: ExitStack) -> Patience:
    made = Patience()
    stack.callback(made.close)
    return made


@pytest.fixture
def full(folder: Folder, box: Boxes, letter: Make, patience: Patience, stack: ExitStack) -> Outlet:
    """Return an outlet to a mailbox that is full, as whoever has ``patience`` writes through."""
    box("full")
    out = Outlet(folder, "full", 1, patience)
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
    letter: Make, box: Boxes, outlet: Outlets, patience: Patience, full: Outlet, run: Any, when: str
) -> None:
    mine = box("main")
    if when == "before":
        patience.add(mine)
    with pytest.raises(MailboxFullError):
        full.deliver(letter(), 0.01)
    if when == "since":
        patience.add(mine)
    asked = letter()
    call = mine.open_call(asked, mine.make_lock())
    # Before it waits, or a machine that stands still has its time pass in between.
    outlet("main").deliver(answer(asked))
    with pytest.raises(MailboxFullError):
        run(lambda: full.deliver(letter(), 0.05)).result()
    assert call.reply is not None, "nobody but the waiting writer could read it"


@pytest.mark.parametrize("in_order", [True, False])
def test_a_box_that_was_closed_is_left_alone(
    letter: Make, box: Boxes, patience: Patience, full: Outlet, in_order: bool
) -> None:
    mine, other = box("main"), box("other")
    for each in (mine, other):
        patience.add(each)
    with pytest.raises(MailboxFullError):
        full.deliver(letter(), 0.01)
    if in_order:
        patience.remove(mine)
    mine.close()
    patience.remove(mine)
    assert patience._read()
    with pytest.raises(MailboxFullError):
        full.deliver(letter(), 0.01)


def test_what_another_thread_is_about_to_read_costs_the_writer_little(
    letter: Make, box: Boxes, outlet: Outlets, patience: Patience, full: Outlet
) -> None:
    mine = box("main")
    patience.add(mine)
    outlet("main").deliver(answer(letter()))
    # As if a leader had been woken for it, and had not come to it yet.
    mine._lead.leader = Standing(reads=False)
    assert not patience._read()
    before = os.times()
    with pytest.raises(MailboxFullError):
        full.deliver(letter(), 0.3)
    after = os.times()
    assert after.user + after.system - before.user - before.system < 0.15, "it spun"
    mine._lead.leader = None
    assert patience._read()
    assert mine.get(0.0) is not None


def test_a_machine_out_of_descriptors_takes_letters_all_the_same(
    letter: Make,
    box: Boxes,
    outlet: Outlets,
    patience: Patience,
    full: Outlet,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = box("main")
    patience.add(mine)
    asked = letter()
    call = mine.open_call(asked, mine.make_lock())
    outlet("main").deliver(answer(asked))

    def none_left() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(select, "epoll", none_left)
    with pytest.raises(MailboxFullError):
        full.deliver(letter(), 0.05)
    assert call.reply is not None


def test_who_waits_for_the_first_time_costs_no_descriptor_more(
    letter: Make, box: Boxes, patience: Patience, full: Outlet
) -> None:
    patience.add(box("main"))
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(MailboxFullError):
        full.deliver(letter(), 0.01)
    assert set(os.listdir("/proc/self/fd")) == before


def test_one_place_is_kept_however_many_sleep_and_is_given_back(
    letter: Make, box: Boxes, folder: Folder, patience: Patience, run: Any
) -> None:
    outlets = [Outlet(folder, name, 1, patience) for name in ("one", "two")]
    for out in outlets:
        box(out.name)
        for lane in LANES:
            fill(out, letter(), lane)
    before = set(os.listdir("/proc/self/fd"))

    def wait(out: Outlet, kind: str, timeout: float) -> None:
        with pytest.raises(MailboxFullError):
            out.deliver(letter(kind=kind), timeout)

    for out in outlets * 2:
        for kind in LANES.values():
            wait(out, kind, 0.01)
    assert len(set(os.listdir("/proc/self/fd")) - before) == 1
    sleepers = [run(partial(wait, out, "letter", 0.3)) for out in outlets]
    for sleeper in sleepers:
        sleeper.result()
    assert len(set(os.listdir("/proc/self/fd")) - before) == 1
    patience.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_room_is_seen_wherever_it_is_wanted_next(
    letter: Make, box: Boxes, folder: Folder, patience: Patience, full: Outlet, run: Any, until: Any
) -> None:
    for name in ("one", "two"):
        target = box(name)
        # Where it was wanted last there is none to the end.
        with pytest.raises(MailboxFullError):
            full.deliver(letter(), 0.01)
        out = Outlet(folder, name, 1, patience)
        fill(out, letter(), "mail")
        waiting = run(partial(out.deliver, letter("last"), 10.0))
        until(lambda: not patience._free)
        while (message := target.get(5.0)) is not None and message.subject != "last":
            pass
        waiting.result()
        assert message is not None


class Interrupted:
    """An epoll; a signal's handler raises as soon as a descriptor was unregistered."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll

    def unregister(self, fd: int) -> None:
        self._epoll.unregister(fd)
        raise TimeoutError("the handler's")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._epoll, name)


def test_what_a_handler_raises_comes_through_and_room_is_seen_afterwards(
    letter: Make, box: Boxes, patience: Patience, full: Outlet, stack: ExitStack
) -> None:
    wanted = full.socket_for("mail")
    patience.sleep(wanted, 0.0)
    (place,) = patience._free
    place.epoll = Interrupted(place.epoll)  # type: ignore[assignment]
    other = box("other")
    out = Outlet(full._folder, "other", 1, patience)
    stack.callback(out.__del__)
    fill(out, letter(), "mail")
    with pytest.raises(TimeoutError, match="the handler's"):
        patience.sleep(out.socket_for("mail"), 5.0)
    while other.get(0.0) is not None:
        pass
    begun = monotonic()
    patience.sleep(out.socket_for("mail"), 5.0)
    assert monotonic() - begun < 2.5
    patience.sleep(wanted, 0.0)


def test_a_socket_that_a_fork_has_open_still_keeps_nobody_awake(
    letter: Make, box: Boxes, folder: Folder, patience: Patience, full: Outlet
) -> None:
    target = box("one")
    out = Outlet(folder, "one", 1, patience)
    fill(out, letter(), "mail")
    with pytest.raises(MailboxFullError):
        out.deliver(letter(), 0.01)
    held = os.dup(out.socket_for("mail").fileno())
    out.__del__()
    target.close()
    before = os.times()
    with pytest.raises(MailboxFullError):
        full.deliver(letter(), 0.3)
    after = os.times()
    os.close(held)
    assert after.user + after.system - before.user - before.system < 0.15, "it spun"


def test_a_child_of_fork_sleeps_in_no_place_of_its_parents(
    letter: Make,
    box: Boxes,
    folder: Folder,
    patience: Patience,
    outlet: Outlets,
    run: Any,
    until: Any,
) -> None:
    mine, one = box("main"), box("one")
    box("two")
    patience.add(mine)
    outlets = [Outlet(folder, name, 1, patience) for name in ("two", "one")]
    for out in outlets:
        fill(out, letter(), "mail")
        with pytest.raises(MailboxFullError):
            out.deliver(letter(), 0.01)
    outlet("main").deliver(answer(letter()))
    pid = os.fork()
    if pid == 0:
        try:
            patience.remove(mine)
            outlets[0].deliver(letter(), 0.05)
        except MailboxFullError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(patience._places()) == 1
    (place,) = patience._places()
    assert mine.urgent_fd in {fd for fd, _ in place.epoll.poll(0)}
    assert mine.get(0.0) is not None, "it is there still"
    waiting = run(lambda: outlets[1].deliver(letter("last"), 10.0))
    while (message := one.get(5.0)) is not None and message.subject != "last":
        pass
    waiting.result()
    assert message is not None
