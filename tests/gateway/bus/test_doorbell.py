"""A mailbox that rings for an owner who sleeps in somebody else's loop."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from gateway.bus.doorbell import Doorbell
from gateway.bus.self_pipe import SelfPipe
from gateway.clock import RealClock
from gateway.errors import RecipientGoneError
from gateway.mail.codec import encode
from gateway.mail.message import Message, reply_to

PATIENCE = 10.0


def letter(number: int = 1) -> Message:
    return Message(str(number), "1", 1, 0.0, "somebody", "main", "hello", number, incarnation=1)


class Doorbells:
    def __init__(self) -> None:
        mail, self.mail = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        urgent, self.urgent = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for used in (mail, urgent):
            used.setblocking(False)
        self.box = Doorbell("main", 1, clock=RealClock(), size=4, sockets=(mail, urgent))

    def rings(self, patience: float = 0.0) -> bool:
        return bool(select.select([self.box], [], [], patience)[0])

    def read(self) -> list[object]:
        """Do what an owner does that was rung for."""
        self.box.answer_bell()
        return [message.body for message in iter(self.box.get, None)]

    def close(self) -> None:
        self.box.close()
        self.mail.close()
        self.urgent.close()


@pytest.fixture
def door() -> Iterator[Doorbells]:
    made = Doorbells()
    yield made
    made.close()


def test_it_rings_for_whatever_comes_and_is_quiet_when_that_was_read(door: Doorbells) -> None:
    reading, writing = socket.socketpair()
    served: list[int] = []
    door.box.watch(reading.fileno(), lambda events: served.append(len(reading.recv(9))))
    assert not door.rings()
    for come in (
        lambda: door.box.deliver(letter()),
        lambda: door.mail.send(encode(letter())),
        lambda: door.urgent.send(encode(reply_to(letter(), "2", 0.0, 1))),
        lambda: writing.send(b"x"),
        door.box.wake,
    ):
        come()
        assert door.rings()
        door.read()
        # What woke it may have ended the look at the mail; a second one finds nothing.
        door.read()
        assert not door.rings()
    assert served == [1]
    reading.close()
    writing.close()


def test_no_letter_is_missed_by_an_owner_who_looks_only_when_it_rings(door: Doorbells) -> None:
    def write() -> None:
        for number in range(200):
            door.box.deliver(letter(number), PATIENCE)
            door.mail.send(encode(letter(1000 + number)))

    writer = threading.Thread(target=write)
    writer.start()
    got: list[object] = []
    while len(got) < 400:
        assert door.rings(PATIENCE), f"silent after {len(got)}"
        got += door.read()
    writer.join()
    assert [body for body in got if isinstance(body, int) and body < 1000] == list(range(200))


def test_it_rings_for_what_a_waiting_thread_has_read(door: Doorbells) -> None:
    asked = letter(7)
    answers: list[object] = []
    waiter = threading.Thread(
        target=lambda: answers.append(door.box.wait_for(asked, PATIENCE).body)
    )
    waiter.start()
    # A reply for which nobody waits, and then the one that ends the wait.
    door.urgent.send(encode(reply_to(letter(8), "b", 0.0, "unasked")))
    door.urgent.send(encode(reply_to(asked, "a", 0.0, "asked")))
    waiter.join()
    assert answers == ["asked"]
    assert door.rings(PATIENCE)
    assert door.read() == ["unasked"]


@pytest.fixture
def self_pipe() -> Iterator[SelfPipe]:
    handler = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    with SelfPipe() as made:
        yield made
    signal.signal(signal.SIGUSR1, handler)


def test_a_signal_rings_once(door: Doorbells, self_pipe: SelfPipe) -> None:
    door.box.hear_signals(self_pipe)
    signal.raise_signal(signal.SIGUSR1)
    assert door.rings()
    assert door.read() == []
    assert not door.rings()


def test_a_signal_rings_although_another_thread_has_heard_of_it(
    door: Doorbells, self_pipe: SelfPipe
) -> None:
    door.box.hear_signals(self_pipe)
    reader = threading.Thread(target=door.box.get, args=(PATIENCE,))
    reader.start()
    while not door.box._lead.asleep:
        os.sched_yield()
    for _ in range(3):
        signal.raise_signal(signal.SIGUSR1)
        # Its edge is told of once: the reader takes that.
        while door.box._lead.everything.poll(0):
            os.sched_yield()
        assert door.rings()
        door.box.answer_bell()
        assert not door.rings()
    door.box.wake()
    reader.join(PATIENCE)


def test_a_closed_one_rings_no_more(door: Doorbells) -> None:
    door.box.close()
    door.box.ring()
    door.box.wake()
    with pytest.raises(RecipientGoneError):
        door.box.deliver(letter())
