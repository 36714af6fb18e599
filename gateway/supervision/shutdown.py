"""The end of an application: in waves against the dependencies, under one deadline.

Who depends on others ends before them. Everybody in a wave is told at once;
at the deadline all who still run are told, then sent a TERM, and `GRACE`
seconds later a KILL. Who was added with ``force_stop`` is killed `FORCED`
seconds after it was told, whatever its ``death`` does by then. A thread cannot
be killed: it is left behind, and named.

The main process has ended before, as a rule. Where it is late nobody waits for it: it is
interrupted, as by Ctrl-C, and once more at the deadline, at least `GRACE` seconds later. After
the emergency brake there are no waves; main has its time all the same. One that is hurried
waits for nobody.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping, Sequence

from gateway.supervision.ending import FORCED, Ending, send_signal
from gateway.supervision.heartbeats import stacks
from gateway.supervision.member import Member

log = logging.getLogger(__name__)

GRACE = 1.0
"""Seconds between TERM and KILL."""

_PRESSED = {
    "asyncio": ("it is cancelled", "it is cancelled once more"),
    "external": ("SIGTERM", "SIGKILL"),
}
"""What a TERM and a KILL are to a life whose OS process is everybody's, by its mode."""

_OUT_OF_REACH = (
    "it cannot be interrupted, since the signals are handled elsewhere, or it is not on the"
    " main thread: have it look at is_active, or leave SIGTERM to the application"
)


class Shutdown:
    """One stop of all members; the boss's thread calls `step` until it is over."""

    def __init__(
        self,
        ending: Ending,
        members: Mapping[str, Member],
        order: Sequence[Sequence[str]],
        timeout: float,
        *,
        main_by: float | None = None,
        monotonic: Callable[[], float],
    ) -> None:
        """Stop ``members`` within ``timeout`` seconds from now, by the clock ``monotonic``.

        Main's own time is over at ``main_by``, or else with that of the others.
        """
        self._ending = ending
        self._members = members
        # It is the boss's own: who is forgotten meanwhile stands there no more.
        self._order = order
        (main,) = order[-1]
        self._main = members[main]
        self._monotonic = monotonic
        self._deadline = monotonic() + timeout
        self._grace = GRACE
        self.at_once = False
        """Whether nobody waits for who depends on it."""
        self.main_is_over = False
        """Whether whoever ran main has left it: then there is nothing to be interrupted."""
        self._late: set[str] = set()
        """Who was told no sooner than at the deadline."""
        self._interrupted = 0
        self._interrupt_at = self._deadline if main_by is None else main_by
        """When main is interrupted next, or may be given up."""
        self._forced: dict[str, float] = {}
        self.terminated = False
        """Whether those who did not end in time were sent a TERM."""
        self.killed: list[str] = []
        """Who did not end in time, and had to be killed."""
        self._pressed: set[tuple[str, signal.Signals]] = set()

    def hurry(self) -> None:
        """Have all that run told now, and killed `FORCED` seconds later. For any thread."""
        self._grace = 0.0
        self._deadline = min(self._deadline, self._monotonic() + FORCED)

    def step(self) -> bool:
        """Do what the stop needs next; tell whether it is over."""
        now = self._monotonic()
        running = [member for member in self._members.values() if member.runs]
        if not running:
            for member in self._members.values():
                if member.state == "waiting":
                    self._ending.give_up(member, "the application stopped before it was started")
            return True
        self._end_main(now)
        for wave in reversed(self._order[:-1]):
            members = [self._members[name] for name in wave if self._members[name].runs]
            for member in members:
                if not member.told_to_die:
                    self._ending.tell_to_die(member, "the application stops")
                    if now >= self._deadline:
                        self._late.add(member.spec.name)
                if member.spec.force_stop:
                    self._force(member, now, FORCED)
                elif member.spec.grace is not None:
                    self._force(member, now, member.spec.grace)
            if members and now < self._deadline and self._grace and not self.at_once:
                break
        if now >= self._deadline:
            number = signal.SIGTERM if not self.terminated else signal.SIGKILL
            if not self.terminated or now >= self._deadline + self._grace:
                self.terminated = True
                for member in running:
                    if member.pidfd >= 0:
                        if self._is_first(member, number):
                            log.error("%s does not end: %s", member.spec.name, number.name)
                            if number == signal.SIGKILL:
                                self.killed.append(member.spec.name)
                        send_signal(member.pidfd, number)
                    else:
                        self._press(member, number)
            if self._is_over(now) or not any(self._is_to_be_awaited(member) for member in running):
                for member in running:
                    name = member.spec.name
                    if member is self._main:
                        held = "%s does not end, and holds up the end of the application\n%s"
                        log.critical(held, name, stacks())
                    elif member.pidfd < 0:
                        log.error("%s %s; its thread is left behind", name, member.hindrance())
                return True
        return False

    def _end_main(self, now: float) -> None:
        """Tell main to end, where it has not; interrupt it where it is late."""
        main = self._main
        if self.main_is_over or not main.runs:
            return
        if not main.told_to_die:
            self._ending.tell_to_die(main, "the application stops")
        # Whoever hurries has interrupted it.
        is_left = not self._grace or self._interrupted == 2
        if main.interrupt is not None and not is_left and now >= self._interrupt_at:
            self._interrupted += 1
            # However short the others' time is: the second one would cut off its death.
            is_first = self._interrupted == 1
            self._interrupt_at = max(self._deadline, now + GRACE) if is_first else now
            once_more = " once more" if self._interrupted > 1 else ""
            if main.interrupt():
                log.error("%s does not end: it is interrupted%s", main.spec.name, once_more)
            else:
                log.error("%s does not end: %s", main.spec.name, _OUT_OF_REACH)

    def _is_over(self, now: float) -> bool:
        """Tell whether nobody is awaited any longer, whoever still runs."""
        given_up = self._deadline + self._grace
        if self._grace:
            given_up = max(given_up, self._interrupt_at)
        return now >= given_up + GRACE

    def _force(self, member: Member, now: float, after: float) -> None:
        """Kill ``member`` once it was told to end ``after`` seconds ago."""
        if now < self._forced.setdefault(member.spec.name, now + after):
            return
        if member.pidfd >= 0:
            send_signal(member.pidfd, signal.SIGKILL)
        else:
            self._press(member, signal.SIGKILL)

    def _press(self, member: Member, number: signal.Signals) -> None:
        """Press a life that has no OS process to itself, once for each signal."""
        if member.hurry is not None and self._is_first(member, number):
            if not member.spec.force_stop:
                words = _PRESSED[member.spec.mode][number == signal.SIGKILL]
                log.error("%s %s: %s", member.spec.name, member.hindrance(), words)
                if number == signal.SIGKILL:
                    self.killed.append(member.spec.name)
            member.hurry(number)

    def _is_to_be_awaited(self, member: Member) -> bool:
        """Tell whether ``member``, which has not ended in time, may do so before all is over."""
        return (
            member.spec.mode != "thread" or member is self._main or member.spec.name in self._late
        )

    def _is_first(self, member: Member, number: signal.Signals) -> bool:
        """Tell whether ``number`` is new to ``member``, and note that it is no more."""
        before = len(self._pressed)
        self._pressed.add((member.spec.name, number))
        return len(self._pressed) > before
