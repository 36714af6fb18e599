"""A signal's handler that raises while mail is read or handed over costs no letter, and no turn.

A signal arrives before every single instruction of ours that a scene runs, one scene each. Its
handler is called where Python next calls handlers, on the way into a function or out of a call.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

import gateway.bus
from gateway.bus.ledger import PASSED_ON, TAKING
from gateway.bus.mailbox import Mailbox
from gateway.bus.patience import Patience
from gateway.bus.reserve import Reserve
from gateway.bus.ring_outlet import RingOutlet
from gateway.bus.rings import Rings
from gateway.bus.wire import INLINE, Folder, Outlet, socket_name
from gateway.clock import RealClock
from gateway.errors import CallTimeoutError
from gateway.mail.message import Message

Make = Callable[..., Message]
Boxes = Callable[..., Mailbox]
Outlets = Callable[..., Outlet]
Act = Callable[[], Any]

# What strikes as a generator is closed Python itself swallows.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def ours() -> str:
    """The folder of what is struck."""
    return str(gateway.bus.__path__[0])


def bodies(box: Mailbox) -> list[Any]:
    return [message.body for message in iter(lambda: box.get(0.0), None)]


def at_rest(box: Mailbox) -> None:
    lead = box._lead
    assert not box._lock.locked()
    assert (lead.leader, lead.followers, lead.readers) == (None, [], 0)
    assert box.statistics().is_balanced


class Writing:
    """What is written to one mailbox, and what of it was read."""

    def __init__(self, box: Mailbox) -> None:
        self.box = box
        self.number = 0
        self.written: list[int] = []
        self.read: list[int] = []
        self.delivered = 0

    def numbered(self, letter: Make, **fields: Any) -> Message:
        self.number += 1
        self.written.append(self.number)
        body = [self.number, "." * fields.pop("size", 0)]
        return letter(body=body, **fields)

    def note(self) -> None:
        for message in iter(lambda: self.box.get(0.0), None):
            self.read.append(message.body[0])

    def begin(self) -> None:
        self.written, self.read = [], []
        self.delivered = self.box.statistics().delivered

    def check(self) -> None:
        """All that was written was handed out, once, and in its order; one perhaps to a struck."""
        self.note()
        assert self.box.statistics().delivered == self.delivered + len(self.written)
        assert self.read == sorted(set(self.read))
        assert set(self.read) <= set(self.written)
        assert len(self.read) >= len(self.written) - 1
        at_rest(self.box)
        assert self.box.statistics().garbage == 0


@pytest.mark.parametrize("order", ["fifo", "priority"])
@pytest.mark.parametrize("many", [1, 3])
def test_whoever_reads_sockets(
    letter: Make, box: Boxes, outlet: Outlets, everywhere: Any, order: str, many: int
) -> None:
    mine, out = Writing(box(order=order)), outlet()

    def prepare() -> None:
        mine.begin()
        for _ in range(many):
            out.deliver(mine.numbered(letter))

    assert everywhere(prepare, mine.note, mine.check) > 200


def test_whoever_reads_one_letter_at_a_time(
    letter: Make, box: Boxes, outlet: Outlets, everywhere: Any
) -> None:
    mine, out = Writing(box()), outlet()

    def prepare() -> None:
        mine.begin()
        mine.box._singles = 5
        out.deliver(mine.numbered(letter))

    passed_on = mine.box._lanes.counts[PASSED_ON]
    assert everywhere(prepare, mine.note, mine.check) > 100
    assert mine.box._lanes.counts[PASSED_ON] > passed_on


def test_whoever_reads_large_bodies(
    letter: Make, box: Boxes, outlet: Outlets, everywhere: Any
) -> None:
    mine, out = Writing(box()), outlet()

    def prepare() -> None:
        mine.begin()
        out.deliver(mine.numbered(letter, size=INLINE + 1))
        out.deliver(mine.numbered(letter))

    prepare()
    mine.note()
    opened = len(os.listdir("/proc/self/fd"))
    everywhere(prepare, mine.note, mine.check)
    assert len(os.listdir("/proc/self/fd")) == opened


@pytest.mark.parametrize("kind", ["publication", "reply", "bounce"])
def test_whoever_reads_what_is_no_letter(
    letter: Make, box: Boxes, outlet: Outlets, everywhere: Any, kind: str
) -> None:
    mine, out = Writing(box(size=3)), outlet()

    def prepare() -> None:
        mine.begin()
        for _ in range(2):
            out.deliver(mine.numbered(letter, kind=kind))

    everywhere(prepare, mine.note, mine.check)


def test_whoever_reads_rings(
    letter: Make, box: Boxes, folder: Folder, everywhere: Any, stack: ExitStack, run: Any
) -> None:
    rings, patience = Rings(), Patience()
    stack.callback(rings.close)
    stack.callback(patience.close)
    mine = Writing(box(rings=rings))
    out = RingOutlet(folder, "worker", 1, rings, patience)

    def write() -> None:
        for _ in range(14):
            out.deliver(mine.numbered(letter), 10.0)

    def prepare() -> None:
        mine.begin()
        # More than the socket holds: whoever goes on needs a bell.
        writer = run(write)
        for _ in range(5):
            message = mine.box.get(10.0)
            assert message is not None
            mine.read.append(message.body[0])
        writer.result()

    everywhere(prepare, mine.note, mine.check)


def test_whoever_writes_by_reference_wakes_the_reader(
    letter: Make, box: Boxes, everywhere: Any, run: Any, until: Any
) -> None:
    mine = Writing(box())
    heard: list[int] = []
    reader: list[Any] = []

    def read() -> None:
        message = mine.box.get(10.0)
        assert message is not None
        heard.append(message.body[0])

    def prepare() -> None:
        mine.begin()
        heard.clear()
        reader[:] = [run(read)]
        until(lambda: mine.box._lead.asleep)

    def check() -> None:
        # Written or not, nobody knows; but one that was accepted is read at once.
        if not mine.box.statistics().accepted > accepted[0]:
            mine.box.deliver(mine.numbered(letter))
        accepted[0] = mine.box.statistics().accepted
        reader[0].result()
        at_rest(mine.box)

    accepted = [0]
    everywhere(prepare, lambda: mine.box.deliver(mine.numbered(letter)), check)


def test_whoever_makes_room_lets_the_writer_in(
    letter: Make, box: Boxes, everywhere: Any, run: Any, until: Any
) -> None:
    mine = Writing(box(size=1))
    writer: list[Any] = []

    def prepare() -> None:
        mine.begin()
        mine.box.deliver(mine.numbered(letter))
        waiting = mine.numbered(letter)
        writer[:] = [run(lambda: mine.box.deliver(waiting, 10.0))]
        until(lambda: mine.box._lanes.waiting)

    def check() -> None:
        while writer[0].runs:
            mine.note()
        writer[0].result()
        mine.check()

    everywhere(prepare, mine.note, check)


def test_whoever_waits_for_a_reply(
    letter: Make, box: Boxes, outlet: Outlets, everywhere: Any
) -> None:
    mine, out = box("main"), outlet("main")
    asked: list[Message] = []

    def answer(message: Message) -> Message:
        return letter(recipient="main", kind="reply", in_reply_to=message.message_id)

    def prepare() -> None:
        asked[:] = [letter()]
        out.deliver(answer(asked[0]))

    def check() -> None:
        assert mine._lanes.open_calls() == []
        # Nothing is left behind but perhaps the reply, and the next one is answered.
        bodies(mine)
        at_rest(mine)
        again = letter()
        out.deliver(answer(again))
        assert mine.wait_for(again, 10.0).in_reply_to == again.message_id
        at_rest(mine)

    everywhere(prepare, lambda: mine.wait_for(asked[0], 10.0), check)


def test_whoever_waits_alone_for_a_reply_that_comes_alone(
    letter: Make, box: Boxes, outlet: Outlets, everywhere: Any
) -> None:
    mine, out = box("main"), outlet("main")
    asked: list[Message] = []

    def ask() -> Message:
        written = letter()
        out.deliver(letter(recipient="main", kind="reply", in_reply_to=written.message_id))
        return written

    def prepare() -> None:
        # Letters are read one at a time when no more than one has come before.
        while mine._singles < 2:
            mine.wait_for(ask(), 10.0)
        asked[:] = [ask()]

    def check() -> None:
        # The reply of who was interrupted is dropped, if it was not handed over.
        mine.get(0.0)
        at_rest(mine)
        assert mine._lanes.open_calls() == []
        assert mine._lanes.counts[TAKING] == 0
        assert all(inlet.held is None for inlet in mine._inlets.values())
        again = ask()
        assert mine.wait_for(again, 10.0).in_reply_to == again.message_id

    everywhere(prepare, lambda: mine.wait_for(asked[0], 10.0), check)


def test_whoever_waits_for_a_reply_in_vain_behind_a_reader(
    letter: Make, box: Boxes, everywhere: Any, run: Any, until: Any
) -> None:
    mine = box("main")
    reader = run(lambda: mine.get(60.0))
    until(lambda: mine._lead.asleep)

    def act() -> None:
        with pytest.raises(CallTimeoutError):
            mine.wait_for(letter(), 0.0)

    def check() -> None:
        # The reader was woken, and is on its way back.
        until(lambda: not mine._lock.locked() and (lead.followers, lead.readers) == ([], 1))
        assert mine._lanes.open_calls() == []

    lead = mine._lead
    everywhere(lambda: None, act, check)
    mine.deliver(letter("last"))
    assert reader.result().subject == "last"


def test_whoever_collects_and_looks_for_replies(
    letter: Make, box: Boxes, outlet: Outlets, everywhere: Any
) -> None:
    mine, out = Writing(box()), outlet()

    def prepare() -> None:
        mine.begin()
        out.deliver(mine.numbered(letter))
        out.deliver(mine.numbered(letter, kind="reply", in_reply_to="nobody's"))

    def look() -> None:
        mine.box.read_replies()
        taken = mine.box.collect()
        mine.read += [message.body[0] for message in taken]

    def check() -> None:
        mine.note()
        # Those that were collected as it was struck are gone with the list; all are accounted for.
        assert mine.box.statistics().delivered == mine.delivered + len(mine.written)
        assert len(mine.read) == len(set(mine.read))
        at_rest(mine.box)

    everywhere(prepare, look, check)


def test_whoever_serves_a_descriptor_is_told_again(box: Boxes, everywhere: Any) -> None:
    mine = box()
    read, write = os.pipe()
    served: list[bytes] = []
    mine.watch(read, lambda events: served.append(os.read(read, 1)))

    def prepare() -> None:
        served.clear()
        os.write(write, b"x")

    def check() -> None:
        mine.get(0.0)
        assert served == [b"x"]
        at_rest(mine)

    everywhere(prepare, lambda: mine.get(0.0), check)
    mine.unwatch(read)
    os.close(read)
    os.close(write)


def test_whoever_wakes_it_leaves_the_lock(box: Boxes, everywhere: Any) -> None:
    mine = box()

    def check() -> None:
        locked = mine._lock.locked()
        if locked:
            # Nothing would end otherwise.
            mine._lock.release()
        assert not locked
        mine.get(0.0)
        at_rest(mine)

    everywhere(lambda: None, mine.wake, check)


def test_whoever_closes_it_can_do_so_again(
    letter: Make, folder: Folder, outlet: Outlets, everywhere: Any
) -> None:
    names = [socket_name("worker", 1, lane) for lane in ("mail", "urgent")]
    boxes: list[Mailbox] = []
    opened = len(os.listdir("/proc/self/fd"))

    def prepare() -> None:
        mail, urgent = map(folder.bind, names)
        boxes[:] = [Mailbox("worker", clock=RealClock(), sockets=(mail, urgent))]
        boxes[0].deliver(letter())
        for kind in ("letter", "bounce"):
            outlet().deliver(letter(kind=kind))

    def act() -> None:
        boxes[0].close()

    def check() -> None:
        boxes[0].close()
        assert not boxes[0]._lock.locked()
        found = boxes[0].statistics()
        assert (found.is_balanced, found.lost_with_reader) == (True, found.accepted)
        # One may have been in its hands.
        assert found.accepted >= 2
        assert len(os.listdir("/proc/self/fd")) == opened
        for name in names:
            folder.unlink(name)

    everywhere(prepare, act, check)


def test_whoever_borrows_a_descriptor_gives_it_back(run: Any, everywhere: Any) -> None:
    reserve = Reserve()
    reserve.keep()
    opened = len(os.listdir("/proc/self/fd"))

    def borrow() -> None:
        with reserve.lent():
            assert reserve._descriptor < 0

    def check() -> None:
        # Whoever borrows next keeps it again, on any thread.
        run(borrow).result()
        assert reserve._descriptor >= 0
        assert len(os.listdir("/proc/self/fd")) == opened

    everywhere(lambda: None, borrow, check)
    reserve.close()


def test_control_mail_that_always_raises_is_given_up(
    letter: Make, box: Boxes, outlet: Outlets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.bus.attempts.TRIED", 0.0)

    def fail(message: Message) -> bool:
        raise ValueError("a bug")

    mine, raised = box(control=fail), 0
    outlet().deliver(letter(kind="control"))
    outlet().deliver(letter("after"))
    for _ in range(20):
        try:
            message = mine.get(0.0)
        except ValueError:
            raised += 1
        else:
            assert message is not None
            assert message.subject == "after"
            break
    assert 1 < raised < 10
    assert mine.statistics().garbage == 1
    at_rest(mine)
