"""Letters in OS processes that have no descriptor and no memory left: delivered, or raised."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from typing import Any, NoReturn

import pytest

from gateway.bus import inlet as inlet_module
from gateway.bus.attempts import TRIES
from gateway.bus.directory import Book
from gateway.bus.inlet import Inlet, new_buffer
from gateway.bus.ledger import Balance, SharedLedgers, balance_of_the_dead
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.bus.outlets import outlet_to
from gateway.bus.pump import Pump
from gateway.bus.reserve import Reserve
from gateway.bus.wire import INLINE, Folder, Outlet, socket_name
from gateway.clock import RealClock
from gateway.errors import GatewayError, RecipientGoneError, ShortageError
from gateway.mail.message import Message, error_in, reply_to
from tests.gateway.descriptors import none_left, open_descriptors

Make = Callable[..., Message]
Boxes = Callable[..., Mailbox]
Outlets = Callable[..., Outlet]
Offices = Callable[..., tuple[Office, Office]]

LARGE = 2_000_000


# At the reader


def test_a_reader_without_a_descriptor_takes_large_bodies_by_the_one_that_is_kept(
    letter: Make, folder: Folder, box: Boxes, outlet: Outlets, caplog: pytest.LogCaptureFixture
) -> None:
    target, out = box(reserve=folder.reserve), outlet()
    bodies = [bytes([number]) * LARGE for number in range(4)]
    for body in bodies:
        out.deliver(letter(body=body))
    out.deliver(letter(body="small"))
    before = open_descriptors()
    with none_left():
        found = [target.get(5.0) for _ in range(5)]
    assert [each.body for each in found if each] == [*bodies, "small"]
    assert target.statistics()[:2] == (5, 5)
    assert open_descriptors() == before
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "raise LimitNOFILE" in caplog.text


def test_readers_on_several_threads_borrow_it_one_after_the_other(
    letter: Make,
    folder: Folder,
    box: Boxes,
    outlet: Outlets,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However late whoever was faster gives it back.
    monkeypatch.setattr(inlet_module, "WITHIN", 10.0)
    folder.reserve._tries = map(folder.reserve._lock.acquire, repeat(True), repeat(10.0))
    names = ["one", "two", "three"]
    boxes = [box(name, reserve=folder.reserve) for name in names]
    for name in names:
        for _ in range(3):
            outlet(name).deliver(letter(body=name * INLINE, recipient=name))
    with none_left():
        readers = [run(lambda each=each: [each.get(5.0).body for _ in range(3)]) for each in boxes]
        found = [reader.result() for reader in readers]
    assert found == [[name * INLINE] * 3 for name in names]


def test_a_letter_whose_body_finds_no_descriptor_at_all_is_sent_back_and_counted(
    letter: Make, box: Boxes, outlet: Outlets, caplog: pytest.LogCaptureFixture
) -> None:
    returned: list[tuple[Message, GatewayError]] = []
    target = box(undeliverable=lambda message, error: returned.append((message, error)))
    for subject in ("first", "second"):
        outlet().deliver(letter(subject, body=bytes(LARGE)))
    outlet().deliver(letter("small"))
    with none_left():
        found = target.get(5.0)
    assert found is not None
    assert found.subject == "small"
    assert [(message.subject, message.body) for message, _ in returned] == [
        ("first", None),
        ("second", None),
    ]
    error = returned[0][1]
    assert isinstance(error, ShortageError)
    assert str(error).startswith("'worker' had no descriptor left for a body of 2 MB: raise Limit")
    assert target.statistics() == Balance(accepted=3, delivered=1, bounced=2)
    lost = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert len(lost) == 1, "said once"
    assert "'first' from main is not read: 'worker' had no descriptor left" in lost[0]
    outlet().deliver(letter("third", body=bytes(LARGE)))
    assert target.get(5.0).body == bytes(LARGE)  # type: ignore[union-attr]


def test_whoever_waits_for_an_answer_that_is_too_much_is_told_so(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    main = box("main")
    asked = letter()
    answer = reply_to(asked, "answer", 0.0, bytes(LARGE))
    outlet("main").deliver(answer)
    with none_left(), pytest.raises(ShortageError, match="'main' had no descriptor left"):
        main.wait_for(asked, 5.0)
    assert main.statistics().is_balanced
    assert main.statistics().garbage == 0


def test_a_publication_without_its_body_is_dropped_and_counted(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    target = box()
    outlet().try_send(letter(body=bytes(LARGE), kind="publication"), "mail")
    with none_left():
        assert target.get(0.0) is None
    assert target.statistics() == Balance(accepted=1, dropped=1)
    assert target.publications_dropped == 1


def test_control_mail_without_its_body_is_not_obeyed(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    obeyed: list[Message] = []

    def obey(message: Message) -> bool:
        obeyed.append(message)
        return True

    target = box(control=obey)
    outlet().deliver(letter("book", body=bytes(LARGE), kind="control"))
    with none_left():
        assert target.get(0.0) is None
    assert obeyed == []
    assert target.statistics() == Balance(accepted=1, dropped=1)


def test_a_mailbox_that_is_closed_sends_back_what_it_could_not_have_read(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    target = box()
    outlet().deliver(letter("large", body=bytes(LARGE)))
    with none_left():
        left = target.close()
    assert [message.subject for message in left] == ["large"]
    assert target.statistics() == Balance(accepted=1, lost_with_reader=1)


def test_a_boss_without_a_descriptor_counts_what_the_dead_left(
    letter: Make, offices: Offices
) -> None:
    writers, boss = offices(main=0)
    sockets = boss.bind("worker", 1)
    writers.update(Book(2, {"main": 1, "worker": 1}))
    writers.target("worker").deliver(letter(body=bytes(LARGE), receipt=True, sender_incarnation=1))
    # It has written to it before.
    boss.answer(letter(recipient="main", kind="reply", in_reply_to="?", incarnation=1))
    boss._folder.reserve.close()
    with none_left():
        assert boss.inherit("worker", 1, sockets) == 1
    main = writers._boxes["main"]
    found = [main.get(5.0), main.get(5.0)]
    assert [message.kind for message in found if message] == ["reply", "bounce"]


def test_what_a_handler_raises_in_the_middle_of_a_large_body_loses_no_letter(
    letter: Make, box: Boxes, outlet: Outlets, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = box()
    outlet().deliver(letter(body=bytes(LARGE)))
    before = open_descriptors()
    for interruption in (KeyboardInterrupt, TimeoutError):

        def interrupted(descriptor: int, size: int, kind: Any = interruption) -> NoReturn:
            raise kind

        with monkeypatch.context() as patch:
            patch.setattr(inlet_module, "contents", interrupted)
            with pytest.raises(interruption):
                target.get(5.0)
    assert open_descriptors() == before
    assert target.get(5.0).body == bytes(LARGE)  # type: ignore[union-attr]
    assert target.statistics()[:2] == (1, 1)


def test_a_body_that_can_never_be_read_holds_up_nobody(
    letter: Make, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int, size: int) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    inlet = Inlet(folder.bind(socket_name("worker", 1, "mail")), new_buffer())
    out = Outlet(folder, "worker", 1)
    out.deliver(letter(body=bytes(LARGE)))
    out.deliver(letter("next"))
    monkeypatch.setattr(inlet_module, "contents", broken)
    monkeypatch.setattr("gateway.bus.attempts.TRIED", 0.0)
    for _ in range(TRIES):
        with pytest.raises(OSError, match="Input/output"):
            inlet.read()
    assert [each and each.subject for each in inlet.rest()] == [None, "next"]
    inlet.close()


# In a forked reader


def forked(body: Callable[[], None]) -> int:
    """Return the pid of a child that does ``body``, and waits to be killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            body()
            signal.pause()
        finally:
            os._exit(status)
    return child


