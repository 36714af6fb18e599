"""Carries out one command for a device, and answers it exactly once.

Whatever the driver does with it, return, refuse, lose the link or have a bug,
its sender gets a reply or a bounce; what costs more than the command is raised
on to `gateway.hosting.driver_thread` after that. The commands are an API like
any other (`gateway.rpc`): its map is told also while the device is away, an
event is carried out and not answered. What takes a call back is passed over: a
command is over before the next letter is read, and one that waits expires.

Refused, by a bounce that says what would be right: a command that the driver
does not have (`UnknownApiError`), a body that does not fit it, mail that is no
letter. One that is past its expiry the mailbox does not hand out; it is bounced too.
"""

from __future__ import annotations

import difflib
import logging
import traceback
from collections.abc import Mapping
from typing import Any

from gateway.device.driver import Driver
from gateway.errors import (
    GatewayError,
    LinkLostError,
    RefusedError,
    UnknownApiError,
    in_words,
    remote_error,
)
from gateway.hosting.outside import Outside
from gateway.hosting.statistics import Statistics
from gateway.mail.message import CANCEL, MAP, Message, is_solicited
from gateway.mail.signature import Command
from gateway.process.whereabouts import handles_letters
from gateway.rpc.failure import DEEPEST

log = logging.getLogger(__name__)


class CommandDesk:
    """Where the commands of one device are carried out; used by its thread alone."""

    def __init__(self, name: str, outside: Outside, counts: Statistics) -> None:
        self._name = name
        self._outside = outside
        self._counts = counts
        self._kind: type[Driver] | None = None
        self._commands: Mapping[str, Command] = {}
        self._map: dict[str, Any] = {}

    def know(self, driver: Driver) -> None:
        """Note what ``driver`` can be told, for who asks while the device is away."""
        self._map = {
            name: {**command.describe(), "stream": False}
            for name, command in driver.commands().items()
        }

    @handles_letters
    def obey(self, driver: Driver, message: Message) -> None:
        """Carry out ``message`` and answer it.

        Raises `LinkLostError` where that cost the link, and whatever bug the
        driver has; its sender has been told by then.
        """
        try:
            if message.kind != "letter":
                raise RefusedError(f"{self._name} takes letters, and this is a {message.kind}")
            if type(driver) is not self._kind:
                self._kind, self._commands = type(driver), driver.commands()
            subject = message.subject
            command = self._commands.get(subject)
            if command is None:
                if self._takes_own(message):
                    return
                raise UnknownApiError(_no_such_command(self._name, driver, subject))
            self._answer(message, getattr(driver, subject)(**command.check(message.body)))
        except LinkLostError as error:
            self.bounce(message, error)
            raise
        except GatewayError as error:
            self.bounce(message, error)
        except BaseException as bug:
            where = "".join(traceback.format_exception(bug))[-DEEPEST:]
            reason = f"the driver raised {in_words(bug)}"
            self.bounce(message, remote_error(type(bug).__name__, reason, where))
            raise

    def decline(self, message: Message, error: GatewayError) -> None:
        """Answer ``message`` with ``error``, unless it can be answered without the device."""
        try:
            if message.kind == "letter" and self._takes_own(message):
                return
        except GatewayError as unheard:
            error = unheard
        self.bounce(message, error)

    def _takes_own(self, message: Message) -> bool:
        """Take what is not for the driver; tell whether it was that."""
        if message.subject == CANCEL:
            self._counts.told += 1
            return True
        if message.subject == MAP and self._map:
            self._answer(message, self._map)
            return True
        return False

    def _answer(self, message: Message, result: object) -> None:
        if not is_solicited(message):
            self._counts.told += 1
            return
        self._outside.reply(message, result)
        self._counts.answered += 1

    def bounce(self, message: Message, error: GatewayError) -> None:
        """Answer ``message`` with ``error``; count it where the house cannot take that."""
        self._counts.bounced += 1
        try:
            self._outside.bounce(message, error)
        except GatewayError as unheard:
            self._counts.unheard += 1
            log.warning("%s: bounce of %s was lost: %s", self._name, message.subject, unheard)


def _no_such_command(name: str, driver: Driver, subject: str) -> str:
    names = list(driver.commands())
    near = difflib.get_close_matches(subject, names, n=1)
    if near:
        return f"{name} has no command {subject!r}; did you mean {near[0]!r}?"
    return f"{name} has no command {subject!r}; it has {', '.join(sorted(names)) or 'none'}"
