"""Letters to a mailbox that go by its socket and by rings, as it comes."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import select
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from gateway.bus import intake, mailbox, ring_outlet
from gateway.bus import ring as module
from gateway.bus.directory import Book
from gateway.bus.ledger import SharedLedgers, empty_row
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.bus.patience import Patience
from gateway.bus.ring import SLOTS, RingWriter
from gateway.bus.ring_outlet import RingOutlet
from gateway.bus.rings import RINGS, Rings
from gateway.bus.wire import ANNOUNCEMENT, BELL, Folder, Outlet, socket_name
from gateway.clock import RealClock
from gateway.errors import BodyError, MailboxFullError, RecipientGoneError
from gateway.mail.codec import encode
from gateway.mail.message import Message

ANOTHER = -1
"""A thread that is none of ours."""


class Struck(BaseException):
    """What a signal's handler raises."""


Make = Callable[..., Message]
Boxes = Callable[..., Mailbox]
Outlets = Callable[..., RingOutlet]


@pytest.fixture
def target(box: Boxes, rings: Rings) -> Mailbox:
    """A mailbox that nobody reads yet."""
    return box(rings=rings)


@pytest.fixture
def outlet(folder: Folder, rings: Rings, stack: ExitStack) -> Outlets:
    patience = Patience()
    stack.callback(patience.close)

    def make(name: str = "worker", incarnation: int = 1) -> RingOutlet:
        return RingOutlet(folder, name, incarnation, rings, patience)

    return make


Flowing = Callable[[RingOutlet, Mailbox], int]


@pytest.fixture
def flowing(letter: Make, run: Any, until: Any) -> Flowing:
    """Return a way to have letters go by a ring; it returns how many were written, and read."""

    def make(out: RingOutlet, target: Mailbox) -> int:
        count = filled(out, letter)
        writer = run(lambda: out.deliver(letter(body=count)))
        until(lambda: out._ring is not None)
        got = drained(target, 0.05)
        writer.result()
        got += drained(target, 0.05)
        assert got == list(range(count + 1))
        return count + 1

    return make


def drained(target: Mailbox, timeout: float = 0.0) -> list[Any]:
    """Return the bodies of what comes until nothing has come for ``timeout`` seconds."""
    return [letter.body for letter in iter(lambda: target.get(timeout), None)]


def received(target: Mailbox, many: int) -> list[Any]:
    """Return the bodies of the next ``many`` letters."""
    found = [target.get(10.0) for _ in range(many)]
    return [letter and letter.body for letter in found]


def interrupt(*_: Any) -> Any:
    raise KeyboardInterrupt


def filled(out: RingOutlet, letter: Make) -> int:
    """Fill the socket, and no more; return how many letters that took."""
    count = 0
    while out.try_send(letter(body=count), "mail"):
        count += 1
    return count


def deliver_many(out: RingOutlet, letter: Make, many: int) -> None:
    for number in range(many):
        out.deliver(letter(body=number), 30.0)


SIZES = [0, 100, 100, 100, 700, 1100, 70_000]


@pytest.mark.parametrize("mode", ["fifo", "small"])
def test_letters_of_every_size_come_once_and_in_order(
    letter: Make, box: Boxes, outlet: Outlets, rings: Rings, run: Any, mode: str
) -> None:
    target = box(rings=rings, size=8 if mode == "small" else 256)
    out, many = outlet(), 4000
    chance = random.Random(4)

    def write() -> None:
        for number in range(many):
            size = chance.choice(SIZES[:6]) if chance.random() < 0.998 else SIZES[6]
            body: Any = [number, "x" * size]
            out.deliver(letter(body=body), 30.0)

    writer = run(write)
    pause = threading.Event()
    got: list[Any] = []
    while len(got) < many:
        message = target.get(10.0)
        assert message is not None, f"nothing after {len(got)} letters"
        got.append(message.body[0])
        if chance.random() < 0.002:
            pause.wait(0.003)
    writer.result(30.0)
    assert got == list(range(many))
    assert target.get() is None
    assert target.statistics().accepted == target.statistics().delivered == many


