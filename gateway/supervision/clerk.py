"""What the crew writes to the boss about mailboxes and topics.

Subscriptions, retained values, wills, further mailboxes of a router, which may
subscribe and declare as well, and who takes mail for other gateways. The boss's
thread is the only user. Refused: letters of a life that is over, without an answer,
since nobody is left to read it; mailboxes that are not behind whoever opens them
(`RefusedError`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import convert

from gateway.errors import RefusedError
from gateway.mail.message import Message
from gateway.supervision.accounts import Accounts
from gateway.supervision.member import Member
from gateway.supervision.noticeboard import Noticeboard
from gateway.supervision.order_bodies import Subscribing


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
        self.catch_up = catch_up
        self.handlers: dict[str, Callable[[Message], None]] = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "retain": self._retain,
            "will": self._will,
            "open": self._open_further,
            "close": self._close_further,
            "carry": self._carry,
            "sent-back": self._sent_back,
        }

    def sender(self, message: Message) -> Member | None:
        """Return the member that wrote, None where that life is over."""
        member = self._members.get(message.sender)
        if member is None or member.incarnation != message.sender_incarnation:
            return None
        return member if member.runs else None

    def _goes_on(self, message: Message) -> bool:
        """Tell whether the mailbox in whose name ``message`` was written is open still."""
        name = message.sender
        member = self._members.get(name.rpartition("@")[2])
        return (
            member is not None
            and member.incarnation == message.sender_incarnation
            and member.runs
            and (name == member.spec.name or name in member.mailboxes)
        )

    def _open_further(self, message: Message) -> None:
        member = self.sender(message)
        if member is None:
            return
        if not message.body.endswith(f"@{member.spec.name}"):
            raise RefusedError(f"{message.body!r} is not behind {member.spec.name!r}")
        if message.body in member.mailboxes:
            raise RefusedError(f"there is a mailbox {message.body!r} already")
        row = self._accounts.open_further(member, message.body)
        self._board.tell_book()
        self._board.answer(message, row)

    def _close_further(self, message: Message) -> None:
        member = self.sender(message)
        if member is not None and message.body in member.mailboxes:
            self._board.close(message.body)
            self._accounts.close_further(member, message.body)
            self._board.tell_book()

    def _carry(self, message: Message) -> None:
        """Let a router take the mail for other gateways; there is one at a time."""
        member = self.sender(message)
        if member is not None:
            self._board.carry(member.spec.name)
            self._board.answer(message, None)

    def _sent_back(self, message: Message) -> None:
        """Count what a process has sent back that its callbacks in forks may send back too."""
        self._accounts.sent_back(message.sender, message.sender_incarnation, message.body)

    def _subscribe(self, message: Message) -> None:
        self.catch_up()
        if self._goes_on(message):
            asked = convert(message.body, Subscribing)
            self._board.answer(
                message,
                self._board.subscribe(message.sender, asked["pattern"], asked["spool"]),
            )

    def _unsubscribe(self, message: Message) -> None:
        if self._goes_on(message):
            self._board.unsubscribe(message.sender, message.body)

    def _retain(self, message: Message) -> None:
        self._board.retain(message.body["message"], message.body["version"])

    def _will(self, message: Message) -> None:
        if self._goes_on(message):
            self._board.declare_will(message.sender, message.body["topic"], message.body["body"])
