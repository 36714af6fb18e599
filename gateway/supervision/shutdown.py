"""The end of an application: in waves against the dependencies, under one deadline.

Who depends on others ends before them. Everybody in a wave is told at once;
at the deadline all who still run are told, then sent a TERM, and `GRACE`
seconds later a KILL. A thread cannot be killed: it is left behind, and named.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping, Sequence

from gateway.bus.office import Office
from gateway.errors import GatewayError, RecipientGoneError
from gateway.supervision.member import Member
from gateway.supervision.noticeboard import Noticeboard

log = logging.getLogger(__name__)

GRACE = 1.0
"""Seconds between TERM and KILL."""

_PRESSED = {signal.SIGTERM: "it is cancelled", signal.SIGKILL: "it is cancelled once more"}
"""What a signal is to a life on a loop, whose OS process is everybody's."""


class Shutdown:
    """One stop of all members; the boss's thread calls `step` until it is over."""

    def __init__(
        self,
        office: Office,
        board: Noticeboard,
        members: Mapping[str, Member],
        order: Sequence[Sequence[str]],
        timeout: float,
    ) -> None:
        """Stop ``members`` within ``timeout`` seconds from now."""
        self._office = office
        self._board = board
        self._members = members
        self._order = order
        self._monotonic = office.clock.monotonic
        self._deadline = self._monotonic() + timeout
        self.terminated = False
        """Whether those who did not end in time were sent a TERM."""
        self._pressed: set[tuple[str, signal.Signals]] = set()

    def step(self) -> bool:
        """Do what the stop needs next; tell whether it is over."""
        now = self._monotonic()
        running = [member for member in self._members.values() if member.runs]
        if not running:
            for member in self._members.values():
                if member.state == "waiting":
                    give_up(
                        self._office,
                        self._board,
                        member,
                        "the application stopped before it was started",
                    )
            return True
        for wave in reversed(self._order):
            members = [self._members[name] for name in wave if self._members[name].runs]
            for member in members:
                if not member.told_to_die:
                    tell_to_die(self._office, self._board, member, "the application stops")
            if members and now < self._deadline:
                break
        if now >= self._deadline:
            number = signal.SIGTERM if not self.terminated else signal.SIGKILL
            if not self.terminated or now >= self._deadline + GRACE:
                self.terminated = True
                for member in running:
                    if member.pidfd >= 0:
                        log.error("%s does not end: %s", member.spec.name, number.name)
                        send_signal(member.pidfd, number)
                    elif (
                        member.hurry is not None and (member.spec.name, number) not in self._pressed
                    ):
                        self._pressed.add((member.spec.name, number))
                        log.error("%s does not end: %s", member.spec.name, _PRESSED[number])
                        member.hurry(number)
            over = now >= self._deadline + 2 * GRACE
            if over or all(member.spec.mode == "thread" for member in running):
                for member in running:
                    if member.pidfd < 0:
                        log.error("%s does not end; its thread is left behind", member.spec.name)
                return True
        return False


def tell_to_die(office: Office, board: Noticeboard, member: Member, why: str) -> None:
    """Have ``member`` end its life in order."""
    member.told_to_die = True
    board.move(member, "stopping", why)
    if member.process is not None:
        member.process.die()
    elif member.spec.mode == "fork":
        try:
            target = office.target(member.spec.name)
            target.deliver(board.control(member, "die", None), 0.0)
        except RecipientGoneError:
            # It is on its way out, as when everybody was sent a TERM at once.
            log.debug("%s ends already", member.spec.name)
        except GatewayError as error:
            log.warning("%s could not be told to end: %s", member.spec.name, error)
        # A life that reads no mail just now, as in `light_sleep`, hears a signal.
        if member.pidfd >= 0:
            send_signal(member.pidfd, signal.SIGTERM)


def give_up(office: Office, board: Noticeboard, member: Member, why: str) -> None:
    """Close the mailbox of a life that never began."""
    if member.box is not None:
        office.close(member.box)
    if member.sockets is not None:
        office.inherit(member.spec.name, member.incarnation, member.sockets)
    member.box = member.sockets = None
    board.move(member, "stopped", why)


def send_signal(pidfd: int, number: signal.Signals) -> None:
    """Send ``number``; who has been reaped meanwhile is fine."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        # Its pidfd says so in a moment.
        return
