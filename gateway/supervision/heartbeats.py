"""Whether the loops progress, and what is done about one that does not.

The boss looks at threads itself; a forked child writes to it for as long as it
progresses (`gateway.supervision.pulse`). Of asyncio processes it sees whether
the loop that they share goes round: a coroutine that awaits holds nobody up,
one that blocks makes all of them stuck. External programs are not watched:
what they do with their time is not known here, and one that reads nothing
holds up those alone who write to it.

Who makes none for ``stuck_after`` seconds is *stuck*: the stacks of its OS
process go to the log, ``processes/<name>/events/stuck`` is published, once, and
``goes_on`` should it do so. Then its spec's ``when_stuck`` holds. ``report`` does nothing more.
``restart`` kills a forked one a moment later, and its restart policy judges;
a thread or a loop cannot be killed, so systemd's watchdog is fed no more instead.
A forked one has that moment to write down its stacks, which are logged here: one
that is stopped, or gets no time, writes none, and is not waited for.

A callback that waits for a reply, or sleeps, makes no progress meanwhile:
``stuck_after`` has to be longer than that. Refused: to judge anybody right
after the boss itself was held up; who was stuck before stays so until it is seen to go on.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import NamedTuple

from gateway.supervision.ending import send_signal
from gateway.supervision.member import Member
from gateway.supervision.noticeboard import Noticeboard
from gateway.supervision.pulse import LOOKS, STACKS, LoopPulse, Pulse
from gateway.supervision.stack_file import StackFile

log = logging.getLogger(__name__)

_STUCK = "process %s made no progress for %.1f s\n%s"

TELLING = 1.0
"""Seconds that a forked child has at the most to write down its stacks."""


class Ordered(NamedTuple):
    """The stacks of a forked child that was found stuck have been ordered."""

    name: str
    seconds: float
    file: StackFile
    due: float
    """When they are logged, on the monotonic clock."""


class Heartbeats:
    """What the boss does about loops; its thread is the only user."""

    def __init__(self, members: Mapping[str, Member], board: Noticeboard) -> None:
        self._members = members
        self._board = board
        self._next: float | None = None
        self._every = 0.0
        self._ordered: list[Ordered] = []
        self.stuck = 0
        """How often somebody was found stuck."""

    def due(self) -> float | None:
        """Return when `step` is to be called next, in monotonic seconds."""
        return self._next

    def step(self, now: float) -> None:
        """Look at whoever is watched, at ``now`` (monotonic seconds)."""
        if self._next is not None and now < self._next:
            return
        self.tell_stacks(now)
        watched = [
            member
            for member in self._members.values()
            if member.spec.stuck_after is not None and member.spec.mode != "external"
        ]
        self._every = min((m.spec.stuck_after or 0.0 for m in watched), default=0.0) / LOOKS
        held_up = self._next is not None and now > self._next + self._every
        self._next = now + self._every if watched else None
        for member in watched:
            if member.state not in ("starting", "living"):
                member.stuck = False
            elif not held_up:
                self._look(member, now)
            elif not member.stuck:
                member.progressed = now
        if self._ordered:
            first = min(order.due for order in self._ordered)
            self._next = first if self._next is None else min(self._next, first)

    def tell_stacks(self, now: float) -> None:
        """Log the stacks that were ordered and had time until ``now`` to be written."""
        due = [order for order in self._ordered if order.due <= now]
        for order in due:
            self._ordered.remove(order)
            said = order.file.take() or "it told no stacks: it is stopped, or gets no time"
            log.error(_STUCK, order.name, order.seconds, said)

    def required_progress(self) -> bool:
        """Tell whether the loops that must progress do."""
        return not any(
            member.stuck and member.spec.when_stuck == "restart"
            for member in self._members.values()
        )

    def _look(self, member: Member, now: float) -> None:
        if _beats(member):
            member.progressed = now
        seconds = now - member.progressed
        if seconds < (member.spec.stuck_after or 0.0):
            if member.stuck:
                member.stuck = False
                log.warning("process %s goes on", member.spec.name)
                body = {"pid": member.pid}
                self._board.announce(f"processes/{member.spec.name}/events/goes_on", body)
        elif not member.stuck:
            self._found_stuck(member, seconds, now)
        elif member.spec.when_stuck == "restart" and member.pidfd >= 0:
            if any(order.name == member.spec.name for order in self._ordered):
                # Somebody else's were due; its own are, at the next look.
                return
            member.why = f"it made no progress for {seconds:.1f} s"
            send_signal(member.pidfd, signal.SIGKILL)

    def _found_stuck(self, member: Member, seconds: float, now: float) -> None:
        member.stuck = True
        self.stuck += 1
        name = member.spec.name
        if member.spec.mode != "fork":
            log.error(_STUCK, name, seconds, stacks())
        elif not member.registered or member.pidfd < 0:
            # The signal would end it.
            log.error(_STUCK, name, seconds, "it told no stacks: it has not even registered")
        else:
            self._order_stacks(member, seconds, now)
        body = {"seconds": seconds, "action": member.spec.when_stuck, "pid": member.pid}
        self._board.announce(f"processes/{name}/events/stuck", body)

    def _order_stacks(self, member: Member, seconds: float, now: float) -> None:
        name = member.spec.name
        # One that is to be killed does not live longer for it than until the next look.
        is_killed = member.spec.when_stuck == "restart"
        due = now + (min(self._every, TELLING) if is_killed else TELLING)
        try:
            file = StackFile(member.pid)
        except OSError as error:
            # As text: a record that is kept would keep what the error's frames hold.
            log.error(_STUCK, name, seconds, f"its stacks cannot be read: {error.strerror}")
            return
        self._ordered.append(Ordered(name, seconds, file, due))
        send_signal(member.pidfd, STACKS)


def _beats(member: Member) -> bool:
    """Tell whether a loop of this OS process has progressed since it was last looked at."""
    if member.spec.mode == "thread" and member.box is not None:
        if not isinstance(member.pulse, Pulse):
            member.pulse = Pulse()
        return member.pulse.beats(member.box, member.process)
    if member.call_soon is not None:
        if not isinstance(member.pulse, LoopPulse):
            member.pulse = LoopPulse(member.call_soon)
        return member.pulse.beats()
    return False


def stacks() -> str:
    """Return the stack of every thread of this OS process."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    )
