"""The newest of what is retained under topics, as this process has heard it.

Pure, and bounded as the boss's own archive is: one topic too many and the one
that was said longest ago is forgotten.
"""

from __future__ import annotations

from typing import Any

from gateway.mail.message import Message
from gateway.mail.topic import matches

LIMIT = 10_000
"""Topics at the most."""


class Retained:
    """Retained publications by topic."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._messages: dict[str, Message] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def take(self, message: Message) -> None:
        """Keep ``message`` if it is retained; an empty body ends the retention, as in MQTT."""
        if not message.retain:
            return
        known = self._messages.get(message.subject)
        # Two subscriptions may bring the same topic, one of them late.
        if known is not None and known.sender == message.sender and _stamp(message) < _stamp(known):
            return
        self._messages.pop(message.subject, None)
        if message.body is not None:
            self._messages[message.subject] = message
            if len(self._messages) > self._limit:
                del self._messages[next(iter(self._messages))]

    def under(self, pattern: str) -> list[Message]:
        """Return what is retained under ``pattern``, in the order of its times."""
        found = [kept for topic, kept in self._messages.items() if matches(pattern, topic)]
        return sorted(found, key=lambda kept: kept.time)

    def states(self, room: str) -> list[dict[str, Any]]:
        """Return the bodies of ``<room>/<name>/state``, each with its name, by name."""
        found = [
            {"name": kept.subject.split("/")[1], **kept.body}
            for kept in self.under(f"{room}/+/state")
            if isinstance(kept.body, dict)
        ]
        return sorted(found, key=lambda state: str(state["name"]))


def _stamp(message: Message) -> tuple[int, int]:
    return message.sender_incarnation, message.thread_index
