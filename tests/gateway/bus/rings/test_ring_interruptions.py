"""Whatever is interrupted, by a signal's handler or a fork, costs no letter and holds nobody up."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import signal
import threading
from time import monotonic
from typing import Any

import pytest

from gateway.bus import ring as module
from gateway.bus import ring_outlet
from gateway.bus.ledger import empty_row
from gateway.bus.mailbox import Mailbox
from gateway.bus.patience import Patience
from gateway.bus.ring import SLOTS
from gateway.bus.ring_outlet import RingOutlet
from gateway.bus.rings import Rings
from gateway.errors import MailboxFullError, RecipientGoneError
from gateway.mail.codec import encode, encode_into
from gateway.mail.message import Message
from tests.gateway.bus.rings.ends import (
    ANOTHER,
    Boxes,
    Flowing,
    Make,
    Outlets,
    drained,
    filled,
    received,
)


class Struck(BaseException):
    """What a signal's handler raises."""


def interrupt(*_: Any) -> Any:
    raise KeyboardInterrupt


def test_a_bell_that_an_interruption_kept_from_ringing_rings_with_the_next_letter(
    letter: Make,
    target: Mailbox,
    outlet: Outlets,
    flowing: Flowing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = outlet()
    flowing(out, target)
    assert target.get(0.05) is None

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RingOutlet, "_tell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        out.deliver(letter(body="interrupted"))
    monkeypatch.undo()
    assert target.get(0.05) is None
    out.deliver(letter(body="next"))
    assert drained(target, 0.05)[-1] == "next"


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interruption_at_the_first_bell_costs_no_letter(
    letter: Make,
    target: Mailbox,
    outlet: Outlets,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    out = outlet()
    count = filled(out, letter)
    tell, first = RingOutlet._tell, when == "after"

    def interrupted(self: RingOutlet, *arguments: Any) -> None:
        if first:
            # There is room for the bell.
            next(iter(target._inlets.values())).read()
            tell(self, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(RingOutlet, "_tell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        out.deliver(letter(body="interrupted"))
    monkeypatch.undo()
    writer = run(lambda: out.deliver(letter(body="next")))
    got = received(target, count + 2 - first)
    writer.result()
    assert got == [*range(first, count), "interrupted", "next"]


def test_a_letter_that_was_interrupted_as_it_was_packed_hides_none(
    letter: Make, box: Boxes, rings: Rings, outlet: Outlets, run: Any, until: Any
) -> None:
    target = box(rings=rings, size=3)
    out = outlet()
    count = filled(out, letter)
    writer = run(lambda: out.deliver(letter(body="opens")))
    until(lambda: out._ring is not None)
    got = received(target, 1)
    writer.result()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring_outlet, "encode_into", interrupt)
        with pytest.raises(KeyboardInterrupt):
            out.deliver(letter(body="interrupted"))
    out.deliver(letter(body="next"))
    got += received(target, count + 1)
    out.deliver(letter(body="after"))
    got += received(target, 1)
    assert got == [*range(count), "opens", "next", "after"]


# What strikes in a finalizer Python itself swallows.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", [Struck, TimeoutError, MailboxFullError])
def test_interruptions_cost_neither_letters_nor_turns(
    letter: Make,
    target: Mailbox,
    outlet: Outlets,
    flowing: Flowing,
    run: Any,
    kind: type[BaseException],
) -> None:
    """Real signals, at any moment, whose handler raises as Ctrl-C does."""
    out = outlet()
    flowing(out, target)
    ended, chance = threading.Event(), random.Random(1)
    got: list[int] = []
    accepted: list[int] = []
    numbers = itertools.count()

    def read() -> None:
        while not ended.is_set():
            message = target.get(0.05)
            if message is not None:
                got.append(message.body)

    def write() -> None:
        end = monotonic() + 1.0
        while monotonic() < end:
            number = next(numbers)
            out.deliver(letter(body=number), 10.0)
            accepted.append(number)

    def handler(*_: Any) -> None:
        raise kind

    reader = run(read)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        for _ in range(200):
            with contextlib.suppress(kind):
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.002))
                write()
            assert out._holder == 0
        signal.setitimer(signal.ITIMER_REAL, 0)
        last = next(numbers)
        out.deliver(letter(body=last), 10.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        ended.set()
        reader.result()
    got += drained(target, 0.05)
    assert got == sorted(set(got))
    assert set(accepted) <= set(got)
    assert got[-1] == last


def struck(out: RingOutlet, message: Message, kind: type[BaseException]) -> None:
    """Have a handler raise after a letter was put in, and before its bell."""

    def raises(*_: Any) -> None:
        raise kind

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RingOutlet, "_tell", raises)
        with pytest.raises(kind):
            out.deliver(message)


def test_a_bell_that_is_owed_is_rung_however_often_that_fails(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out, other = outlet(), outlet()
    flowing(out, target)
    assert drained(target, 0.05) == []
    struck(out, letter(body="owed"), KeyboardInterrupt)
    count = filled(other, letter)
    for body in ("small", "x" * 3000):
        with pytest.raises(MailboxFullError):
            out.deliver(letter(body=body), 0.01)
    assert drained(target, 0.05) == list(range(count))
    out.deliver(letter(body="next"))
    assert out._ring is not None
    assert not out._ring.owes
    assert drained(target, 0.05) == ["owed", "next"]


def test_a_bell_that_is_owed_to_nobody_is_told_as_that(
    letter: Make,
    target: Mailbox,
    outlet: Outlets,
    flowing: Flowing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = outlet()
    flowing(out, target)
    struck(out, letter(body="owed"), KeyboardInterrupt)

    def refused(*_: Any) -> bool:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody is there")

    monkeypatch.setattr(RingOutlet, "_send_bell", refused)
    with pytest.raises(RecipientGoneError):
        out.deliver(letter(body="next"))
    assert out._ring is None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, TimeoutError, MailboxFullError])
def test_a_large_letter_rings_for_what_was_interrupted(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing, run: Any, kind: Any
) -> None:
    out = outlet()
    flowing(out, target)
    assert drained(target, 0.05) == []
    struck(out, letter(body="owed"), kind)
    writer = run(lambda: out.deliver(letter(body="x" * 3000)))
    assert received(target, 2) == ["owed", "x" * 3000]
    writer.result()


def test_an_interruption_in_anothers_ring_is_made_up_for(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    assert drained(target, 0.05) == []
    message = letter(body="interrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RingOutlet, "_tell", interrupt)
        with pytest.raises(KeyboardInterrupt):
            # As of one that found the socket full as another thread borrowed the ring.
            out._wait_for_room(message, 5.0, encode(message))
    out.deliver(letter(body="next"))
    assert drained(target, 0.05) == ["interrupted", "next"]


def test_a_bell_that_is_owed_to_a_reader_that_is_gone_is_told_as_that(
    letter: Make, box: Boxes, rings: Rings, outlet: Outlets, flowing: Flowing
) -> None:
    target, out = box(rings=rings), outlet()
    flowing(out, target)
    struck(out, letter(body="owed"), KeyboardInterrupt)
    left = target.close()
    with pytest.raises(RecipientGoneError):
        out.deliver(letter(body="next"), 0.5)
    assert [each.body for each in left] == ["owed"]
    assert out._ring is None


def test_what_a_handler_raises_while_its_thread_waits_comes_through(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing, run: Any, until: Any
) -> None:
    out = outlet()
    flowing(out, target)
    for number in range(SLOTS):
        out.deliver(letter(body=number))

    def handler(*_: Any) -> None:
        raise TimeoutError("the handler's")

    def strike() -> None:
        until(lambda: out._ring is not None and out._ring._words[module._WANTED])
        os.kill(os.getpid(), signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        striker = run(strike)
        with pytest.raises(TimeoutError, match="the handler's"):
            out.deliver(letter(body="too much"), 10.0)
        striker.result()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_what_a_handler_raises_comes_through_although_the_letter_was_taken(
    letter: Make,
    target: Mailbox,
    outlet: Outlets,
    flowing: Flowing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, other = outlet(), outlet()
    flowing(out, target)
    filled(other, letter)
    assert out._ring is not None
    reader = out._rings.ring_for(out._ring.number, "worker.1")
    assert reader is not None

    def taken_then_struck(*_: Any) -> None:
        # Its reader looks once more, without the bell.
        counts = empty_row()
        assert reader.take([], counts, 0, SLOTS) == 1
        raise TimeoutError("the handler's")

    monkeypatch.setattr(Patience, "sleep", taken_then_struck)
    with pytest.raises(TimeoutError, match="the handler's"):
        out.deliver(letter(body="taken"))


def test_what_a_handler_raises_as_the_bell_is_sent_comes_through(
    letter: Make,
    target: Mailbox,
    outlet: Outlets,
    flowing: Flowing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = outlet()
    flowing(out, target)
    way = out.socket_for("mail")

    class Way:
        def send(self, bell: bytes) -> int:
            way.send(bell)
            assert drained(target, 0.05) == ["taken"]
            raise TimeoutError("the handler's")

    monkeypatch.setattr(RingOutlet, "socket_for", lambda self, lane: Way())
    with pytest.raises(TimeoutError, match="the handler's"):
        out.deliver(letter(body="taken"))


def test_a_signals_handler_may_write_while_its_thread_packs_a_letter(
    letter: Make,
    target: Mailbox,
    outlet: Outlets,
    flowing: Flowing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = outlet()
    flowing(out, target)

    def struck(message: Message, packed: bytearray) -> None:
        encode_into(message, packed)
        if message.body == "main":
            # As a handler would, when the letter is packed and not yet in the ring.
            out.deliver(letter(body="handler"), 0.0)

    monkeypatch.setattr(ring_outlet, "encode_into", struck)
    out.deliver(letter(body="main"))
    assert sorted(drained(target, 0.05)) == ["handler", "main"]


def test_a_child_of_fork_writes_although_another_thread_had_the_turn(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    out._holder = ANOTHER
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            out.deliver(letter(body="child"), 1.0)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert drained(target, 0.05) == ["child"]


def test_threads_of_a_fork_leave_the_turn_to_each_other(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            # As if a ring had been borrowed here, and another thread were at it.
            out._ring, out._holder = out._rings.borrow("other.1"), ANOTHER
            with pytest.raises(MailboxFullError):
                out.deliver(letter(body="child"), 0.05)
            status = out._holder != ANOTHER
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_signals_handler_may_write_while_its_thread_waits_in_a_ring(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing, run: Any, until: Any
) -> None:
    out = outlet()
    flowing(out, target)
    for number in range(SLOTS):
        out.deliver(letter(body=number))
    done: list[float] = []

    def handler(*_: Any) -> None:
        began = monotonic()
        out.deliver(letter(body="handler"), 5.0)
        done.append(monotonic() - began)

    def strike() -> None:
        until(lambda: out._ring is not None and out._ring._words[module._WANTED])
        os.kill(os.getpid(), signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        striker = run(strike)
        with pytest.raises(MailboxFullError):
            out.deliver(letter(body="too much"), 2.0)
        striker.result()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert done
    assert done[0] < 1.5
    assert sorted(map(str, drained(target, 0.05))) == sorted(["handler", *map(str, range(SLOTS))])


def test_a_child_of_fork_writes_by_the_socket(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    out.deliver(letter(body="parent"))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            out.deliver(letter(body="child"), 1.0)
            status = 0 if out._ring is None else 3
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    out.deliver(letter(body="parent again"))
    assert sorted(drained(target, 0.05)) == ["child", "parent", "parent again"]


def test_an_error_is_no_cycle_that_keeps_what_it_came_through(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing, cycle_free: Any
) -> None:
    out = outlet()
    flowing(out, target)
    for number in range(SLOTS):
        out.deliver(letter(body=number))
    message = letter(body="too much")
    with cycle_free(), contextlib.suppress(MailboxFullError):
        out.deliver(message, 0.01)