@pytest.mark.parametrize("case", ["kept", "taken by others", "no way to its sender"])
def test_a_forked_reader_without_a_descriptor_delivers_or_sends_back(
    letter: Make, tmp_path: Path, case: str
) -> None:
    ledgers = SharedLedgers(1)
    number = ledgers.claim()
    row = ledgers.row(number)
    office = Office(tmp_path / "bus", clock=RealClock(), ledgers=ledgers)
    office.update(Book(1, {"main": 1, "worker": 1}))
    main = office.open("main", 1, office.bind("main", 1))
    sockets = office.bind("worker", 1)

    def read() -> None:
        reader = Office(tmp_path / "bus", clock=RealClock(), ledgers=ledgers)
        reader.update(office.book)
        worker = reader.open("worker", 1, sockets, row=number)

        def answer(asked: Message | None) -> None:
            assert asked is not None
            size = len(asked.body)
            reader.answer(reply_to(asked, f"re-{asked.message_id}", 0.0, size))

        if case != "no way to its sender":
            answer(worker.get(10.0))
        if case != "kept":
            reader._folder.reserve.close()
        found: Message | None = None
        with none_left():
            # Where nobody can be told before there are descriptors, nothing more comes.
            while not (found or (case == "no way to its sender" and worker.statistics().bounced)):
                found = worker.get(0.01)
        answer(found or worker.get(10.0))

    child = forked(read)
    try:
        subjects = ["small", "large", "again"][case == "no way to its sender" :]
        for subject in subjects[: 2 if case == "kept" else 3]:
            asked = letter(
                subject,
                body=bytes(LARGE if subject == "large" else 1),
                incarnation=1,
                sender_incarnation=1,
            )
            office.target("worker").deliver(asked)
            if subject != "large" or case == "kept":
                assert main.wait_for(asked, 10.0).body == len(asked.body)
            else:
                with pytest.raises(ShortageError, match="'worker' had no descriptor left for a"):
                    main.wait_for(asked, 10.0)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = office.inherit("worker", 1, sockets)
        office.shut()
    bounced = int(case != "kept")
    accepted = len(subjects) - (case == "kept")
    assert found == 0
    assert balance_of_the_dead(row) == Balance(
        accepted=accepted, delivered=accepted - bounced, bounced=bounced
    )


