"""What the crew writes to the boss about mailboxes and topics.

Subscriptions, retained values, wills, and further mailboxes of a router. The
boss's thread is the only user. Refused: letters of a life that is over, and
mailboxes that are not behind whoever opens them; both without an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.mail.message import Message
from gateway.supervision.accounts import Accounts
from gateway.supervision.member import Member
from gateway.supervision.noticeboard import Noticeboard


class Clerk:
    """Serves the crew at the noticeboard."""

    def __init__(
        self,
        members: Mapping[str, Member],
        board: Noticeboard,
        accounts: Accounts,
        catch_up: Callable[[], None],
    ) -> None:
        """``catch_up`` has the boss hear what was written before this moment."""
        self._members = members
        self._board = board
        self._accounts = accounts
        self._catch_up = catch_up
        self.handlers: dict[str, Callable[[Message], None]] = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "retain": self._retain,
            "will": self._will,
            "open": self._open_further,
            "close": self._close_further,
        }

    def sender(self, message: Message) -> Member | None:
        """Return the member that wrote, None where that life is over."""
        member = self._members.get(message.sender)
        if member is None or member.incarnation != message.sender_incarnation:
            return None
        return member

    def _open_further(self, message: Message) -> None:
        member = self.sender(message)
        if member is not None and message.body.endswith(f"@{member.spec.name}"):
            row = self._accounts.open_further(member, message.body)
            self._board.tell_book()
            self._board.answer(message, row)

    def _close_further(self, message: Message) -> None:
        member = self.sender(message)
        if member is not None and message.body in member.mailboxes:
            self._accounts.close_further(member, message.body)
            self._board.tell_book()

    def _subscribe(self, message: Message) -> None:
        self._catch_up()
        pattern, spool = message.body["pattern"], message.body["spool"]
        self._board.answer(message, self._board.subscribe(message.sender, pattern, spool))

    def _unsubscribe(self, message: Message) -> None:
        self._board.unsubscribe(message.sender, message.body)

    def _retain(self, message: Message) -> None:
        self._board.retain(message.body["message"], message.body["version"])

    def _will(self, message: Message) -> None:
        self._board.declare_will(message.sender, message.body["topic"], message.body["body"])
