"""Letters that clients wrote and that have no answer yet, by their message id.

Pure and without a lock; whoever owns it brings the time. Each call has a
deadline of its own, so that a recipient that never answers costs its caller
an error and nobody anything else. How many a client may have is the router's
to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.mail.message import Message
from routes.unix_socket.connection import Connection
from routes.unix_socket.protocol import Send


@dataclass(eq=False)
class Call:
    """One letter, whose it is, and until when its answer is of use (monotonic seconds)."""

    client: Connection
    request: Send
    letter: Message
    deadline: float
    doubted: bool = False
    """Whether its recipient was found dead; the answer may yet be on its way to us."""


class Calls:
    """All calls; a client's own count is kept with the client."""

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> None:
        """Remember ``call``."""
        self._calls[call.letter.message_id] = call
        call.client.calls += 1

    def take(self, message_id: str | None) -> Call | None:
        """Return the call that an answer to ``message_id`` ends, and forget it."""
        call = self._calls.pop(message_id or "", None)
        if call is not None:
            call.client.calls -= 1
        return call

    def expire(self, now: float) -> list[Call]:
        """Forget and return the calls whose deadline has come."""
        return self._remove([call for call in self._calls.values() if call.deadline <= now])

    def orphans(self, is_gone: Callable[[Message], bool]) -> list[Call]:
        """Forget and return the calls whose recipient has died, when asked for the second time.

        The first time they are only doubted: an answer that was written
        before the death may lie in our mailbox.
        """
        gone = [call for call in self._calls.values() if is_gone(call.letter)]
        sure = [call for call in gone if call.doubted]
        for call in gone:
            call.doubted = True
        return self._remove(sure)

    def forget(self, client: Connection) -> None:
        """Forget what ``client`` waited for: it has gone."""
        if client.calls:
            self._remove([call for call in self._calls.values() if call.client is client])

    def _remove(self, calls: list[Call]) -> list[Call]:
        for call in calls:
            self.take(call.letter.message_id)
        return calls