# What is kept


def test_what_is_kept_is_taken_again_as_soon_as_that_can_be() -> None:
    before = open_descriptors()
    reserve = Reserve()
    reserve.keep()
    reserve.keep()
    assert open_descriptors() == before + 1
    with reserve.lent(), reserve.lent():
        assert open_descriptors() == before
    assert open_descriptors() == before + 1
    with none_left():
        with reserve.lent():
            thief = os.dup(0)
        os.close(thief)
        with reserve.lent():
            pass
        with pytest.raises(OSError, match="Too many open"):
            os.dup(0)
    reserve.close()
    reserve.close()
    with reserve.lent():
        pass
    assert open_descriptors() == before


# At the writer


POLICIES: list[Any] = ["block", "reject", "drop_oldest"]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("size", [1, INLINE + 1, 6_000_000])
def test_a_writer_without_a_descriptor_is_told_so_and_leaves_none_behind(
    letter: Make, box: Boxes, folder: Folder, pump: Pump, policy: Any, size: int
) -> None:
    target = box()
    out = outlet_to(folder, "worker", 1, policy, pump)
    if size > 1:
        out.deliver(letter("before"))
    # A file, and its mapping; one that is kept is opened once more.
    for free in range({1: 1, INLINE + 1: 3}.get(size, 2)):
        before = open_descriptors()
        said = r"no descriptor is left for a .*LimitNOFILE"
        with none_left(free), pytest.raises(ShortageError, match=said):
            out.deliver(letter(body=bytes(size)), 0.2)
        folder.parcels.close()
        assert open_descriptors() == before
    out.deliver(letter("after", body=bytes(size)))
    found = [target.get(5.0) for _ in range(2 if size > 1 else 1)]
    assert found[-1] is not None
    assert (found[-1].subject, len(found[-1].body)) == ("after", size)
    assert target.statistics().garbage == 0


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "short", [errno.ENOMEM, errno.ENOBUFS, errno.ENFILE, errno.ENOSPC, errno.ETOOMANYREFS]
)
@pytest.mark.parametrize("call", ["memfd_create", "write"])
def test_whatever_a_large_body_fails_of_is_said(
    letter: Make,
    box: Boxes,
    folder: Folder,
    pump: Pump,
    monkeypatch: pytest.MonkeyPatch,
    policy: Any,
    short: int,
    call: str,
) -> None:
    def fail(*arguments: Any) -> NoReturn:
        raise OSError(short, os.strerror(short))

    box()
    out = outlet_to(folder, "worker", 1, policy, pump)
    out.deliver(letter("before"))
    before = open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(ShortageError, match="is left for a body of 2 MB to 'worker': "):
            out.deliver(letter(body=bytes(LARGE)), 0.2)
    assert open_descriptors() == before


def test_a_kernel_without_memory_for_a_letter_is_told_of(letter: Make, folder: Folder) -> None:
    class Short:
        """A socket for which the kernel has no memory."""

        def send(self, data: bytes) -> NoReturn:
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

        def close(self) -> None:
            pass

    out = Outlet(folder, "worker", 1)
    out._mail = out._urgent = Short()  # type: ignore[assignment]
    for kind in ("letter", "reply"):
        with pytest.raises(ShortageError, match="no memory of the kernel's is left for a letter"):
            out.deliver(letter(kind=kind))


def test_the_dead_are_gone_and_not_short(letter: Make, folder: Folder) -> None:
    with pytest.raises(RecipientGoneError):
        Outlet(folder, "worker", 1).deliver(letter(body=bytes(LARGE)))


def test_a_bounce_that_finds_no_descriptor_comes_once_there_is_one(
    letter: Make, offices: Offices
) -> None:
    writers, others = offices(main=0)
    with none_left():
        others.give_up(letter(receipt=True, sender_incarnation=1), ShortageError("too much"))
    bounce = writers._boxes["main"].get(10.0)
    assert bounce is not None
    assert str(error_in(bounce)) == "too much"
    assert isinstance(error_in(bounce), ShortageError)
