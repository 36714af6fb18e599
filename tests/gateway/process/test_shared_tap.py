"""One tap for several: opened with the first, renewed meanwhile, closed with the last."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast

import pytest

from gateway.bus.mailbox import Mailbox
from gateway.clock import RealClock, VirtualClock
from gateway.errors import CallTimeoutError
from gateway.process.mail_tap import RENEW_EVERY, Copy
from gateway.process.process import Process
from gateway.process.shared_tap import LEASE, SharedTap

ALL: dict[str, Any] = {"sender": "*", "recipient": "*", "subject": "*", "kinds": ()}


class Owner:
    """What a shared tap needs of its process, with a boss that may be late."""

    name = "door"

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.watched: dict[int, Callable[[int], None]] = {}
        self.is_boss_late = False
        self._box = self

    def open_mailbox(self, local: str, *, size: int, timeout: float) -> Mailbox:
        return Mailbox("tap@door", clock=RealClock())

    def close_mailbox(self, box: Mailbox) -> None:
        box.close()

    def watch(self, fd: int, callback: Callable[[int], None]) -> None:
        self.watched[fd] = callback

    def unwatch(self, fd: int) -> None:
        os.fstat(fd)  # it is not closed yet
        del self.watched[fd]

    def _tell_boss(self, subject: str, body: Any) -> str:
        self.told.append((subject, body["id"] if subject == "tap" else body))
        return subject

    def wait_for(self, asked: str, timeout: float) -> None:
        if self.is_boss_late:
            raise CallTimeoutError("the boss is late")


@pytest.fixture
def owner() -> Owner:
    return Owner()


def shared(owner: Owner, clock: VirtualClock) -> SharedTap:
    copies: list[Copy] = []
    return SharedTap(cast(Process, owner), clock, copies.extend)


def test_it_is_closed_with_the_last_of_them(owner: Owner) -> None:
    tap = shared(owner, VirtualClock())
    first, second = tap.begin(**ALL), tap.begin(**ALL)
    assert (first != second, len(owner.watched)) == (True, 1)
    tap.end(first)
    assert len(owner.watched) == 1
    tap.end(second)
    assert (owner.watched, tap.due) == ({}, None)
    third = tap.begin(**ALL)
    assert third not in (first, second)
    tap.close()
    assert owner.watched == {}


def test_what_a_late_boss_may_have_opened_is_taken_back_and_nothing_is_left(owner: Owner) -> None:
    tap = shared(owner, VirtualClock())
    owner.is_boss_late = True
    with pytest.raises(CallTimeoutError):
        tap.begin(**ALL)
    assert owner.told == [("tap", "1"), ("untap", "1")]
    assert (owner.watched, tap.due) == ({}, None)


def test_who_is_refused_costs_the_others_nothing(owner: Owner) -> None:
    tap = shared(owner, VirtualClock())
    tap.begin(**ALL)
    owner.is_boss_late = True
    with pytest.raises(CallTimeoutError):
        tap.begin(**ALL)
    assert len(owner.watched) == 1
    tap.close()


def test_it_is_renewed_when_that_is_due(owner: Owner) -> None:
    clock = VirtualClock()
    tap = shared(owner, clock)
    tap.renew(clock.monotonic() + 100.0)
    assert owner.told == []
    tap.begin(**ALL)
    due = clock.monotonic() + RENEW_EVERY
    assert tap.due == due
    tap.renew(due - 0.1)
    tap.renew(due)
    assert [subject for subject, _ in owner.told] == ["tap", "renew"]
    assert tap.due == due + RENEW_EVERY
    tap.close()


def test_who_renews_too_late_is_told_that_the_boss_has_ended_it(owner: Owner) -> None:
    clock = VirtualClock()
    tap = shared(owner, clock)
    tap.begin(**ALL)
    began = clock.monotonic()
    assert tap.renew(began + LEASE - 0.1)
    assert tap.renew(began + LEASE + 1.0)
    assert not tap.renew(began + 2 * LEASE + 1.0)
    tap.close()
    assert tap.renew(began + 9 * LEASE)
