"""Whoever is to be told of a letter that came back is, unless it reads nothing for long."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.bus.directory import BOSS, Book
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.clock import RealClock
from gateway.errors import RefusedError
from gateway.mail.codec import decode
from gateway.mail.message import UNSOLICITED, Message
from gateway.supervision.noticeboard import UNSENT, UNTOLD, Noticeboard

NO = RefusedError("not on a Sunday")


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path / "bus", clock=RealClock())
    office.update(Book(1, {BOSS: 1, "writer": 4, "bridge": 3}))
    yield office
    office.shut()


@pytest.fixture
def box(office: Office) -> Mailbox:
    """The boss's mailbox."""
    return office.open(BOSS, 1, office.bind(BOSS, 1))


@pytest.fixture
def board(office: Office, box: Mailbox) -> Noticeboard:
    return Noticeboard(office, box, {})


def letter(id: str, writer: str = "writer", life: int = 4, **more: Any) -> Message:
    return Message(id, id, 1, 0.0, writer, "worker", "sum", sender_incarnation=life, **more)


@pytest.fixture
def far(office: Office) -> Iterator[socket.socket]:
    """What the writer, in another OS process, reads its bounces from."""
    mail, urgent = office.bind("writer", 4)
    urgent.setblocking(False)
    yield urgent
    mail.close()
    urgent.close()
    office.unlink("writer", 4)


def read(far: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(decode(far.recv(65536)).in_reply_to or "")
        except BlockingIOError:
            return found


def test_whoever_has_no_room_is_told_in_order_as_soon_as_it_has_some(
    board: Noticeboard, box: Mailbox, far: socket.socket
) -> None:
    for number in range(UNTOLD):
        board.send_back(letter(str(number)), NO)
    told = read(far)
    assert 0 < len(told) < UNTOLD, "the socket of this machine holds them all"
    for _ in range(UNTOLD):
        assert box.get(0.0) is None
        told += read(far)
    assert told == [str(number) for number in range(UNTOLD)]
    assert board.statistics()["backlogs"] == board.unheard == 0


def test_whoever_reads_none_is_told_of_so_many(
    board: Noticeboard, box: Mailbox, far: socket.socket
) -> None:
    for number in range(2 * UNTOLD):
        board.send_back(letter(str(number)), NO)
    waited = UNTOLD + len(read(far))
    assert board.unheard == 2 * UNTOLD - waited
    board.close("writer")
    assert board.statistics()["backlogs"] == 0


def test_the_answers_of_the_boss_have_room_of_their_own_and_come_first(
    board: Noticeboard, box: Mailbox, far: socket.socket
) -> None:
    for number in range(UNTOLD):
        board.send_back(letter(str(number)), NO)
    for number in range(UNSENT + 1):
        board.answer(letter(f"question {number}"), None)
    told = read(far)
    for _ in range(UNTOLD):
        assert box.get(0.0) is None
        told += read(far)
    questions = [id for id in told if id.startswith("question")]
    assert questions == [f"question {number}" for number in range(UNSENT)]
    assert len(told) == UNTOLD + UNSENT
    assert told[-1] == str(UNTOLD - 1)
    assert board.unheard == 1


def test_whoever_wants_no_answer_gets_none_nor_does_the_writer_of_what_is_no_letter(
    board: Noticeboard, far: socket.socket
) -> None:
    board.send_back(letter("1", headers=UNSOLICITED), NO)
    board.send_back(letter("2", kind="publication"), NO)
    board.send_back(letter("3"), NO)
    assert read(far) == ["3"]


def test_an_earlier_life_is_told_nothing_and_whoever_is_behind_a_router_is_told_by_its_present_one(
    office: Office, board: Noticeboard, far: socket.socket
) -> None:
    bridge = office.open("bridge", 3, office.bind("bridge", 3))
    board.send_back(letter("1", life=2), NO)
    board.send_back(letter("2", "phone@bridge", 0), NO)
    board.send_back(letter("3", "bridge", 2), NO)
    told = bridge.get(0.0)
    assert told is not None
    assert (told.recipient, told.in_reply_to) == ("phone@bridge", "2")
    assert bridge.get(0.0) is None
    assert read(far) == []