def test_bytes_come_in_their_turn_however_large(
    letter: Make, target: Mailbox, outlet: Outlets, run: Any, flowing: Flowing
) -> None:
    out = outlet()
    count = flowing(out, target)
    bodies = [b"a", b"b" * 100_000, b"c", b"d" * 2000, b"e"]

    def write() -> None:
        for body in bodies:
            out.deliver(letter(body=body), 10.0)

    writer = run(write)
    assert [target.get(10.0).body for _ in bodies] == bodies  # type: ignore[union-attr]
    writer.result()
    assert target.statistics().delivered == count + len(bodies)


def test_what_holds_no_unicode_is_refused_and_the_next_letter_goes(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    with pytest.raises(BodyError, match="no Unicode"):
        out.deliver(letter(body="\ud800"))
    out.deliver(letter(body="fine"))
    assert drained(target, 0.05) == ["fine"]


def test_several_threads_share_a_ring(
    letter: Make, target: Mailbox, outlet: Outlets, run: Any
) -> None:
    out, threads, many = outlet(), 4, 1500

    def write(who: int) -> None:
        for number in range(many):
            out.deliver(letter(body=[who, number]), 30.0)

    writers = [run(lambda who=who: write(who)) for who in range(threads)]
    got = [target.get(10.0) for _ in range(threads * many)]
    for writer in writers:
        writer.result()
    for who in range(threads):
        assert [m.body[1] for m in got if m and m.body[0] == who] == list(range(many))


def test_a_thread_that_wrote_to_the_socket_meanwhile_keeps_its_order(
    letter: Make,
    box: Boxes,
    outlet: Outlets,
    rings: Rings,
    run: Any,
    until: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = box(rings=rings, size=2)
    out = outlet()
    count = filled(out, letter)
    checked, opened = threading.Event(), threading.Event()
    whole_way = Outlet.deliver

    def deliver(self: Outlet, message: Message, timeout: float = 5.0) -> None:
        if message.body == "first":
            checked.set()
            assert opened.wait(10.0)
        whole_way(self, message, timeout)

    monkeypatch.setattr(Outlet, "deliver", deliver)

    seen: list[bool] = []

    def two() -> None:
        out.deliver(letter(body="first"))
        seen.append(out._is_mixed)
        out.deliver(letter(body="second"))
        seen.append(out._ring is None)

    slow = run(two)
    assert checked.wait(10.0)
    quick = run(lambda: out.deliver(letter(body="opens")))
    until(lambda: out._ring is not None)
    got = [target.get(1.0).body for _ in range(count)]  # type: ignore[union-attr]
    quick.result()
    opened.set()
    got += drained(target, 0.1)
    slow.result()
    assert got[:count] == list(range(count))
    assert sorted(got[count:]) == ["first", "opens", "second"]
    assert got.index("first") < got.index("second")
    assert seen == [True, True], "the second one went by the socket as well"


def test_whoever_wrote_to_the_socket_meanwhile_has_the_ring_given_back(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    out._is_mixed = True
    out.deliver(letter(body="by the socket"))
    assert out._ring is None
    assert not out._is_mixed
    assert drained(target) == ["by the socket"]


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
            target._inlets[target._mail_fd].read()
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
        patch.setattr(ring_outlet, "encode", interrupt)
        with pytest.raises(KeyboardInterrupt):
            out.deliver(letter(body="interrupted"))
    out.deliver(letter(body="next"))
    got += received(target, count + 1)
    out.deliver(letter(body="after"))
    got += received(target, 1)
    assert got == [*range(count), "opens", "next", "after"]


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

    def handler(*_: Any) -> None:
        raise kind

    reader = run(read)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        for _ in range(200):
            end = monotonic() + 1.0
            with contextlib.suppress(kind):
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.002))
                while monotonic() < end:
                    number = next(numbers)
                    out.deliver(letter(body=number), 10.0)
                    accepted.append(number)
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

    def struck(message: Message) -> bytes:
        if message.body == "main":
            # As a handler would.
            out.deliver(letter(body="handler"), 0.0)
        return encode(message)

    monkeypatch.setattr(ring_outlet, "encode", struck)
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


def test_who_has_waited_for_long_is_the_next_one(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing, run: Any, until: Any
) -> None:
    out = outlet()
    flowing(out, target)
    out._holder = ANOTHER
    waiter = run(lambda: out.deliver(letter(body="waited")))
    until(lambda: out._first)
    out._holder = 0
    out.deliver(letter(body="came by"))
    waiter.result()
    assert drained(target, 0.05) == ["waited", "came by"]


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


def test_one_deadline_holds_for_all_that_a_writer_waits_for(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing, run: Any
) -> None:
    out = outlet()
    flowing(out, target)
    for number in range(SLOTS):
        out.deliver(letter(body=number))
    out._holder = ANOTHER

    def let_go() -> None:
        threading.Event().wait(1.0)
        out._holder = 0

    holder = run(let_go)
    began = monotonic()
    with pytest.raises(MailboxFullError):
        out.deliver(letter(body="too much"), 1.2)
    assert monotonic() - began < 2.1
    holder.result()


def test_what_waited_in_a_ring_does_not_wait_as_long_at_the_socket(
    letter: Make,
    target: Mailbox,
    outlet: Outlets,
    flowing: Flowing,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, other = outlet(), outlet()
    flowing(out, target)
    out.deliver(letter(body="small"))
    give_back = RingOutlet._give_back

    def as_others_write(self: RingOutlet, ring: RingWriter) -> None:
        give_back(self, ring)
        filled(other, letter)

    def read_later() -> None:
        threading.Event().wait(1.0)
        assert target.get(1.0) is not None

    monkeypatch.setattr(RingOutlet, "_give_back", as_others_write)
    reader = run(read_later)
    began = monotonic()
    with pytest.raises(MailboxFullError):
        out.deliver(letter(body="x" * 3000), 1.2)
    assert monotonic() - began < 2.1
    reader.result()


def test_the_bell_that_a_dead_writer_owed_is_rung_although_the_socket_was_full(
    letter: Make, target: Mailbox, outlet: Outlets, rings: Rings, run: Any, until: Any
) -> None:
    pid = os.fork()
    if pid == 0:
        ring = rings.borrow("worker.1")
        assert ring is not None
        ring.open(encode(letter(body="owed")))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    out = outlet()
    count = filled(out, letter)
    writer = run(lambda: out.deliver(letter(body="opens")))
    until(lambda: out._ring is not None)
    got = received(target, count + 2)
    writer.result()
    assert {"opens", "owed"} <= set(got)


def test_whoever_shares_a_reader_gets_its_share(letter: Make, box: Boxes, rings: Rings) -> None:
    target = box(rings=rings, size=16)
    writers = [rings.borrow("worker.1") for _ in range(3)]
    got = dict.fromkeys(range(3), 0)
    for number, ring in enumerate(writers):
        assert ring is not None
        target._hear(ring.number, ring.open(encode(letter(body=number))))
    for _ in range(600):
        for number, ring in enumerate(writers):
            assert ring is not None
            while ring.make_room():
                ring.put(encode(letter(body=number)))
        got[received(target, 1)[0]] += 1
    assert min(got.values()) > 100, got


def test_a_ring_that_is_anothers_by_now_makes_way(
    letter: Make, target: Mailbox, rings: Rings
) -> None:
    for number in range(2):
        ring = rings.borrow("worker.1")
        assert ring is not None
        target._hear(ring.number, ring.open(encode(letter(body=number))))
        assert drained(target) == [number]
        rings.give_back(ring)
        others = rings.borrow("other.1")
        assert others is not None
        assert [each.number for each in target._flowing] == [others.number]
        assert target._flowing[0].is_for(b"other.1")
    assert target._flowing[0].number == 1


@pytest.mark.parametrize("size", [1, 2, 8])
def test_what_floods_the_socket_leaves_room_for_rings_and_they_for_it(
    letter: Make, box: Boxes, rings: Rings, outlet: Outlets, size: int
) -> None:
    target, out = box(rings=rings, size=size), outlet()
    ring = rings.borrow("worker.1")
    assert ring is not None
    target._hear(ring.number, ring.open(encode(letter(body="ring"))))
    got = Counter[str]()
    for _ in range(300):
        while ring.make_room():
            ring.put(encode(letter(body="ring")))
        while out.try_send(letter(body="socket"), "mail"):
            pass
        got[received(target, 1)[0]] += 1
    assert min(got["ring"], got["socket"]) > 50, got


def test_a_letter_of_which_a_bell_tells_is_there_at_once(
    letter: Make, target: Mailbox, outlet: Outlets, rings: Rings
) -> None:
    ring = rings.borrow("worker.1")
    assert ring is not None
    number = ring.open(encode(letter(body="here")))
    out = outlet()
    out.socket_for("mail").send(BELL.pack(ANNOUNCEMENT, ring.number, number))
    # As when letters came one at a time.
    target._singles = 3
    assert drained(target) == ["here"]


def test_replies_overtake_what_lies_in_a_ring(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    for number in range(SLOTS // 2):
        out.deliver(letter(body=number))
    out.deliver(letter(body="reply", kind="reply", in_reply_to="id-0"))
    assert drained(target, 0.05) == ["reply", *range(SLOTS // 2)]


def test_a_reader_that_is_stuck_has_its_writer_told_and_gets_nothing_later(
    letter: Make, target: Mailbox, outlet: Outlets, rings: Rings
) -> None:
    out = outlet()
    count = filled(out, letter)
    for _ in range(3):
        with pytest.raises(MailboxFullError, match=r"took no mail for 0\.05 s"):
            out.deliver(letter(body="too much"), 0.05)
        assert out._ring is None
    assert rings.ring_for(0, "worker.1") is not None, "it was the same ring each time"
    assert rings.ring_for(1, "worker.1") is None
    assert drained(target, 0.05) == list(range(count))
    out.deliver(letter(body="again"))
    assert drained(target, 0.05) == ["again"]


def test_a_ring_that_is_full_has_its_writer_told_and_gets_nothing_later(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    sent = 0
    for _ in range(SLOTS):
        out.deliver(letter(body=sent), 0.02)
        sent += 1
    with pytest.raises(MailboxFullError):
        out.deliver(letter(body=sent), 0.02)
    with pytest.raises(MailboxFullError):
        out.deliver(letter(body="too much"), 0.0)
    with pytest.raises(MailboxFullError):
        out.deliver(letter(body="x" * 3000), 0.02)
    assert drained(target, 0.05) == list(range(SLOTS))


def test_a_bell_that_finds_no_room_has_its_writer_told_and_the_letter_taken_back(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out, other = outlet(), outlet()
    flowing(out, target)
    assert target.get(0.05) is None
    assert target._flowing == []
    count = filled(other, letter)
    with pytest.raises(MailboxFullError):
        out.deliver(letter(body="too much"), 0.05)
    assert drained(target, 0.05) == list(range(count))
    out.deliver(letter(body="again"))
    assert drained(target, 0.05) == ["again"]


def test_whoever_has_no_time_gets_no_ring(letter: Make, target: Mailbox, outlet: Outlets) -> None:
    out = outlet()
    count = filled(out, letter)
    with pytest.raises(MailboxFullError):
        out.deliver(letter(), 0.0)
    assert out._ring is None
    assert len(drained(target)) == count


def test_without_a_ring_its_writer_waits_as_ever(
    letter: Make, target: Mailbox, outlet: Outlets, rings: Rings, run: Any
) -> None:
    held = [rings.borrow("other.1") for _ in range(RINGS)]
    out = outlet()
    writer = run(lambda: deliver_many(out, letter, 500))
    assert [target.get(10.0).body for _ in range(500)] == list(range(500))  # type: ignore[union-attr]
    writer.result()
    assert out._ring is None
    assert all(held)


Waiting = Callable[[], tuple[RingOutlet, Any]]


@pytest.fixture
def waiting(
    letter: Make, target: Mailbox, outlet: Outlets, run: Any, until: Any, flowing: Flowing
) -> Waiting:
    """Return a maker of an outlet whose ring is full, and of a thread that waits there."""

    def make() -> tuple[RingOutlet, Any]:
        out = outlet()
        flowing(out, target)
        for number in range(SLOTS):
            out.deliver(letter(body=number))
        writer = run(lambda: out.deliver(letter(body="last"), 10.0))
        until(lambda: out._ring is not None and out._ring._words[module._WANTED])
        return out, writer

    return make


def test_a_writer_that_waits_for_room_goes_on_as_soon_as_there_is_some(
    target: Mailbox, waiting: Waiting
) -> None:
    _, writer = waiting()
    assert drained(target, 0.2) == [*range(SLOTS), "last"]
    writer.result()


def test_a_ring_that_is_no_gain_is_given_back_and_borrowed_again(
    letter: Make, target: Mailbox, outlet: Outlets, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    for number in range(module.SHORT + 2):
        out.deliver(letter(body=number))
        assert target.get(10.0).body == number  # type: ignore[union-attr]
    assert out._ring is None
    flowing(out, target)


def test_an_outlet_that_goes_gives_its_ring_back(
    letter: Make, target: Mailbox, outlet: Outlets, rings: Rings, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    out.deliver(letter(body="left"))
    assert len(rings._borrowed) == 1
    del out
    assert len(rings._borrowed) == 0
    assert drained(target, 0.05) == ["left"]


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


# Readers of other kinds, and bells


@pytest.fixture
def half_read(letter: Make, box: Boxes, rings: Rings, outlet: Outlets, flowing: Flowing) -> Mailbox:
    """A mailbox with room for four whose reader has read one of twenty, which lie in a ring."""
    target = box(rings=rings, size=4)
    out = outlet()
    flowing(out, target)
    for number in range(20):
        out.deliver(letter(body=number))
    assert target.get(1.0) is not None
    return target


def test_whoever_follows_has_the_leader_read_what_lies_in_a_ring(
    half_read: Mailbox, letter: Make, run: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However late the leader gets a core.
    monkeypatch.setattr(mailbox, "HANDOVER", 10.0)
    waiter = run(lambda: half_read.wait_for(letter(id="asked"), 10.0))
    until(lambda: half_read._lead.held)
    assert drained(half_read) == list(range(1, 20))
    half_read.deliver(letter(kind="reply", in_reply_to="asked"))
    waiter.result()


def test_a_loop_goes_on_while_something_lies_in_a_ring(half_read: Mailbox) -> None:
    for number in range(1, 4):
        message = half_read.get()
        assert message is not None
        assert message.body == number
    assert half_read._lanes.queued == 0
    assert not half_read.arm()
    assert drained(half_read) == list(range(4, 20))


def test_all_that_was_written_is_collected(half_read: Mailbox) -> None:
    found = [each.body for _ in range(8) for each in half_read.collect()]
    assert found == list(range(1, 20))


def test_a_reader_looks_once_more_into_a_ring_that_it_has_emptied(
    letter: Make,
    target: Mailbox,
    outlet: Outlets,
    run: Any,
    until: Any,
    flowing: Flowing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = outlet()
    monkeypatch.setattr(module, "QUIET", 0.3)
    monkeypatch.setattr(intake, "QUIET", 0.3)
    flowing(out, target)
    reader = run(lambda: target.get(None))
    until(lambda: target._lead.held)
    # As if it had not been seen that the reader is about to leave.
    assert out._ring is not None
    out._ring.put(encode(letter(body="late")))
    assert reader.result().body == "late"


def test_a_reader_that_must_not_wait_is_told_of_what_lies_in_a_ring(
    letter: Make, target: Mailbox, outlet: Outlets, run: Any
) -> None:
    out, many = outlet(), 2000
    mail, _ = target.descriptors()
    writer = run(lambda: deliver_many(out, letter, many))
    got: list[Any] = []
    while len(got) < many:
        if target.arm():
            assert select.select([mail], [], [], 10.0)[0], f"nothing after {len(got)} letters"
        got += drained(target)
    writer.result()
    assert got == list(range(many))


def test_a_reader_sleeps_for_good_soon_after_a_ring_was_emptied(
    letter: Make, target: Mailbox, outlet: Outlets, run: Any, until: Any, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    assert target.get(0.05) is None
    assert target._flowing == []
    reader = run(lambda: target.get(None))
    until(lambda: target._lead.held)
    out.deliver(letter(body="wakes it"))
    assert reader.result().body == "wakes it"


@pytest.mark.parametrize(("ring", "number"), [(0, 0), (RINGS, 0), (255, 2**64 - 1)])
def test_a_bell_that_somebody_made_up_rings_in_vain(
    letter: Make, target: Mailbox, outlet: Outlets, ring: int, number: int
) -> None:
    out = outlet()
    way = out.socket_for("mail")
    way.send(BELL.pack(ANNOUNCEMENT, ring, number))
    out.deliver(letter(body="letter"))
    assert drained(target, 0.05) == ["letter"]
    assert target._flowing == []


def test_a_bell_is_garbage_where_there_are_no_rings(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    target, out = box(), outlet()
    out.socket_for("mail").send(BELL.pack(ANNOUNCEMENT, 0, 0))
    out.deliver(letter(body="letter"))
    assert drained(target) == ["letter"]
    assert target.statistics().garbage == 1


def test_what_was_told_before_a_letter_is_obeyed_before_it_is_handled(
    letter: Make,
    box: Boxes,
    rings: Rings,
    outlet: Outlets,
    flowing: Flowing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for each in (module, intake):
        monkeypatch.setattr(each, "QUIET", 10.0)
    obeyed: list[Any] = []

    def control(message: Message) -> bool:
        obeyed.append(message.body)
        return True

    target = box(rings=rings, control=control)
    out = outlet()
    flowing(out, target)
    assert target._flowing
    target._singles = 3
    for number in range(5):
        out.deliver(letter(body=number, kind="control"))
    assert out._ring is not None
    out._ring.put(encode(letter(body="afterwards")))
    message = target.get(1.0)
    assert message is not None
    assert message.body == "afterwards"
    assert obeyed == list(range(5))


# The end of either side


def test_a_ring_that_was_given_back_is_not_touched_any_more(
    letter: Make, target: Mailbox, outlet: Outlets, rings: Rings, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = outlet()
    filled(out, letter)
    others: list[Any] = []
    give_back, borrow = Rings.give_back, Rings.borrow

    def at_once_anothers(self: Rings, ring: Any) -> None:
        give_back(self, ring)
        if not others:
            others.append(borrow(self, "other.1"))
            others[0].open(encode(letter(body="another's")))

    def as_its_reader_ends(self: Rings, *arguments: Any) -> Any:
        target.close()
        return borrow(self, *arguments)

    monkeypatch.setattr(Rings, "give_back", at_once_anothers)
    monkeypatch.setattr(Rings, "borrow", as_its_reader_ends)
    with pytest.raises(RecipientGoneError):
        out.deliver(letter(body="too late"))
    reader = rings.ring_for(others[0].number, "other.1")
    assert reader is not None
    reader.hear(others[0].last)
    left: list[Message] = []
    reader.take(left, empty_row(), 0, SLOTS)
    assert [each.body for each in left] == ["another's"]


@pytest.mark.parametrize("who", ["mailbox", "office"])
def test_a_ring_that_is_borrowed_as_its_reader_ends_takes_nothing(
    letter: Make,
    folder: Folder,
    outlet: Outlets,
    office: Office,
    rings: Rings,
    monkeypatch: pytest.MonkeyPatch,
    who: str,
) -> None:
    sockets = office.bind("worker", 1)
    out = outlet()
    count = filled(out, letter)
    told: list[Any] = []
    ending = Rings.ending

    @contextmanager
    def meanwhile(self: Rings, reader: str) -> Iterator[list[Any]]:
        with ending(self, reader) as found:
            for number in range(3):
                try:
                    out.deliver(letter(body=number), 0.1)
                except RecipientGoneError:
                    told.append("gone")
            yield found

    monkeypatch.setattr(Rings, "ending", meanwhile)
    if who == "office":
        assert office.inherit("worker", 1, sockets) == count
    else:
        made = Mailbox("worker", 1, clock=RealClock(), sockets=sockets, rings=rings)
        assert len(made.close()) == count
        assert made.statistics().accepted == count
        office.unlink("worker", 1)
    assert told == ["gone"] * 3


def test_a_ring_that_is_closed_takes_nothing_and_touches_nothing(
    letter: Make, target: Mailbox, outlet: Outlets, rings: Rings, flowing: Flowing
) -> None:
    out = outlet()
    flowing(out, target)
    ring = out._ring
    assert ring is not None
    ring.lapse()
    ring.was_told()
    assert ring.fileno() == -1
    out.deliver(letter(body="by the socket"))
    assert out._ring is None
    assert drained(target, 0.05) == ["by the socket"]


@pytest.mark.parametrize("after", [0, 5, 200, 999])
def test_whatever_was_sent_to_a_mailbox_that_closes_is_counted(
    letter: Make, target: Mailbox, outlet: Outlets, run: Any, after: int
) -> None:
    out = outlet()
    sent = Counter[str]()

    def write() -> None:
        while True:
            try:
                out.deliver(letter(body=sent["told"]), 5.0)
            except RecipientGoneError:
                return
            sent["told"] += 1

    writer = run(write)
    for _ in range(after):
        assert target.get(10.0) is not None
    target.close()
    writer.result()
    found = target.statistics()
    assert found.accepted == sent["told"]
    assert found.delivered == after
    assert found.lost_with_reader == sent["told"] - after


def test_a_writer_that_meets_the_end_waits_to_learn_what_became_of_its_letter(
    letter: Make,
    target: Mailbox,
    outlet: Outlets,
    rings: Rings,
    run: Any,
    until: Any,
    flowing: Flowing,
) -> None:
    out = outlet()
    flowing(out, target)
    out.deliver(letter(body="before"))
    ring = out._ring
    assert ring is not None
    with rings.ending("worker.1") as ending:
        writer = run(lambda: out.deliver(letter(body="counted")))
        until(lambda: ring._words[module._HEAD] == ring._words[module._TAIL] + 2)
        left: list[Message] = []
        for used in ending:
            used.rest(left, empty_row(), 0)
        assert [each.body for each in left] == ["before", "counted"]
    writer.result()
    target.close()
    with pytest.raises(RecipientGoneError):
        out.deliver(letter(body="refused"))


def test_a_writer_that_waits_in_a_ring_is_told_of_the_end(
    target: Mailbox, waiting: Waiting
) -> None:
    out, writer = waiting()
    assert len(target.close()) == SLOTS
    with pytest.raises(RecipientGoneError):
        writer.result()
    assert out._ring is None


@pytest.fixture
def office(folder: Folder, rings: Rings) -> Iterator[Office]:
    office = Office(folder.path, clock=RealClock(), ledgers=SharedLedgers(8), rings=rings)
    office.update(Book(1, {"boss": 1, "worker": 1}))
    yield office
    office.shut()


@pytest.mark.parametrize("seed", range(6))
def test_what_lay_in_a_ring_of_a_reader_that_was_killed_is_counted(
    letter: Make, office: Office, outlet: Outlets, run: Any, rings: Rings, seed: int
) -> None:
    """The reader is a forked process that is killed at some moment, under load."""
    assert office.ledgers is not None
    sockets = office.bind("worker", 1)
    counts = office.ledgers.row(office.ledgers.claim())
    many = random.Random(seed).randrange(20, 3000)
    pid = os.fork()
    if pid == 0:
        box = Mailbox("worker", 1, clock=RealClock(), sockets=sockets, counts=counts, rings=rings)
        for _ in range(many):
            box.get(10.0)
        os.kill(os.getpid(), signal.SIGKILL)
    out = outlet()
    told = Counter[str]()

    def write() -> None:
        while True:
            try:
                out.deliver(letter(body=told["sent"], receipt=False), 5.0)
            except RecipientGoneError:
                return
            told["sent"] += 1

    writer = run(write)
    os.waitpid(pid, 0)
    found = office.inherit("worker", 1, sockets)
    writer.result()
    left = sum(counts[each] for each in (0, 1, 2)) + found
    assert left == told["sent"]


@pytest.mark.parametrize("seed", range(6))
def test_what_a_writer_sent_before_it_was_killed_comes_once_and_in_order(
    letter: Make, target: Mailbox, outlet: Outlets, until: Any, seed: int
) -> None:
    many = random.Random(seed).randrange(20, 3000)
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        out = outlet()
        for number in range(many):
            out.deliver(letter(body=number), 10.0)
            os.write(tell, b".")
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(tell)
    got: list[Any] = []
    while len(got) < many:
        message = target.get(10.0)
        assert message is not None, f"nothing after {len(got)} of {many} letters"
        got.append(message.body)
    os.waitpid(pid, 0)
    os.close(told)
    assert all(later == before + 1 for before, later in pairwise(got))
    assert target.get(0.05) is None
    assert target._flowing == []


def test_letters_wait_in_a_ring_while_their_reader_has_no_room(
    letter: Make, box: Boxes, rings: Rings, outlet: Outlets, flowing: Flowing
) -> None:
    target = box(rings=rings, size=4)
    out = outlet()
    flowing(out, target)
    for number in range(SLOTS):
        out.deliver(letter(body=number))
    assert target.get(1.0) is not None
    assert len(target._lanes.letters) <= 4
    assert drained(target, 0.05) == list(range(1, SLOTS))


def test_the_rings_of_an_application_leave_nothing(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        rings = Rings()
        folder = Folder(tmp_path / "bus")
        names = [socket_name("worker", 1, lane) for lane in ("mail", "urgent")]
        mail, urgent = (folder.bind(each) for each in names)
        target = Mailbox("worker", 1, clock=RealClock(), sockets=(mail, urgent), rings=rings)
        out = RingOutlet(folder, "worker", 1, rings, None)
        message = Message("a", "a", 1, 0.0, "main", "worker", "s")
        while out.try_send(message, "mail"):
            pass
        writer = threading.Thread(target=out.deliver, args=(message,))
        writer.start()
        while target.get(0.05):
            pass
        writer.join()
        out._patience.close()
        del out
        target.close()
        for name in names:
            folder.unlink(name)
        folder.close()
        rings.close()
    assert len(os.listdir("/proc/self/fd")) == before
