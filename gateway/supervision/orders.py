"""Start, stop and restart of one process while the others go on, and new ones.

An order is a control letter to the boss, which no router can write: ``start``,
``stop``, ``restart`` and ``poison_pill`` with a name, ``add`` with a member's
data (`gateway.supervision.starting`). It is answered when it has been carried
out: once the process lives, or has ended. One that orders this of itself is
answered at once, since it could not go on otherwise. A pill is a stop that the
main process may be given too, and that is answered with how its life ended; it may
say which life it means.

A start or a restart brings up what the process depends on, directly or not, where
that is over; who waits for one that is over again is told so. A stop or a restart
leaves those alone who depend on it: they see who is gone. An end
that takes longer than the application's ``shutdown_timeout`` is a KILL; a
thread cannot be killed, and the order fails; so it does where a coroutine that
was cancelled twice goes on. The program of an external one is killed.

Refused (`RefusedError`): orders about the main process, which `Application.stop`
ends, or about nobody (a pill's `AddressError`); more than `OPEN` orders at
once; whatever is open when the application stops, so that nobody who waits for
it is late for its own `death`.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Literal, NamedTuple

from gateway.errors import AddressError, RefusedError
from gateway.mail.message import Message
from gateway.supervision.ending import FORCED, Ending, send_signal
from gateway.supervision.member import DOES_NOT_END, Member
from gateway.supervision.noticeboard import Noticeboard

log = logging.getLogger(__name__)

OPEN = 256
"""Orders at the most that are being carried out."""

GRACE = 1.0
"""Seconds that a life on a loop has to end after it was pressed to."""

PRESSED = 2
"""How often it is pressed: the second time ends a `death` that takes too long as well."""


class _Order(NamedTuple):
    """An order that has yet to be answered."""

    message: Message
    member: Member
    goal: Literal["living", "ended", "dead"]
    """``dead`` is ``ended``, and answered with the cause."""
    incarnation: int
    """The first life that can fulfil it."""


class Orders:
    """Carries orders out, on the boss's thread."""

    def __init__(
        self,
        members: dict[str, Member],
        board: Noticeboard,
        ending: Ending,
        *,
        open_member: Callable[[Member], None],
        patience: float,
        untouchable: str,
        monotonic: Callable[[], float],
    ) -> None:
        """Give each end ``patience`` seconds; refuse orders about ``untouchable``."""
        self._members = members
        self._board = board
        self._ending = ending
        self._open_member = open_member
        self._patience = patience
        self._untouchable = untouchable
        self._monotonic = monotonic
        self._open: list[_Order] = []
        self._closed = ""
        self.done = 0
        """Orders that were carried out."""

    # What is ordered

    def start(self, message: Message) -> None:
        """Bring a process up."""
        member = self._named(message)
        if member.state == "stopping":
            self._restart(message, member)
            return
        if not member.runs:
            if member.state != "waiting":
                self._begin([member])
            self._begin_needed(member)
        self._note(message, member, "living", member.incarnation)

    def stop(self, message: Message) -> None:
        """End a process for good, until somebody starts it."""
        member = self._named(message)
        self._end_for_good(member, "it was told to stop")
        self._note(message, member, "ended", member.incarnation)

    def poison(self, message: Message) -> None:
        """End a process for good, be it the main one, and tell how it ended."""
        body = message.body
        name, life = (body, None) if isinstance(body, str) else (body["name"], body["life"])
        member = self._members.get(name)
        if member is None:
            raise AddressError(f"there is no process {name!r}; there are {self._known()}")
        if life not in (None, member.incarnation):
            raise AddressError(f"that life of {name!r} is over: another one has its name")
        self._refuse_too_many()
        self._end_for_good(member, f"{message.sender} gave it a poison pill")
        self._note(message, member, "dead", member.incarnation)

    def restart(self, message: Message) -> None:
        """End a process and bring it up again."""
        member = self._named(message)
        if not member.runs:
            self.start(message)
            return
        self.end(member, "it was told to restart")
        self._restart(message, member)

    def give_up(self, message: Message) -> None:
        """Owe no answer to an order that nobody waits for any longer; it is carried out."""
        given_up = message.sender, message.body
        self._open = [
            order
            for order in self._open
            if (order.message.sender, order.message.message_id) != given_up
        ]

    def end(self, member: Member, why: str) -> None:
        """Have ``member`` end in order, or be killed when it has had the time for it."""
        if not member.told_to_die:
            self._ending.tell_to_die(member, why)
            grace = self._patience if member.spec.grace is None else member.spec.grace
            member.stop_by = self._monotonic() + (FORCED if member.spec.force_stop else grace)

    def close(self, why: str) -> None:
        """Refuse what is open and whatever comes from now on; twice is fine."""
        self._closed = why
        for order in self._open:
            self._failed(order, why)
        self._open = []

    # In the boss's loop

    def step(self, now: float) -> None:
        """Kill who has had the time to end by ``now``; answer what was carried out."""
        for member in self._members.values():
            if member.until is not None and now >= member.until and member.runs:
                member.until = None
                member.why = f"its limit of {member.spec.limit:g} s was over"
                self.end(member, member.why)
            if member.stop_by is not None and now >= member.stop_by and member.runs:
                self._kill(member, now)
        if self._open:
            self._open = [order for order in self._open if not self._answered(order)]

    def due(self) -> float | None:
        """Return when `step` is to be called at the latest, in monotonic seconds."""
        return min(
            (
                when
                for member in self._members.values()
                if member.runs
                for when in (member.stop_by, member.until)
                if when is not None
            ),
            default=None,
        )

    # Within

    def _named(self, message: Message) -> Member:
        name = message.body
        member = self._members.get(name)
        if member is None:
            raise RefusedError(f"there is no process {name!r}; there are {self._known()}")
        if name == self._untouchable:
            raise RefusedError(f"{name!r} is the application: stop that as a whole")
        self._refuse_too_many()
        return member

    def _known(self) -> str:
        return ", ".join(sorted(self._members))

    def _refuse_too_many(self) -> None:
        if self._closed:
            raise RefusedError(self._closed)
        if len(self._open) >= OPEN:
            raise RefusedError(f"{OPEN} orders are being carried out already: wait for those")

    def _end_for_good(self, member: Member, why: str) -> None:
        was_due, member.due = member.due is not None, None
        if member.state == "waiting":
            self._ending.give_up(member, why)
            self._board.tell_book()
        elif member.runs:
            member.after = "stop"
            self.end(member, why)
        elif was_due or member.state != "stopped":
            self._board.move(member, "stopped", why)
            self._board.tell_book()

    def _restart(self, message: Message, member: Member) -> None:
        """Have another life follow that of ``member``, which ends."""
        member.after = "restart"
        self._begin_needed(member)
        self._note(message, member, "living", member.incarnation + 1)

    def _begin_needed(self, member: Member) -> None:
        """Bring up whatever ``member`` depends on that would not come by itself."""
        missing = self._missing(member)
        for other in missing:
            if other.state == "stopping":
                other.after = "restart"
        self._begin([other for other in missing if other.is_over])

    def _begin(self, members: list[Member]) -> None:
        for member in members:
            member.due = None
            self._open_member(member)
        if members:
            self._board.tell_book()

    def _missing(self, member: Member) -> list[Member]:
        """Return what ``member`` depends on, directly or not, and has to be waited for."""
        found: dict[str, Member] = {}
        open_ends = [member]
        while open_ends:
            for name in open_ends.pop().spec.depends:
                other = self._members[name]
                if name not in found and other.state not in ("starting", "living"):
                    found[name] = other
                    open_ends.append(other)
        return list(found.values())

    def _note(
        self,
        message: Message,
        member: Member,
        goal: Literal["living", "ended", "dead"],
        incarnation: int,
    ) -> None:
        if message.sender.rpartition("@")[2] == member.spec.name:
            self._board.answer(message, None)
            return
        order = _Order(message, member, goal, incarnation)
        if not self._answered(order):
            self._open.append(order)

    def _answered(self, order: _Order) -> bool:
        member, name = order.member, order.member.spec.name
        if order.goal != "living":
            if member.runs and member.incarnation == order.incarnation:
                return False
        elif member.incarnation < order.incarnation:
            # Only its next life can fulfil the order; it may never come.
            if member.runs or member.state == "waiting" or member.due is not None:
                return False
            return self._failed(order, f"{name!r} ended: {member.cause}")
        elif member.state == "stopped" and member.due is not None:
            # Somebody else had it restarted meanwhile.
            return False
        elif member.state in ("ended", "failed", "degraded", "stopped"):
            return self._failed(order, f"{name!r} does not live: {member.cause}")
        elif member.state == "waiting":
            for other in self._missing(member):
                if other.is_over:
                    needed = f"{other.spec.name!r}, which does not live: {other.cause}"
                    return self._failed(order, f"{name!r} waits for {needed}")
            return False
        elif member.state != "living":
            return False
        self.done += 1
        self._board.answer(order.message, member.cause if order.goal == "dead" else None)
        return True

    def _failed(self, order: _Order, why: str) -> bool:
        self._board.refuse(order.message, RefusedError(why))
        return True

    def _kill(self, member: Member, now: float) -> None:
        member.stop_by = None
        name = member.spec.name
        if member.pidfd >= 0:
            if not member.spec.force_stop:
                log.error("%s does not end: SIGKILL", name)
                member.why = "it was killed, since it did not end in time"
            send_signal(member.pidfd, signal.SIGKILL)
        elif member.spec.mode == "fork":
            # Its OS process is only being made.
            member.stop_by = now + FORCED
        elif member.hurry is not None and member.pressed < PRESSED:
            # What speaks for a program kills that; a coroutine is cancelled, its death as well.
            member.pressed += 1
            member.stop_by = now + GRACE
            if not member.spec.force_stop:
                log.error("%s %s: it is pressed", name, member.hindrance())
            member.hurry(signal.SIGKILL)
        else:
            what = "is a thread" if member.spec.mode == "thread" else "shares a loop"
            hindrance = member.hindrance()
            if hindrance == DOES_NOT_END:
                hindrance = f"{hindrance}, and {what}"
            log.error("%s %s: it cannot be killed", name, hindrance)
            self._open = [
                order
                for order in self._open
                if order.member is not member or not self._failed(order, f"{name!r} {hindrance}")
            ]

    def statistics(self) -> dict[str, int]:
        """Return how many orders were carried out, and how many are open."""
        return {"orders_done": self.done, "orders_open": len(self._open)}
