"""``ps``: the boss is asked who there is, and each of them how it is.

All under one deadline, so that a process that is stuck shows as one that does
not answer, and holds up nobody. No I/O of its own: ``ask`` writes a letter
without waiting and returns its id, or raises.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from gateway.errors import GatewayError
from gateway.mail.message import Message
from gateway.process.process import STATISTICS

Ask = Callable[[str, str], str]


class RollCall:
    """One round of questions; over when `is_over`, or at ``deadline`` (monotonic seconds)."""

    def __init__(self, ask: Ask, *, boss: str, deadline: float, known: dict[str, Any]) -> None:
        """Begin; ``known`` are the statistics of who need not be asked."""
        self.deadline = deadline
        self.processes: list[dict[str, Any]] = []
        """What the boss said, each with ``answers`` and ``statistics``."""
        self.heard_boss = False
        self._ask = ask
        self._known = known
        self._asked: dict[str, dict[str, Any]] = {}
        self._boss_letter = ask(boss, "ps")

    @property
    def is_over(self) -> bool:
        """Whether everybody has been heard."""
        return self.heard_boss and not self._asked

    def take(self, message: Message) -> bool:
        """Take an answer in; tell whether it was one of ours."""
        asked = message.in_reply_to or ""
        if asked == self._boss_letter:
            if message.kind == "reply" and isinstance(message.body, list):
                self.heard_boss = True
                self._ask_everybody(message.body)
            return True
        process = self._asked.pop(asked, None)
        if process is None:
            return False
        if message.kind == "reply" and isinstance(message.body, dict):
            process.update(answers=True, statistics=message.body)
        return True

    def _ask_everybody(self, members: Iterable[Any]) -> None:
        for member in members:
            process = {**member, "answers": False, "statistics": None}
            self.processes.append(process)
            name = str(process.get("name", ""))
            if name in self._known:
                process.update(answers=True, statistics=self._known[name])
                continue
            if process.get("state") != "living":
                continue
            # One that has no room for the question shows as one that does not answer.
            with contextlib.suppress(GatewayError):
                self._asked[self._ask(name, STATISTICS)] = process
