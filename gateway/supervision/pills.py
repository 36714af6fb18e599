"""Poison pills: one process has another one die, and is told once it has.

The victim ends in order and is not restarted. One that does not run, or waits
for its start, is taken off the list. Whoever asked waits in its own mailbox;
here only the letters are kept, until the life that they are about is over.

Refused, by a bounce: names that nobody has (`AddressError`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from gateway.bus.office import Office
from gateway.errors import AddressError, GatewayError
from gateway.mail.message import Message
from gateway.supervision.member import Member
from gateway.supervision.noticeboard import Noticeboard
from gateway.supervision.shutdown import give_up, tell_to_die

log = logging.getLogger(__name__)

WAITING = 64
"""Askers for one death that are told of it at the most; the first are forgotten."""


class Pills:
    """Who is to be told of whose death; the boss's thread is the only user."""

    def __init__(self, office: Office, board: Noticeboard, members: Mapping[str, Member]) -> None:
        self._office = office
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
            if not member.told_to_die:
                tell_to_die(self._office, self._board, member, why)
            return
        if member.state == "waiting":
            give_up(self._office, self._board, member, why)
            self._board.tell_book()
        elif member.due is not None:
            member.due = None
            self._board.move(member, "stopped", why)
        self._board.answer(message, member.cause, timeout=0.0)

    def dead(self, member: Member, cause: str) -> None:
        """Tell those who asked for it that a life is over."""
        for message in self._asked.pop(member.spec.name, ()):
            try:
                self._board.answer(message, cause, timeout=0.0)
            except GatewayError as error:
                log.debug("%s could not be told of a death: %s", message.sender, str(error))
