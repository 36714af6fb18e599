"""What lies between the session's thread and the route's is bounded, and answers have room left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import VirtualClock
from gateway.errors import SpoolError
from routes.mqtt.incoming import Incoming
from routes.mqtt.mail import Mail, _run
from routes.mqtt.mail_envelope import Letter, Taken, write
from routes.mqtt.mail_memory import MailMemory, Outgoing
from routes.mqtt.mail_settings import MailSettings


class Bus:
    """A route that is asked nothing here."""

    node = "kitchen-pi"


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[Mail]:
    bus: Any = Bus()
    mail = Mail(
        MailSettings(queue_bytes=4000),
        bus,
        file=tmp_path / "letters",
        clock=VirtualClock(),
        say=lambda topic, payload, **options: True,
        max_payload=3000,
    )
    yield mail
    mail.close()


def hear(mail: Mail, envelope: Any) -> None:
    mail.hear(Incoming("gateway/kitchen-pi/mail/living-pi", write(envelope)))


def letter(id: str) -> Letter:
    return Letter(id=id, sender="m", recipient="cook", subject="x", thread=id, body="x" * 800)


def test_letters_leave_room_to_answers_and_are_put_off(mail: Mail) -> None:
    for number in range(4):
        hear(mail, letter(str(number)))
    before = mail.statistics()["refused"]["busy"]
    assert 0 < before < 4
    for number in range(20):
        hear(mail, Taken(to=str(number)))
    assert mail.statistics()["refused"]["busy"] == before
    mail.turn()
    assert mail.statistics()["out"]["unasked"] == 20


def test_what_was_taken_out_makes_room(mail: Mail) -> None:
    for number in range(100):
        hear(mail, letter(str(number)))
        mail.turn()
    assert mail.statistics()["refused"] == {}
    assert mail.statistics()["in"] == {"not_allowed": 100}


def test_answers_are_bounded_as_well(mail: Mail) -> None:
    for number in range(200):
        hear(mail, Taken(to=str(number)))
    assert mail.statistics()["refused"]["busy"] > 0


def test_a_memory_that_fails_when_it_is_read_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outgoing(memory: MailMemory) -> list[Outgoing]:
        raise SpoolError("it cannot be read")

    bus: Any = Bus()
    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(MailMemory, "outgoing", outgoing)
    with pytest.raises(SpoolError) as raised:
        Mail(
            MailSettings(),
            bus,
            file=tmp_path / "letters",
            clock=VirtualClock(),
            say=lambda topic, payload, **options: True,
            max_payload=3000,
        )
    # What its frames hold is still there, and yet closed.
    assert raised.value.__traceback__ is not None
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_run_is_named_by_more_than_a_number_that_may_come_again() -> None:
    number, started = _run().split()
    assert number == str(os.getppid())
    assert started.isdigit()
