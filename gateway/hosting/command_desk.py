"""Carries out one command for a device, and answers it exactly once.

Whatever the driver does with it, return, refuse, lose the link or have a bug,
its sender gets a reply or a bounce; what costs more than the command is raised
on to `gateway.hosting.driver_thread` after that.

Refused, by a bounce that says what would be right: a command that the driver
does not have, a body that does not fit it, mail that is no letter. One that is
past its expiry the mailbox does not hand out; it is bounced too.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping

from gateway.device.driver import Driver
from gateway.errors import GatewayError, LinkLostError, RefusedError
from gateway.hosting.outside import Outside
from gateway.hosting.statistics import Statistics
from gateway.mail.message import Message
from gateway.mail.signature import Command
from gateway.process.whereabouts import handles_letters

log = logging.getLogger(__name__)


class CommandDesk:
    """Where the commands of one device are carried out; used by its thread alone."""

    def __init__(self, name: str, outside: Outside, counts: Statistics) -> None:
        self._name = name
        self._outside = outside
        self._counts = counts
        self._kind: type[Driver] | None = None
        self._commands: Mapping[str, Command] = {}

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
                raise RefusedError(_no_such_command(self._name, driver, subject))
            result = getattr(driver, subject)(**command.check(message.body))
            self._outside.reply(message, result)
            self._counts.answered += 1
        except LinkLostError as error:
            self.bounce(message, error)
            raise
        except GatewayError as error:
            self.bounce(message, error)
        except BaseException as bug:
            self.bounce(message, GatewayError(f"the driver raised {in_words(bug)}"))
            raise

    def bounce(self, message: Message, error: GatewayError) -> None:
        """Answer ``message`` with ``error``; count it where the house cannot take that."""
        self._counts.bounced += 1
        try:
            self._outside.bounce(message, error)
        except GatewayError as unheard:
            self._counts.unheard += 1
            log.warning("%s: bounce of %s was lost: %s", self._name, message.subject, unheard)


def in_words(bug: BaseException) -> str:
    """Return a bug in one line, as a person is told it."""
    return f"{type(bug).__name__}: {bug}" if str(bug) else type(bug).__name__


def _no_such_command(name: str, driver: Driver, subject: str) -> str:
    names = list(driver.commands())
    near = difflib.get_close_matches(subject, names, n=1)
    if near:
        return f"{name} has no command {subject!r}; did you mean {near[0]!r}?"
    return f"{name} has no command {subject!r}; it has {', '.join(sorted(names)) or 'none'}"
