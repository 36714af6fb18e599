"""The desk of an application: who asks before it is open waits, who asks nobody is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf, nan
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.supervision.order_desk import OrderDesk


class Office:
    """Notes what it is to tell the boss."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    @contextmanager
    def ordering(self, box: Any, subject: str, body: Any) -> Iterator[str]:
        self.told.append((subject, body))
        yield subject


class Box:
    """Answers everything at once."""

    def wait_for(self, asked: str, timeout: float) -> Any:
        return type("Answer", (), {"body": f"{asked} is done"})


def test_who_asks_while_nothing_runs_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="does not run"):
        OrderDesk().ask("start", "arm", 60.0)


def test_who_asks_while_it_starts_is_answered_once_it_has() -> None:
    desk, office, answers = OrderDesk(), Office(), list[Any]()
    desk.await_opening()
    asker = threading.Thread(target=lambda: answers.append(desk.ask("start", "arm", 10.0)))
    asker.start()
    assert office.told == []
    desk.open(office, Box())  # type: ignore[arg-type]
    asker.join(10.0)
    assert answers == ["start is done"]
    assert office.told == [("start", "arm")]


def test_a_start_that_fails_leaves_nobody_waiting() -> None:
    desk, refusals = OrderDesk(), list[str]()
    desk.await_opening()

    def ask() -> None:
        try:
            desk.ask("start", "arm", 10.0)
        except ConfigError as error:
            refusals.append(str(error))

    asker = threading.Thread(target=ask)
    asker.start()
    desk.close()
    asker.join(10.0)
    assert "does not run" in refusals[0]


def test_it_waits_no_longer_than_it_was_given() -> None:
    desk = OrderDesk()
    desk.await_opening()
    with pytest.raises(ConfigError, match="does not run"):
        desk.ask("start", "arm", 0.01)


@pytest.mark.parametrize("timeout", [None, "5", True, inf, nan])
def test_what_is_no_timeout_is_refused_before_the_boss_is_told(timeout: Any) -> None:
    desk, office = OrderDesk(), Office()
    desk.open(office, Box())  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError), match="a timeout is a number of seconds"):
        desk.ask("stop", "arm", timeout)
    assert office.told == []


def test_on_an_event_loop_it_is_refused_before_anybody_waits() -> None:
    desk = OrderDesk()
    desk.await_opening()

    async def ask() -> None:
        desk.ask("start", "arm", 60.0)

    with pytest.raises(RuntimeError, match="hold up everybody on this event loop"):
        asyncio.run(ask())
