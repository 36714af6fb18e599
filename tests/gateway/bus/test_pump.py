"""Publications to a slow subscriber wait in a queue of their own, and lose the oldest."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gateway.bus.ledger import UNSENT, WITHHELD, balance_of_the_dead, empty_row
from gateway.bus.mailbox import Mailbox
from gateway.bus.pump import BOUNCES, DEPTH, Pump
from gateway.bus.wire import INLINE, Outlet
from gateway.errors import BodyError, GatewayError
from gateway.mail.codec import encode
from gateway.mail.message import Message

Make = Callable[..., Message]
Boxes = Callable[..., Mailbox]
Outlets = Callable[..., Outlet]


def drained(box: Mailbox, last: str) -> list[int]:
    found: list[int] = []
    while (message := box.get(5.0)) is not None:
        if message.subject == last:
            return found
        found.append(int(message.subject))
    raise AssertionError(f"{last} never came, after {found[-5:]}")


def test_what_fits_is_sent_at_once_without_a_thread(
    letter: Make, box: Boxes, outlet: Outlets, pump: Pump
) -> None:
    target, out = box(), outlet()
    message = letter("7", kind="publication")
    pump.send(out, message, encode(message))
    assert target.get(0.0).subject == "7"  # type: ignore[union-attr]
    assert not [thread for thread in threading.enumerate() if thread.name == "pump"]


def test_a_slow_subscriber_gets_the_newest_in_order_and_each_loss_is_counted(
    letter: Make, box: Boxes, outlet: Outlets, pump: Pump, until: Any
) -> None:
    count = 2 * DEPTH
    target, out = box(size=2 * count), outlet()
    for number in range(count):
        message = letter(str(number), kind="publication")
        pump.send(out, message, encode(message))
    assert 0 < pump.dropped < count
    lost = pump.dropped
    end = letter("end", kind="publication")
    got: list[int] = []
    reader_done = threading.Event()

    def read() -> None:
        got.extend(drained(target, "end"))
        reader_done.set()

    thread = threading.Thread(target=read)
    thread.start()
    until(lambda: out not in pump._waiting)
    pump.send(out, end, encode(end))
    assert reader_done.wait(10.0)
    thread.join()
    assert len(set(got)) == len(got)
    assert len(got) == count - lost
    assert got[-1] == count - 1
    # What lay in the socket first, then the newest without a gap.
    assert sorted(got) == sorted([*got[:-DEPTH], *range(count - DEPTH, count)])


def test_a_slow_subscriber_holds_up_no_other(
    letter: Make, box: Boxes, outlet: Outlets, pump: Pump
) -> None:
    box("slow")
    quick, slow_out, quick_out = box("quick"), outlet("slow"), outlet("quick")
    for number in range(60):
        message = letter(str(number), kind="publication")
        packed = encode(message)
        for out in (slow_out, quick_out):
            pump.send(out, message, packed)
        assert quick.get(5.0).subject == str(number)  # type: ignore[union-attr]


def test_a_subscriber_that_died_is_counted_and_forgotten(
    letter: Make, box: Boxes, outlet: Outlets, pump: Pump, until: Any
) -> None:
    target, out = box(), outlet()
    sent = 0
    message = letter("1", kind="publication")
    while out not in pump._waiting:
        pump.send(out, message, encode(message))
        sent += 1
    target.close()
    until(lambda: out not in pump._waiting)
    assert pump.dropped >= 1
    before = pump.dropped
    pump.send(out, message, encode(message))
    assert pump.dropped == before + 1
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "pump"])


def test_what_is_too_large_for_anybody_takes_nothing_else_with_it(
    letter: Make, box: Boxes, outlet: Outlets, until: Any
) -> None:
    told: list[tuple[str, type[GatewayError]]] = []
    pump = Pump(lambda message, error: told.append((message.thread_id, type(error))))
    target, out = box(), outlet()
    while not pump.holds(out):
        full = letter("full", kind="publication")
        pump.send(out, full, encode(full))
    for id, subject in (("1", "before"), ("2", "x" * (INLINE + 1)), ("3", "end")):
        message = letter(subject, id=id, kind="publication")
        pump.send(out, message, encode(message))
    found: list[str] = []
    while not found or found[-1] != "end":
        found.append(target.get(5.0).subject)  # type: ignore[union-attr]
    assert "before" in found
    assert told == [("2", BodyError)]
    until(lambda: not pump.holds(out))
    assert (pump.dropped, pump.counts[UNSENT], pump.counts[WITHHELD]) == (1, 1, 0)
    pump.stop()


def test_stop_counts_what_still_waits_and_ends_the_thread(
    letter: Make, box: Boxes, outlet: Outlets, pump: Pump
) -> None:
    box()
    out = outlet()
    message = letter("1", kind="publication")
    while len(pump._waiting.get(out, ())) < 5:
        pump.send(out, message, encode(message))
    pump.stop(20.0)
    assert pump.dropped == 5
    assert not [thread for thread in threading.enumerate() if thread.name == "pump"]


def test_losses_are_counted_by_subscriber(
    letter: Make, box: Boxes, outlet: Outlets, pump: Pump
) -> None:
    outs = {name: (box(name), outlet(name))[1] for name in ("some", "more", "none")}
    message = letter("1", kind="publication")
    packed = encode(message)
    for name, lost in (("some", 3), ("more", 5), ("none", 0)):
        while len(pump._waiting.get(outs[name], ())) < DEPTH:
            pump.send(outs[name], message, packed)
        for _ in range(lost):
            pump.send(outs[name], message, packed)
    assert pump.dropped_by == {"some": 3, "more": 5}
    assert pump.dropped == 8


def test_bounces_wait_apart_from_the_mail_and_come_in_their_order(
    letter: Make, box: Boxes, outlet: Outlets, until: Any
) -> None:
    left: list[str] = []
    pump = Pump(left=lambda bounce: left.append(bounce.subject))
    target, out = box(), outlet()
    for number in range(60):
        message = letter(f"mail {number}", kind="publication")
        pump.send(out, message, encode(message))
    for number in range(60):
        message = letter(f"bounce {number}", kind="bounce")
        pump.send(out, message, encode(message))
    assert pump.holds(out)
    assert 0 < len(left) < 60, "what the socket has room for"
    found = [target.get(5.0).subject for _ in range(120)]  # type: ignore[union-attr]
    for kind in ("mail", "bounce"):
        of_kind = [subject for subject in found if subject.startswith(kind)]
        assert of_kind == [f"{kind} {number}" for number in range(60)]
    until(lambda: len(left) == 60)
    pump.stop()


def test_of_too_many_bounces_the_oldest_are_lost_and_counted(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    lost: list[str] = []
    pump = Pump(left=lambda bounce: lost.append(bounce.subject))
    counts = pump.counts = empty_row()
    box()
    out = outlet()
    sent = 0
    while pump.dropped < 3:
        message = letter(str(sent), kind="bounce")
        pump.send(out, message, encode(message))
        sent += 1
    assert counts[UNSENT] == 3
    assert counts[WITHHELD] == BOUNCES
    in_socket = sent - BOUNCES - 3
    assert lost == [str(number) for number in range(in_socket + 3)]
    pump.stop(0.0)


def test_a_bounce_to_who_is_gone_is_no_loss(letter: Make, box: Boxes, outlet: Outlets) -> None:
    left: list[str] = []
    pump = Pump(left=lambda bounce: left.append(bounce.subject))
    target, out = box(), outlet()
    target.close()
    message = letter("1", kind="bounce")
    pump.send(out, message, encode(message))
    assert left == ["1"]
    assert pump.dropped == 0


def test_who_ends_gives_bounces_a_moment_and_leaves_the_rest_noted(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    left: list[str] = []
    pump = Pump(left=lambda bounce: left.append(bounce.subject))
    target, out = box(), outlet()
    mail, bounces = letter("mail", kind="publication"), []
    while not pump.holds(out):
        pump.send(out, mail, encode(mail))
    for number in range(40):
        bounces.append(letter(str(number), kind="bounce"))
        pump.send(out, bounces[-1], encode(bounces[-1]))
    pump.settle()
    assert pump.dropped == 1
    pump.queue(out, mail, encode(mail))
    assert pump.dropped == 2, "it takes nothing more"
    pump.stop()
    assert left == [str(number) for number in range(len(left))]
    assert len(left) < 40
    assert pump.dropped == 2
    target.close()


def test_what_finds_no_descriptor_waits_and_comes_in_its_order(
    letter: Make,
    box: Boxes,
    outlet: Outlets,
    pump: Pump,
    until: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target, out = box(), outlet()
    tried: list[str] = []
    try_send = Outlet.try_send

    def short(self: Outlet, message: Message, *rest: Any) -> bool:
        tried.append(message.subject)
        if len(tried) <= 5:
            raise OSError(errno.EMFILE, "Too many open files")
        return try_send(self, message, *rest)

    monkeypatch.setattr(Outlet, "try_send", short)
    for number in range(3):
        message = letter(str(number), kind="publication")
        pump.send(out, message, encode(message))
    assert [target.get(5.0).subject for _ in range(3)] == ["0", "1", "2"]  # type: ignore[union-attr]
    until(lambda: not pump.holds(out))
    assert pump.dropped == 0
    assert len(tried) <= 10, "it waits before it tries again"


def test_what_finds_no_thread_waits_for_the_next_that_does(
    letter: Make, box: Boxes, outlet: Outlets, pump: Pump, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, out = box(), outlet()
    start = threading.Thread.start

    def none_left(self: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", start)
        raise RuntimeError("can't start new thread")

    messages = [letter(str(number), kind="publication") for number in range(2)]
    monkeypatch.setattr(threading.Thread, "start", none_left)
    for message in messages:
        pump.queue(out, message, encode(message))
    assert [target.get(5.0).subject for _ in messages] == ["0", "1"]  # type: ignore[union-attr]


def test_whoever_wrote_what_gave_way_is_told(
    letter: Make, box: Boxes, outlet: Outlets, until: Any
) -> None:
    told: list[tuple[str, str]] = []
    pump = Pump(lambda message, error: told.append((message.subject, str(error))))
    target, out = box(), outlet()
    sent = 0
    while not told:
        message = letter(str(sent))
        pump.send(out, message, encode(message))
        sent += 1
    ((first, why),) = told
    assert int(first) == sent - DEPTH - 1, "the oldest of those that wait here"
    assert "gave way" in why
    target.close()
    until(lambda: not pump.holds(out))
    until(lambda: len(told) == DEPTH + 1)
    last, why = told[-1]
    assert last == str(sent - 1)
    assert "'worker' is gone" in why
    pump.stop()
    pump.queue(out, letter("late"), b"")
    assert told[-1] == ("late", "its writer ends")


def test_what_waits_and_what_is_lost_is_counted_for_who_looks_from_outside(
    letter: Make, box: Boxes, outlet: Outlets, pump: Pump, until: Any
) -> None:
    target, out = box(), outlet()
    pump.counts = counts = empty_row()
    while out.try_send(letter(), "mail"):
        pass
    for number in range(DEPTH + 3):
        message = letter(str(number))
        pump.queue(out, message, encode(message))
    assert (counts[UNSENT], counts[WITHHELD]) == (3, DEPTH)
    assert balance_of_the_dead(counts).unsent == DEPTH + 3
    until(lambda: target.get(0.01) is None and not pump.holds(out))
    assert (counts[UNSENT], counts[WITHHELD]) == (3, 0)
    target.close()
    message = letter()
    pump.queue(out, message, encode(message))
    until(lambda: not pump.holds(out))
    assert (counts[UNSENT], counts[WITHHELD]) == (4, 0)
    pump.stop()
    pump.queue(out, message, encode(message))
    assert (counts[UNSENT], counts[WITHHELD]) == (5, 0)
    assert pump.dropped == 5
