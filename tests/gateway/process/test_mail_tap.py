"""Copies on their way from the tap's mailbox to who watches: all are shown or counted."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, cast

import pytest

from gateway.bus.mailbox import Mailbox
from gateway.clock import RealClock
from gateway.errors import CallTimeoutError, RecipientGoneError
from gateway.mail.message import Message
from gateway.process import mail_tap
from gateway.process.mail_tap import Copy, MailTap
from gateway.process.process import Process
from tests.lab.little_bus import LittleBus

PATIENCE = 10.0


class Owner:
    """What a tap needs of its process, and a boss that agrees to everything."""

    name = "door"

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.boss_is_gone = False
        self.mailbox = Mailbox("tap@door", clock=RealClock())
        self._box = self

    def open_mailbox(self, local: str, *, size: int, timeout: float) -> Mailbox:
        return self.mailbox

    def close_mailbox(self, box: Mailbox) -> None:
        box.close()
        self._tell_boss("close", box.name)

    def _tell_boss(self, subject: str, body: Any) -> str:
        if self.boss_is_gone:
            raise RecipientGoneError("the boss is gone")
        self.told.append((subject, body))
        return subject

    def wait_for(self, asked: str, timeout: float) -> None:
        assert timeout > 0


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def tap(owner: Owner) -> Iterator[MailTap]:
    tap = MailTap(cast(Process, owner))
    yield tap
    tap.close()


Hand = Callable[..., None]


@pytest.fixture
def hand(owner: Owner) -> Hand:
    """Let one OS process send the copies with these numbers."""

    def hand(id: str, source: str, *numbers: int) -> None:
        for number in numbers:
            copy = Message(
                f"{source}-{number}",
                "",
                number,
                0.0,
                "",
                "tap@door",
                f"door/{id}",
                {"n": number},
                kind="publication",
            )
            owner.mailbox.deliver(copy)

    return hand


def take(tap: MailTap, enough: Callable[[list[Copy]], bool]) -> list[Copy]:
    copies: list[Copy] = []
    while not enough(copies):
        ready, _, _ = select.select([tap], [], [], PATIENCE)
        assert ready, f"nothing more came after {copies[-3:]}"
        copies += tap.take()
    return copies


def sorted_in(tap: MailTap, number: int) -> None:
    """Wait until the tap's thread has sorted the copy ``number`` in."""
    deadline = monotonic() + PATIENCE
    while not (tap._copies and tap._copies[-1].content["n"] == number):
        assert monotonic() < deadline
        os.sched_yield()


def test_what_is_asked_of_the_boss_names_the_mailbox(owner: Owner, tap: MailTap) -> None:
    tap.follow("7", recipient="*@serial", kinds=("letter",))
    subject, body = owner.told[-1]
    assert (subject, body["id"]) == ("tap", "7")
    assert (body["tap"]["mailbox"], body["tap"]["recipient"]) == ("tap@door", "*@serial")
    tap.renew()
    tap.forget("7")
    assert owner.told[-2:] == [("renew", None), ("untap", "7")]


def test_what_is_missing_is_counted_for_each_tap_and_each_source(tap: MailTap, hand: Hand) -> None:
    hand("1", "a", 1, 2, 5)
    hand("1", "b", 3)
    hand("2", "a", 1)
    copies = take(tap, lambda copies: len(copies) == 5)
    assert [(copy.id, copy.missed) for copy in copies] == [
        ("1", 0),
        ("1", 0),
        ("1", 2),
        ("1", 2),
        ("2", 0),
    ]


def test_what_the_owner_is_too_slow_for_is_counted_before_what_is_left(
    tap: MailTap, hand: Hand
) -> None:
    most = mail_tap.SIZE
    for number in range(1, 3 * most + 1):
        hand("1", "a", number)
    sorted_in(tap, 3 * most)
    copies = take(tap, lambda copies: bool(copies) and copies[-1].content["n"] == 3 * most)
    assert len(copies) <= most
    assert len(copies) + sum(copy.missed for copy in copies) == 3 * most


def test_a_displaced_copy_is_told_when_its_tap_has_the_next_one(tap: MailTap, hand: Hand) -> None:
    hand("2", "a", 1)
    for number in range(1, mail_tap.SIZE + 1):
        hand("1", "a", number)
        sorted_in(tap, number)
    copies = take(tap, lambda copies: len(copies) >= mail_tap.SIZE)
    assert {copy.id for copy in copies} == {"1"}
    hand("2", "a", 2)
    (copy,) = take(tap, lambda copies: len(copies) == 1)
    assert (copy.id, copy.missed) == ("2", 1)


def test_without_a_boss_it_ends_all_the_same(owner: Owner, tap: MailTap) -> None:
    owner.boss_is_gone = True
    tap.renew()
    tap.forget("1")


def test_a_mailbox_that_the_boss_did_not_note_is_closed_again(tmp_path: Any) -> None:
    with LittleBus(tmp_path / "bus") as bus:
        owner = bus.run(Process, "door")
        # This boss answers no such thing; twice, since the first must leave nothing.
        for _ in range(2):
            with pytest.raises(CallTimeoutError):
                MailTap(owner, timeout=0.05)
