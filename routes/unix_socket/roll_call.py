"""``ps``: the boss is asked who there is, and each of them how it is.

All under one deadline, so that a process that is stuck shows as one that does
not answer, and holds up nobody. A question that is still open is not asked
again: a stuck process's mailbox would fill with them. No I/O of its own:
``ask`` writes a letter without waiting and returns its id, or raises.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from gateway.errors import GatewayError
from gateway.mail.message import Message
from gateway.process.correspondent import STATISTICS

Ask = Callable[[str, str], str]
"""Writes a subject to a recipient."""

Life = tuple[str, int]
"""A process's name and incarnation."""


class RollCall:
    """Rounds of questions, one at a time; over when `is_over`, or at `deadline`."""

    def __init__(self, ask: Ask, *, boss: str) -> None:
        self.is_under_way = False
        self.deadline = 0.0
        """When the round ends, in monotonic seconds."""
        self.heard_boss = False
        """Whether the boss has answered in this round."""
        self._ask = ask
        self._boss = boss
        self._boss_letter = ""
        self._own: dict[str, dict[str, Any]] = {}
        self._asked: dict[str, Life] = {}
        self._round: dict[Life, dict[str, Any]] = {}

    @property
    def is_over(self) -> bool:
        """Whether everybody has been heard."""
        return self.heard_boss and not any(life in self._round for life in self._asked.values())

    def begin(self, deadline: float, own: dict[str, dict[str, Any]]) -> None:
        """Begin a round; ``own`` are the statistics of who need not be asked.

        Raises a `GatewayError` where not even the boss can be asked.
        """
        if not self._boss_letter:
            self._boss_letter = self._ask(self._boss, "ps")
        self.deadline, self._own = deadline, own
        self.is_under_way, self.heard_boss = True, False
        self._round = {}

    def end(self) -> list[dict[str, Any]]:
        """End the round; return what the boss said, each with ``answers`` and ``statistics``."""
        processes = list(self._round.values())
        self.is_under_way, self._round = False, {}
        return processes

    def take(self, message: Message) -> bool:
        """Take an answer in; tell whether it was one of ours."""
        asked = message.in_reply_to or ""
        if asked == self._boss_letter:
            self._boss_letter = ""
            if self.is_under_way and message.kind == "reply" and isinstance(message.body, list):
                self.heard_boss = True
                self._ask_everybody(message.body)
            return True
        life = self._asked.pop(asked, None)
        if life is None:
            return False
        process = self._round.get(life)
        if process is not None and message.kind == "reply" and isinstance(message.body, dict):
            process.update(answers=True, statistics=message.body)
        return True

    def _ask_everybody(self, members: list[dict[str, Any]]) -> None:
        for member in members:
            life = (member["name"], member["incarnation"])
            self._round[life] = {**member, "answers": False, "statistics": None}
        # Whoever died does not answer any more.
        self._asked = {id: life for id, life in self._asked.items() if life in self._round}
        open_questions = set(self._asked.values())
        for life, process in self._round.items():
            name = life[0]
            if name in self._own:
                process.update(answers=True, statistics=self._own[name])
            elif process["state"] == "living" and life not in open_questions:
                # One that has no room for the question shows as one that does not answer.
                with contextlib.suppress(GatewayError):
                    self._asked[self._ask(name, STATISTICS)] = life
