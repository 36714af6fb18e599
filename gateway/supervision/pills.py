"""Poison pills: one process has another one die, and is told once it has.

The victim ends in order, or is killed in time, as by an order
(`gateway.supervision.orders`), and is not restarted. One that does not run, or
waits for its start, is taken off the list. Whoever asked waits in its own
mailbox; here only the letters are kept, until that life is over.

Refused, by a bounce: names that nobody has (`AddressError`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.errors import AddressError
from gateway.mail.message import Message
from gateway.supervision.ending import Ending
from gateway.supervision.member import Member
from gateway.supervision.noticeboard import Noticeboard

WAITING = 64
"""Askers for one death that are told of it at the most; the first are forgotten."""


class Pills:
    """Who is to be told of whose death; the boss's thread is the only user."""

    def __init__(
        self,
        ending: Ending,
        board: Noticeboard,
        members: Mapping[str, Member],
        end: Callable[[Member, str], None],
    ) -> None:
        """``end`` has a life end in order, or be killed when it has had the time for it."""
        self._ending = ending
        self._end = end
        self._board = board
        self._members = members
        self._asked: dict[str, list[Message]] = {}

    def take(self, message: Message) -> None:
        """Have the process that ``message`` names die."""
        member = self._members.get(message.body)
        if member is None:
            there = ", ".join(sorted(self._members))
            reason = f"there is no process {message.body!r}; there are {there}"
            self._board.refuse(message, AddressError(reason))
            return
        why = f"{message.sender} gave it a poison pill"
        if member.runs:
            self._asked.setdefault(member.spec.name, []).append(message)
            del self._asked[member.spec.name][:-WAITING]
            member.after = "stop"
            self._end(member, why)
            return
        if member.state == "waiting":
            self._ending.give_up(member, why)
            self._board.tell_book()
        elif member.due is not None:
            member.due = None
            self._board.move(member, "stopped", why)
        self._board.answer(message, member.cause)

    def dead(self, member: Member, cause: str) -> None:
        """Tell those who asked for it that a life is over."""
        for message in self._asked.pop(member.spec.name, ()):
            self._board.answer(message, cause)
