"""Where the boss hears what is to be told to everybody: log levels, taps on the mail, the log.

The boss's thread is the only user. What cannot be done is bounced to whoever
asked; letters of a life that is over are left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from msgspec import convert, to_builtins

from gateway.bus.tapping import Tap
from gateway.errors import GatewayError
from gateway.mail.message import Message
from gateway.process.log_stream import LogStream
from gateway.supervision.noticeboard import Noticeboard

log = logging.getLogger(__name__)


class NoticeDesk:
    """Takes letters in for the board's `Notices`; ``is_current`` knows whose life goes on."""

    def __init__(
        self,
        board: Noticeboard,
        processes: Collection[str],
        is_current: Callable[[Message], bool],
        monotonic: Callable[[], float],
    ) -> None:
        self._board = board
        self._processes = processes
        self._is_current = is_current
        self._monotonic = monotonic
        self.handlers: dict[str, Callable[[Message], None]] = {
            "log-level": self._log_level,
            "tap": self._tap,
            "untap": self._untap,
            "renew": self._renew,
            "log-stream": self._log_stream,
        }

    @property
    def due(self) -> float | None:
        """When something is to be done, on the monotonic clock; None where nothing is."""
        return self._board.notices.due

    def end_leases(self) -> None:
        """End the taps that nobody renewed."""
        if self._board.notices.expire(self._monotonic()):
            log.warning("a tap on the mail is ended: its owner did not renew it")
            self._board.tell_book()
        if self._board.notices.end_stream(self._monotonic()):
            self._board.tell_book()

    def _log_level(self, message: Message) -> None:
        """Set a level, or, where none is given, only tell which there are."""
        notices, name, level = self._board.notices, message.body["name"], message.body["level"]
        try:
            if level:
                notices.set_level(
                    name,
                    level,
                    processes=self._processes,
                    loggers=logging.root.manager.loggerDict,
                )
                log.info("%s sets the log level of %s to %s", message.sender, name or "all", level)
                self._board.tell_book()
        except GatewayError as error:
            self._board.refuse(message, error)
        else:
            self._board.answer(message, to_builtins(notices.levels))

    def _tap(self, message: Message) -> None:
        if not self._is_current(message):
            return
        tap = convert(message.body["tap"], Tap)
        try:
            self._board.notices.tap(message.sender, message.body["id"], tap, self._monotonic())
        except GatewayError as error:
            self._board.refuse(message, error)
            return
        log.info("%s watches the mail", message.sender)
        self._board.tell_book()
        self._board.answer(message, None)

    def _untap(self, message: Message) -> None:
        if self._is_current(message) and self._board.notices.untap(message.sender, message.body):
            self._board.tell_book()

    def _log_stream(self, message: Message) -> None:
        if not self._is_current(message):
            return
        stream = convert(message.body["stream"], LogStream)
        notices, seconds = self._board.notices, message.body["seconds"]
        try:
            notices.stream_log(message.sender, stream, seconds, self._monotonic())
        except GatewayError as error:
            self._board.refuse(message, error)
            return
        self._board.tell_book()
        self._board.answer(message, None)

    def _renew(self, message: Message) -> None:
        if self._is_current(message):
            self._board.notices.renew(message.sender, self._monotonic())
