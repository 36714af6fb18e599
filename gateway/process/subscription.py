"""One pattern that a process subscribed to, its callback, and what that has seen.

Retained values may come twice, live and in the snapshot that answers a new
subscription, and in either order. Each subscription keeps for itself how new
the newest was, so that its callback gets every value once and never an older
one after a newer one; what another subscription has seen is no matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.mail.filters import Callback
from gateway.mail.message import Message
from gateway.mail.topic import matches


class Subscription:
    """Hands on what falls under its pattern and is news to it."""

    __slots__ = ("_call", "_latest", "callback", "pattern")

    def __init__(
        self, pattern: str, callback: Callback, call: Callable[[Message], Any] | None = None
    ) -> None:
        """Know it by ``callback``; called is ``call`` where that does more than ``callback``."""
        self.pattern = pattern
        self.callback = callback
        self._call = callback if call is None else call
        self._latest: dict[str, tuple[int, int]] = {}

    def offer(self, message: Message) -> None:
        """Call the callback with a publication that is for it."""
        if not matches(self.pattern, message.subject):
            return
        if message.retain:
            stamp = (message.sender_incarnation, message.thread_index)
            if stamp <= self._latest.get(message.subject, (-1, -1)):
                return
            self._latest[message.subject] = stamp
        self._call(message)

    def end(self) -> None:
        """Call the callback no more."""
        self._call = _nobody


def _nobody(message: Message) -> None:
    """Take what comes after the end, so that `offer` need not ask."""
