"""The routes are asked how they are, now and then, and nobody waits for them.

A question that is still open is not asked again: the mailbox of a route that is
stuck would fill with them. One that was put to a life which is over is: it went
with that life. No I/O of its own: ``ask`` writes a letter and returns
its id, or raises a `GatewayError`. Time is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gateway.errors import GatewayError
from gateway.mail.message import Message

PATIENCE = 10.0
"""Seconds after which a route that has not answered is said to be silent."""


class _Question(NamedTuple):
    route: str
    life: object
    asked_at: float


class Questions:
    """Who has been asked, and has yet to answer."""

    def __init__(self, ask: Callable[[str], str]) -> None:
        self._ask = ask
        self._open: dict[str, _Question] = {}

    def __len__(self) -> int:
        return len(self._open)

    def ask(self, routes: Mapping[str, object], now: float) -> dict[str, str]:
        """Ask those of ``routes`` that owe no answer; return who could not be asked, and why.

        ``routes`` says of each which life of it this is, by whatever is another for another.
        Nothing is expected any more of who is not among them, or lives anew.
        """
        self._open = {
            id: each
            for id, each in self._open.items()
            if each.route in routes and routes[each.route] == each.life
        }
        owing = {question.route for question in self._open.values()}
        troubles = {}
        for route, life in routes.items():
            if route in owing:
                continue
            try:
                self._open[self._ask(route)] = _Question(route, life, now)
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
