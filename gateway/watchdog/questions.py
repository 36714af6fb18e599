"""The routes are asked how they are, now and then, and nobody waits for them.

A question that is still open is not asked again: the mailbox of a route that is
stuck would fill with them. No I/O of its own: ``ask`` writes a letter and returns
its id, or raises a `GatewayError`. Time is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from gateway.errors import GatewayError
from gateway.mail.message import Message

PATIENCE = 10.0
"""Seconds after which a route that has not answered is said to be silent."""


class _Question(NamedTuple):
    route: str
    asked_at: float


class Questions:
    """Who has been asked, and has yet to answer."""

    def __init__(self, ask: Callable[[str], str]) -> None:
        self._ask = ask
        self._open: dict[str, _Question] = {}

    def __len__(self) -> int:
        return len(self._open)

    def ask(self, routes: Iterable[str], now: float) -> dict[str, str]:
        """Ask those of ``routes`` that owe no answer; return who could not be asked, and why."""
        owing = {question.route for question in self._open.values()}
        troubles = {}
        for route in routes:
            if route in owing:
                continue
            try:
                self._open[self._ask(route)] = _Question(route, now)
            except GatewayError as error:
                troubles[route] = str(error)
        return troubles

    def take(self, message: Message) -> str | None:
        """Return which route has answered with ``message``; None where it is no answer of ours."""
        question = self._open.pop(message.in_reply_to or "", None)
        return question.route if question is not None else None

    def silent(self, now: float) -> list[str]:
        """Return who has owed an answer for longer than `PATIENCE`."""
        return [each.route for each in self._open.values() if now - each.asked_at >= PATIENCE]

    def forget(self, alive: Iterable[str]) -> None:
        """Expect nothing any more of who is not ``alive``."""
        there = set(alive)
        self._open = {id: each for id, each in self._open.items() if each.route in there}
