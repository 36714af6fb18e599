"""How a letter that an errand could not answer goes back to whoever wrote it.

By way of the process that handed it over, which counts it as sent back, as it does what its
callbacks refuse in place. Where the life of that process is over nothing counts any more, and
the writer is told at once.

Refused: nothing but what finds no room in time, by `send_back` (`MailboxFullError`).
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from gateway.bus.notice import notice_of
from gateway.bus.office import Office
from gateway.errors import GatewayError, MailboxFullError
from gateway.mail.message import Message, bounce_of, is_solicited

log = logging.getLogger(__name__)


class Owner(NamedTuple):
    """The life of a process that handed a letter over."""

    name: str
    incarnation: int


def send_back(
    office: Office, owner: Owner, letter: Message, error: GatewayError, timeout: float
) -> None:
    """Have ``owner`` send ``letter`` back because of ``error``.

    Raises `MailboxFullError` where it had no room for ``timeout`` seconds.
    """
    notice = notice_of(letter, error, office.new_id(), office.clock.time(), *owner)
    try:
        office.answer(notice, timeout)
    except MailboxFullError:
        raise
    except GatewayError:
        tell_writer(office, letter, error, timeout)


def tell_writer(office: Office, letter: Message, error: GatewayError, timeout: float) -> None:
    """Tell whoever wrote ``letter`` of ``error``; one that cannot be told is not."""
    if letter.kind != "letter" or not is_solicited(letter):
        return
    bounce = bounce_of(letter, office.new_id(), office.clock.time(), error)
    try:
        office.answer(bounce, timeout)
    except GatewayError as failure:
        log.info("%s could not be told: %s", letter.sender, failure)
