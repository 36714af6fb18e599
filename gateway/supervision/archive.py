"""What the boss keeps of topics: who subscribed, what is retained, whose will says what.

Retained values carry their owner's incarnation and sequence; an older one
never replaces a newer one. No I/O; the boss's thread is the only user.
Refused: more than `LIMIT` retained topics, by forgetting the oldest.
"""

from __future__ import annotations

from typing import Any

from gateway.bus.directory import Subscription
from gateway.bus.spool_terms import SpoolTerms
from gateway.mail.message import Message
from gateway.mail.topic import matches

LIMIT = 10_000
"""Retained topics at the most."""


class Archive:
    """Subscriptions, retained values and wills of one application."""

    def __init__(self) -> None:
        self.subscriptions: tuple[Subscription, ...] = ()
        self._retained: dict[str, Message] = {}
        self._wills: dict[str, dict[str, Any]] = {}

    def subscribe(
        self, mailbox: str, pattern: str, version: int, spool: SpoolTerms | None = None
    ) -> bool:
        """Add a subscription as of ``version``; tell whether it is new.

        One with a ``spool`` takes the place of that of an earlier life.
        """
        if spool is not None:
            self.unsubscribe(mailbox, pattern)
        elif any(
            (known.mailbox, known.pattern) == (mailbox, pattern) for known in self.subscriptions
        ):
            return False
        added = Subscription(mailbox, pattern, version, spool)
        self.subscriptions = (*self.subscriptions, added)
        return True

    def unsubscribe(self, mailbox: str, pattern: str) -> bool:
        """End a subscription; tell whether there was one."""
        kept = tuple(
            known
            for known in self.subscriptions
            if (known.mailbox, known.pattern) != (mailbox, pattern)
        )
        found = len(kept) < len(self.subscriptions)
        self.subscriptions = kept
        return found

    def keep(self, message: Message) -> bool:
        """Keep a retained value; tell whether it was newer than what was kept.

        An empty body (None) ends the retention, as in MQTT.
        """
        topic = message.subject
        known = self._retained.get(topic)
        if known is not None and known.sender == message.sender:
            stamp = (message.sender_incarnation, message.thread_index)
            if stamp <= (known.sender_incarnation, known.thread_index):
                return False
        self._retained.pop(topic, None)
        if message.body is not None:
            self._retained[topic] = message
            if len(self._retained) > LIMIT:
                del self._retained[next(iter(self._retained))]
        return True

    def retained(self, pattern: str) -> list[Message]:
        """Return the retained values under ``pattern``."""
        return [kept for topic, kept in self._retained.items() if matches(pattern, topic)]

    def declare_will(self, mailbox: str, topic: str, body: Any) -> None:
        """Note what is to be said on ``topic`` should ``mailbox``'s life end badly."""
        self._wills.setdefault(mailbox, {})[topic] = body

    def sequence(self, topic: str) -> tuple[int, int]:
        """Return the stamp of what is retained on ``topic``, to write a newer one."""
        known = self._retained.get(topic)
        return (known.sender_incarnation, known.thread_index) if known else (0, 0)

    def leave(self, mailbox: str) -> dict[str, Any]:
        """Forget a life's subscriptions and return its wills.

        One with a spool stands: what comes meanwhile waits for the next life.
        """
        self.subscriptions = tuple(
            known for known in self.subscriptions if known.mailbox != mailbox or known.spool
        )
        return self._wills.pop(mailbox, {})

    def statistics(self) -> dict[str, int]:
        """Return how many subscriptions, retained values and wills there are."""
        return {
            "subscriptions": len(self.subscriptions),
            "retained": len(self._retained),
            "wills": sum(map(len, self._wills.values())),
        }
