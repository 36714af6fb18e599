"""How one life is ended: it is told to, by letter and by signal, and killed where it must be.

``death`` runs in whoever hears it in time. What begins a stop, and how long it
may take, is decided elsewhere (`gateway.supervision.shutdown` for everybody,
`gateway.supervision.orders` for one).

Refused: to kill a thread or a loop, which nobody can.
"""

from __future__ import annotations

import logging
import signal

from gateway.bus.office import Office
from gateway.errors import GatewayError, MailboxFullError, RecipientGoneError
from gateway.supervision.accounts import Accounts
from gateway.supervision.member import Member
from gateway.supervision.noticeboard import Noticeboard

log = logging.getLogger(__name__)

FORCED = 0.1
"""Seconds that a process added with ``force_stop`` is given between TERM and KILL."""


class Ending:
    """Ends lives, and the wait of those who have none yet."""

    def __init__(self, office: Office, board: Noticeboard, accounts: Accounts) -> None:
        self._office = office
        self._board = board
        self._accounts = accounts

    def tell_to_die(self, member: Member, why: str) -> None:
        """Have ``member`` end its life in order."""
        member.told_to_die = True
        self._board.move(member, "stopping", why)
        if member.process is not None:
            member.process.die()
        elif member.spec.mode == "fork":
            try:
                target = self._office.target(member.spec.name)
                target.deliver(self._board.control(member, "die", None), 0.0)
            except RecipientGoneError:
                # It is on its way out, as when everybody was sent a TERM at once.
                log.debug("%s ends already", member.spec.name)
            except MailboxFullError:
                # It reads nothing, and hears the signal.
                log.debug("%s reads nothing as it is told to end", member.spec.name)
            except (GatewayError, OSError) as error:
                # As where this OS process has no descriptor left; a TERM needs none.
                # As text: a record that is kept would keep what the error's frames hold.
                log.warning("%s could not be told to end: %s", member.spec.name, str(error))
            # A life that reads no mail just now, as in `light_sleep`, hears a signal.
            if member.pidfd >= 0:
                send_signal(member.pidfd, signal.SIGTERM)

    def give_up(self, member: Member, cause: str) -> None:
        """Close the mailbox of a life that never began."""
        # What was written to it in vain is bounced, and counted.
        self._accounts.close(member)
        self._board.move(member, "stopped", cause)


def send_signal(pidfd: int, number: int) -> None:
    """Send ``number``; who has been reaped meanwhile is fine."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        # Its pidfd says so in a moment.
        return
