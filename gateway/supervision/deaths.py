"""What happens when a life is over: everybody is told, its wills are said, its end is judged.

Of a forked life three things tell, in any order: its own last letter, the
pidfd of its OS process, which counts, and the fork server that reaped it and
knows the status. A life of another mode says so itself. The lock that a forked one
held tells before its pidfd that it is about to end: nobody waits for it from then on.

The boss's thread is the only user. Refused: what is said of a life that is over.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.mail.message import Message
from gateway.supervision.accounts import Accounts
from gateway.supervision.clerk import Clerk
from gateway.supervision.death_watch import DeathWatch, ends_of
from gateway.supervision.exit_status import in_words
from gateway.supervision.fork_server import Exited, Failed
from gateway.supervision.member import KILLED, Member
from gateway.supervision.noticeboard import Noticeboard
from gateway.supervision.restart import Verdict
from gateway.supervision.temporary import remove_folder

log = logging.getLogger(__name__)

_BY_ITSELF = "it ended by itself"
_GOES_ON = "it became another program, or its OS process cannot end"


class Deaths:
    """Judges the ends of lives, until the application stops."""

    def __init__(
        self,
        office: Office,
        box: Mailbox,
        board: Noticeboard,
        accounts: Accounts,
        clerk: Clerk,
        members: Mapping[str, Member],
        *,
        death_watch: DeathWatch | None,
        temporary: Path | None,
        is_stopping: Callable[[], bool],
        on_bound_end: Callable[[Member, str], None],
    ) -> None:
        """Call ``on_bound_end`` when somebody is over to whom the application is bound."""
        self._office = office
        self._monotonic = office.clock.monotonic
        self._box = box
        self._board = board
        self._accounts = accounts
        self._clerk = clerk
        self._members = members
        self._death_watch = death_watch
        self._temporary = temporary
        self._on_bound_end = on_bound_end
        self._is_stopping = is_stopping
        self.failed_death = ""
        """Whose ``death`` went wrong when no policy was left to judge it, and how."""

    # Who tells

    def begun(self, pids: Collection[int]) -> None:
        """OS processes have begun to end, as their locks say: nobody waits for them any longer.

        Their books stay open, and nobody is started anew, until the kernel has taken them
        apart. In that millisecond, or second at the most, the boss hears nobody: who knows
        of the death, and asks for a successor at once, finds the life ended.
        """
        self._clerk.catch_up()
        ending = {
            member.pidfd: member
            for member in self._members.values()
            if member.pid in pids and member.pidfd >= 0 and not member.said_dead
        }
        if not ending:
            return
        for member in ending.values():
            member.unread = member.why or KILLED
        self._board.tell_book()
        for pidfd in ends_of({pidfd: member.pid for pidfd, member in ending.items()}):
            self._judge(ending.pop(pidfd))
        for member in ending.values():
            member.unread = _GOES_ON
            self._board.tell_book()
            self._board.move(member, member.state, _GOES_ON)
            log.warning("%s takes no mail any more: %s", member.spec.name, _GOES_ON)

    def child_died(self, member: Member) -> None:
        """An OS process has ended, as its pidfd says."""
        self._clerk.catch_up()
        self._judge(member)

    def _judge(self, member: Member) -> None:
        """End a life whose OS process has ended, by what is known of it."""
        self._box.unwatch(member.pidfd)
        if self._death_watch is not None:
            self._death_watch.forget(member.pid)
        os.close(member.pidfd)
        member.pidfd = -1
        if member.said_dead:
            self.gone(member, member.cause, failed=member.cause != _BY_ITSELF)
        else:
            reaped = member.exit_status
            cause = KILLED if reaped is None else _cause_of(reaped)
            is_torn = member.level == "dying" and reaped != 0
            # Who is stopped by force has no time for its death, nor has a service: so they want it.
            if is_torn and self._is_stopping() and not member.spec.is_killed_in_death:
                self.failed_death = f"{member.spec.name}: {cause}"
            self.gone(member, member.why or cause, failed=True)

    def ended(self, message: Message) -> None:
        """A life ended and says how; a forked one's OS process is still on its way out."""
        member = self._clerk.sender(message)
        if member is None:
            return
        error = message.body["error"]
        member.said_dead = True
        self._accounts.note_dropped(member, message.body.get("dropped", {}))
        # What speaks for a program says there how that ended, which is by a signal for most.
        in_death = member.level == "dying" and member.spec.mode != "external"
        if error and in_death and self._is_stopping():
            self.failed_death = f"{member.spec.name}: {error}"
        if member.spec.mode == "fork":
            member.cause = error or _BY_ITSELF
            return
        if member.thread is not None:
            member.thread.join(1.0)
        self.gone(member, error or _BY_ITSELF, failed=bool(error))

    def exited(self, told: Exited) -> None:
        """The fork server has reaped a child and knows its status."""
        words = in_words(told.status)
        log.log(
            logging.INFO if told.status == 0 else logging.ERROR,
            "process %s ended: %s",
            told.name,
            words,
        )
        member = self._members.get(told.name)
        if member is None or member.incarnation != told.incarnation:
            return
        member.exit_status = told.status
        if not member.runs and member.cause == KILLED:
            # Now it is known how.
            self._board.move(member, member.state, _cause_of(told.status))

    def failed(self, told: Failed) -> None:
        """The fork server could not fork a child."""
        member = self._members.get(told.name)
        if member is not None and member.incarnation == told.incarnation and member.runs:
            self.gone(member, told.reason, failed=True)

    def server_died(self) -> None:
        """The fork server is gone: whom it was asked for, and has not told of, never comes."""
        for member in self._members.values():
            if member.spec.mode == "fork" and member.runs and member.pidfd < 0:
                self.gone(member, "the fork server died before it was made", failed=True)

    def end_unlived(self) -> None:
        """End a main process that was launched when nobody was left to run it.

        Who stops the application has run main's life, and said so, or never will.
        """
        for member in self._members.values():
            if member.runs and member.spec.mode == "thread" and member.thread is None:
                member.said_dead = True
                self.gone(member, "the application stopped before it lived", failed=False)

    # What follows

    def gone(self, member: Member, cause: str, *, failed: bool) -> None:
        """A life is over: tell everybody, say its wills, judge what follows."""
        name = member.spec.name
        # Once: who hears of this may begin the stop before all of it is done.
        is_stopping = self._is_stopping()
        died_without_death = not member.said_dead and member.incarnation > 0
        if not failed and member.why:
            cause = member.why
        after, member.after = member.after, "judge"
        member.state = "failed" if failed and after == "judge" else "stopped"
        member.forget_life()
        wills = self._board.leave(member)
        if member.spec.temporary_folder:
            assert self._temporary is not None
            remove_folder(self._temporary, name, member.incarnation)
        verdict = None
        if not is_stopping and after != "stop":
            verdict = (
                Verdict(0.0)
                if after == "restart"
                else member.restarts.ended(self._monotonic(), failed=failed)
            )
        # Before the book, which tells whoever writes to it why it is away.
        member.due, member.cause = None, cause
        if verdict is not None and verdict.delay is not None:
            member.due = self._monotonic() + verdict.delay
            if after == "restart":
                member.cause = "it is restarted by order"
            else:
                member.state = "degraded" if verdict.degraded else "failed" if failed else "ended"
        self._board.tell_book()
        self._accounts.close(member)
        # Who waits for this in `get` looks at it now: a stop goes on at once.
        self._box.wake()
        if failed:
            self._board.say_wills(name, wills)
        if died_without_death:
            self._board.announce(f"processes/{name}/events/died_without_death", {"cause": cause})
        self._board.move(member, member.state, member.cause)
        if verdict is None or verdict.delay is None:
            if member.spec.bound_shutdown and not is_stopping:
                log.warning("%s is over, and the application with it: %s", name, cause)
                self._on_bound_end(member, cause)
        elif after != "restart":
            level = logging.WARNING if failed else logging.INFO
            log.log(level, "%s: %s; restarted in %.1f s", name, cause, verdict.delay)


def _cause_of(status: int) -> str:
    """Return why a life is over that did not say so: by `os._exit`, unless a signal ended it."""
    return in_words(status) if status < 0 else f"it left without saying so: {in_words(status)}"
