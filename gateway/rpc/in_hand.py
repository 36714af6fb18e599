"""The calls that are being carried out here, and which of them nobody wants any more.

Control mail overtakes letters: what is taken back may be still to come, and is
remembered until then, `EARLY` of them at the most. Any thread may take back.

Refused: to take back what somebody else has called.
"""

from __future__ import annotations

import contextlib

from gateway.errors import CallCancelledError, ExpiredError
from gateway.mail.message import Message

EARLY = 1024
"""Calls that were taken back before they came, and are remembered, at the most."""

Owner = tuple[str, int, str]
"""Who called: the address, which life of it, and the route that brought it in."""


def owner_of(message: Message) -> Owner:
    """Return who wrote ``message``."""
    return message.sender, message.sender_incarnation, message.route


class InHand:
    """Calls by the ids of their letters.

    >>> letter = Message("1", "1", 1, 0.0, "main", "robot", "grip")
    >>> calls = InHand()
    >>> calls.begin(letter)
    >>> calls.take_back("1", owner_of(letter)), calls.is_taken_back(letter)
    (True, True)
    """

    def __init__(self) -> None:
        self._running: dict[str, Message] = {}
        self._taken_back: set[str] = set()
        self._early: dict[str, Owner] = {}

    def begin(self, message: Message) -> None:
        """Note that ``message`` is carried out, or waits for that, from now on."""
        self._running[message.message_id] = message

    def end(self, message: Message) -> None:
        """Note that it is over."""
        self._running.pop(message.message_id, None)
        if self._taken_back:
            self._taken_back.discard(message.message_id)

    def take_back(self, id: str, owner: Owner) -> bool:
        """Note that ``owner`` wants no answer to ``id``; tell whether it is carried out."""
        found = self._running.get(id)
        if found is None:
            self._early[id] = owner
            if len(self._early) > EARLY:
                # Another thread may do the same at this moment.
                with contextlib.suppress(StopIteration, KeyError, RuntimeError):
                    del self._early[next(iter(self._early))]
            return False
        if owner_of(found) != owner:
            return False
        self._note([id])
        return True

    def take_back_for(self, sender: str, incarnation: int) -> list[str]:
        """Take back what one life of ``sender`` has called; return the ids."""
        found = [
            id
            for id, message in list(self._running.items())
            if (message.sender, message.sender_incarnation) == (sender, incarnation)
        ]
        self._note(found)
        return found

    def take_all_back(self) -> list[str]:
        """Take everything back; return the ids."""
        found = list(self._running)
        self._note(found)
        return found

    def _note(self, ids: list[str]) -> None:
        self._taken_back.update(ids)
        for id in ids:
            if id not in self._running:
                # It ended this very moment, and nobody will come by for it any more.
                self._taken_back.discard(id)

    def was_early(self, message: Message) -> bool:
        """Tell, once, whether ``message`` was taken back before it came."""
        return bool(self._early) and self._early.pop(message.message_id, None) == owner_of(message)

    def is_taken_back(self, message: Message) -> bool:
        """Tell whether nobody wants the answer to ``message`` any more."""
        return message.message_id in self._taken_back

    def refuse_unwanted(self, message: Message, now: float) -> None:
        """Raise why ``message``, whose turn has come, is not carried out, if it is not.

        `ExpiredError` where it is too old by ``now``, in seconds of the monotonic clock,
        `CallCancelledError` where it was taken back.
        """
        if message.expiry is not None and message.expiry <= now:
            raise ExpiredError("too old when its turn came")
        if self.is_taken_back(message):
            raise CallCancelledError(f"{message.subject!r} was taken back before it began")

    def __len__(self) -> int:
        return len(self._running)
