"""Whether the loops progress, and what is done about one that does not.

The boss looks at threads itself; a forked child writes to it for as long as it
progresses (`gateway.supervision.pulse`). Of asyncio processes it sees whether
the loop that they share goes round: a coroutine that awaits holds nobody up,
one that blocks makes all of them stuck. External programs are not watched:
what they do with their time is not known here, and one that reads nothing
holds up those alone who write to it.

Who makes none for ``stuck_after`` seconds is *stuck*: the stacks of its OS
process go to the log, ``processes/<name>/events/stuck`` is published, once,
and then its spec's ``when_stuck`` holds. ``report`` does nothing more.
``restart`` kills a forked one a moment later, and its restart policy judges;
a thread or a loop cannot be killed, so systemd's watchdog is fed no more instead.

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

from gateway.supervision.ending import send_signal
from gateway.supervision.member import Member
from gateway.supervision.noticeboard import Noticeboard
from gateway.supervision.pulse import LOOKS, STACKS, LoopPulse, Pulse

log = logging.getLogger(__name__)


class Heartbeats:
    """What the boss does about loops; its thread is the only user."""

    def __init__(self, members: Mapping[str, Member], board: Noticeboard) -> None:
        self._members = members
        self._board = board
        self._next: float | None = None
        self.stuck = 0
        """How often somebody was found stuck."""

    def due(self) -> float | None:
        """Return when `step` is to be called next, in monotonic seconds."""
        return self._next

    def step(self, now: float) -> None:
        """Look at whoever is watched, at ``now`` (monotonic seconds)."""
        if self._next is not None and now < self._next:
            return
        watched = [
            member
            for member in self._members.values()
            if member.spec.stuck_after is not None and member.spec.mode != "external"
        ]
        every = min((m.spec.stuck_after or 0.0 for m in watched), default=0.0) / LOOKS
        held_up = self._next is not None and now > self._next + every
        self._next = now + every if watched else None
        for member in watched:
            if member.state not in ("starting", "living"):
                member.stuck = False
            elif not held_up:
                self._look(member, now)
            elif not member.stuck:
                member.progressed = now

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
        elif not member.stuck:
            self._found_stuck(member, seconds)
        elif member.spec.when_stuck == "restart" and member.pidfd >= 0:
            # Later than the order for its stacks, so that it could follow that.
            member.why = f"it made no progress for {seconds:.1f} s"
            send_signal(member.pidfd, signal.SIGKILL)

    def _found_stuck(self, member: Member, seconds: float) -> None:
        member.stuck = True
        self.stuck += 1
        name = member.spec.name
        if member.spec.mode != "fork":
            log.error("process %s made no progress for %.1f s\n%s", name, seconds, stacks())
        else:
            log.error("process %s made no progress for %.1f s; its stacks follow", name, seconds)
            # Before it has registered the signal would end it.
            if member.registered and member.pidfd >= 0:
                send_signal(member.pidfd, STACKS)
        body = {"seconds": seconds, "action": member.spec.when_stuck, "pid": member.pid}
        self._board.announce(f"processes/{name}/events/stuck", body)


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
