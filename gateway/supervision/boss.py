"""The supervisor: has the crew started, watches it, and tells everybody who is there.

It reads its own mailbox on a thread of its own. Each change of the crew or of
the subscriptions makes a new `Book`, which goes to every OS process at once;
so a death, noticed by pidfd in about a millisecond, ends the waits for whoever
died. A process that ended is judged by its restart policy. The stop goes in
waves, against the dependencies, under one deadline; then TERM, then KILL.

Each process's state is published, retained, on ``processes/<name>/state``.
Only letters of kind *control*, which no router can write, are obeyed.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from gateway.bus.baton import Leave
from gateway.bus.office import BOSS, Office
from gateway.errors import GatewayError, RefusedError
from gateway.mail.codec import encode
from gateway.mail.message import Message
from gateway.process.whereabouts import enter, handles_letters
from gateway.supervision.accounts import Accounts
from gateway.supervision.errands import Errands
from gateway.supervision.fork_server import Exited, ForkServer, Started, is_errand
from gateway.supervision.member import Member
from gateway.supervision.notice_desk import NoticeDesk
from gateway.supervision.noticeboard import Noticeboard
from gateway.supervision.pills import Pills
from gateway.supervision.restart import Restarts
from gateway.supervision.shutdown import GRACE, Shutdown, send_signal
from gateway.supervision.spec import ProcessSpec

log = logging.getLogger(__name__)

MAILBOX_SIZE = 4096

StartThread = Callable[[Member], threading.Thread | None]


class Boss:
    """Starts, watches, restarts and stops the crew."""

    def __init__(
        self,
        office: Office,
        specs: list[ProcessSpec],
        order: list[list[str]],
        fork_server: ForkServer | None,
        *,
        random: Random,
        start_thread: StartThread,
        make_thread: Callable[..., threading.Thread] = threading.Thread,
    ) -> None:
        self._office = office
        self._monotonic = office.clock.monotonic
        self._order = order
        self._fork_server = fork_server
        self._start_thread = start_thread
        self.members = {spec.name: Member(spec, Restarts(spec.restart, random)) for spec in specs}
        self._box = office.open(BOSS, 1, office.bind(BOSS, 1), size=MAILBOX_SIZE)
        self._board = Noticeboard(office, self._box, self.members)
        self._accounts = Accounts(office)
        self._notice_desk = NoticeDesk(
            self._board, self.members, lambda message: self._sender(message) is not None
        )
        self._errands = Errands(office, fork_server, _in_words)
        self._pills = Pills(office, self._board, self.members)
        self._shutdown: Shutdown | None = None
        self.brake = ""
        """Why the emergency brake was pulled; empty where it was not."""
        self.on_brake: Callable[[], None] = lambda: None
        self._thread = make_thread(target=self._run, name="boss", daemon=True)
        self._handlers: dict[str, Callable[[Message], None]] = {
            "register": self._register,
            "level": self._level,
            "pid": self._pid,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "retain": self._retain,
            "will": self._will,
            "ended": self._ended,
            "open": self._open_further,
            "close": self._close_further,
            "ebrake": self._ebrake,
            "ps": self._ps,
            **self._notice_desk.handlers,
            "run": self._errands.take,
            "poison_pill": self._pills.take,
        }

    # For the main thread

    def start(self) -> None:
        """Open every mailbox, tell the book, start who is to start by itself."""
        for member in self.members.values():
            if member.spec.autostart:
                self._open(member)
        self._board.tell_book()
        if self._fork_server is not None:
            self._box.watch(self._fork_server.fileno(), self._hear_fork_server)
        self._thread.start()

    def stop(self, timeout: float) -> list[str]:
        """End the crew within ``timeout`` seconds; return who had to be left behind."""
        self._shutdown = Shutdown(self._office, self._board, self.members, self._order, timeout)
        self._box.wake()
        self._thread.join(timeout + 3 * GRACE)
        return [name for name, member in self.members.items() if member.runs]

    # The boss's thread

    def _run(self) -> None:
        enter(BOSS)
        try:
            self._supervise()
        except Leave:
            # The simulation is over, and nobody is left to be supervised.
            raise
        except BaseException:
            # Nobody supervises the supervisor: whoever runs the application must know.
            log.exception("the boss failed")
            self._pull_brake("the boss failed; the log says why")

    def _supervise(self) -> None:
        if self._shutdown is None:
            self._start_due()
        while True:
            was_stopping = self._shutdown is not None
            message = self._box.get(self._until_next())
            if message is None and was_stopping:
                self._end_unlived()
            if message is not None:
                self._hear(message)
            if self._shutdown is not None:
                self._errands.stop()
                if self._shutdown.step():
                    self._errands.end("the application stopped")
                    return
            else:
                self._start_due()
                self._notice_desk.end_leases()
                self._errands.kill_late()

    @handles_letters
    def _hear(self, message: Message) -> None:
        handler = self._handlers.get(message.subject)
        if handler is None or (message.kind != "control" and message.subject != "ps"):
            log.warning("%s wrote %r to the boss", message.sender, message.subject)
            handler = self._refuse
        try:
            handler(message)
        except GatewayError as error:
            log.warning("boss: %s from %s: %s", message.subject, message.sender, error)

    def _refuse(self, message: Message) -> None:
        if message.kind == "letter":
            self._board.refuse(message, RefusedError("the boss takes orders from inside only"))

    def _catch_up(self) -> None:
        """Hear what was written before this moment: a death or a snapshot must not overtake it.

        Who subscribes comes last, so that what was retained before is in the
        snapshot.
        """
        letters = self._box.collect()
        for message in sorted(letters, key=lambda letter: letter.subject == "subscribe"):
            self._hear(message)

    def _until_next(self) -> float | None:
        if self._shutdown is not None:
            return 0.05
        due = [member.due for member in self.members.values() if member.due is not None]
        if (lease := self._notice_desk.due) is not None:
            due.append(lease)
        if (late := self._errands.due) is not None:
            due.append(late)
        return max(0.0, min(due) - self._monotonic()) if due else None

    def _start_due(self) -> None:
        now = self._monotonic()
        for wave in self._order:
            for name in wave:
                member = self.members[name]
                if member.due is not None and member.due <= now:
                    member.due = None
                    self._open(member)
                    self._board.tell_book()
                needed = (self.members[other].state for other in member.spec.depends)
                if member.state == "waiting" and all(state == "living" for state in needed):
                    self._launch(member)

    # Starting

    def _open(self, member: Member) -> None:
        """Give a member's next life its mailbox, so that mail can wait for it."""
        member.incarnation += 1
        member.said_dead = member.told_to_die = False
        spec = member.spec
        sockets = self._office.bind(spec.name, member.incarnation)
        if spec.mode == "fork":
            member.sockets = sockets
            self._accounts.open(member)
        else:
            member.box = self._office.open(
                spec.name,
                member.incarnation,
                sockets,
                size=spec.mailbox_size,
                order=spec.mailbox_order,
                policy=spec.mailbox_policy,
            )
        self._board.move(member, "waiting", "waits for what it depends on")

    def _launch(self, member: Member) -> None:
        self._board.move(member, "starting", "it was started")
        spec = member.spec
        if spec.mode == "fork":
            assert member.row is not None
            assert member.sockets is not None
            assert self._fork_server is not None
            try:
                self._fork_server.spawn(spec.name, member.incarnation, member.sockets, member.row)
            except GatewayError as error:
                self._gone(member, str(error), failed=True)
        else:
            member.thread = self._start_thread(member)

    def _hear_fork_server(self, events: int) -> None:
        assert self._fork_server is not None
        told = self._fork_server.receive()
        if told is None:
            self._box.unwatch(self._fork_server.fileno())
            self._errands.end("the fork server died")
            if self._shutdown is None:
                self._pull_brake("the fork server died: nothing can be restarted any more")
            return
        if is_errand(told.name):
            self._errands.hear(told)
            return
        member = self.members[told.name]
        if isinstance(told, Started):
            if told.incarnation != member.incarnation or not member.runs:
                os.close(told.pidfd)
                return
            member.pid, member.pidfd = told.pid, told.pidfd
            self._box.watch(told.pidfd, partial(self._child_died, member))
            if self._shutdown is not None and self._shutdown.terminated:
                send_signal(told.pidfd, signal.SIGTERM)
        elif isinstance(told, Exited):
            log.log(
                logging.INFO if told.status == 0 else logging.ERROR,
                "process %s ended: %s",
                told.name,
                _in_words(told.status),
            )
            if member.incarnation == told.incarnation and not member.runs and told.status:
                member.cause = _in_words(told.status)
        else:
            self._gone(member, told.reason, failed=True)

    # Deaths

    def _child_died(self, member: Member, events: int) -> None:
        self._box.unwatch(member.pidfd)
        os.close(member.pidfd)
        member.pidfd = -1
        self._catch_up()
        if member.said_dead:
            self._gone(member, member.cause, failed=member.cause != _ENDED)
        else:
            self._gone(member, "its OS process was killed or crashed", failed=True)

    def _ended(self, message: Message) -> None:
        """A life ended and says how; a forked one's OS process is still on its way out."""
        member = self._sender(message)
        if member is None:
            return
        error = message.body["error"]
        member.said_dead = True
        if member.spec.mode == "fork":
            member.cause = error or _ENDED
            return
        if member.thread is not None:
            member.thread.join(1.0)
        self._gone(member, error or _ENDED, failed=bool(error))

    def _gone(self, member: Member, cause: str, *, failed: bool) -> None:
        """A life is over: tell everybody, say its wills, judge what follows."""
        name = member.spec.name
        died_without_death = not member.said_dead and member.incarnation > 0
        member.state = "failed" if failed else "stopped"
        member.process = None
        member.thread = None
        member.hurry = None
        member.pid = 0
        wills = self._board.leave(member)
        stopping = self._shutdown is not None or member.told_to_die
        verdict = None if stopping else member.restarts.ended(self._monotonic(), failed=failed)
        self._board.tell_book()
        self._accounts.close(member)
        self._pills.dead(member, cause)
        # Who waits for this in `get` looks at it now: a stop goes on at once.
        self._box.wake()
        if failed:
            self._board.say_wills(name, wills)
        if died_without_death:
            self._board.announce(f"processes/{name}/events/died_without_death", {"cause": cause})
        if verdict is None or verdict.delay is None:
            member.due = None
            self._board.move(member, member.state, cause)
            return
        member.due = self._monotonic() + verdict.delay
        log.warning("%s: %s; restarted in %.1f s", name, cause, verdict.delay)
        self._board.move(member, "degraded" if verdict.degraded else "failed", cause)

    # Orders

    def _register(self, message: Message) -> None:
        member = self._sender(message)
        if member is not None:
            member.pid = message.body
            self._board.answer(message, encode(self._office.book))

    def _open_further(self, message: Message) -> None:
        member = self._sender(message)
        if member is not None and message.body.endswith(f"@{member.spec.name}"):
            row = self._accounts.open_further(member, message.body)
            self._board.tell_book()
            self._board.answer(message, row)

    def _close_further(self, message: Message) -> None:
        member = self._sender(message)
        if member is not None and message.body in member.mailboxes:
            self._accounts.close_further(member, message.body)
            self._board.tell_book()

    def _subscribe(self, message: Message) -> None:
        self._catch_up()
        self._board.answer(message, self._board.subscribe(message.sender, message.body))

    def _unsubscribe(self, message: Message) -> None:
        self._board.unsubscribe(message.sender, message.body)

    def _retain(self, message: Message) -> None:
        self._board.retain(message.body["message"], message.body["version"])

    def _will(self, message: Message) -> None:
        self._board.declare_will(message.sender, message.body["topic"], message.body["body"])

    def _level(self, message: Message) -> None:
        member = self._sender(message)
        if member is not None and message.body == "living" and member.state == "starting":
            self._board.move(member, "living", "its birth is over")

    def _pid(self, message: Message) -> None:
        """Note in which OS process of its own, an external program, a member does its work."""
        member = self._sender(message)
        if member is not None:
            member.pid = message.body

    def _ebrake(self, message: Message) -> None:
        self._pull_brake(f"{message.sender}: {message.body}")

    def _pull_brake(self, reason: str) -> None:
        if not self.brake:
            self.brake = reason
            log.critical("emergency brake: %s", reason)
            self.on_brake()

    def _ps(self, message: Message) -> None:
        # Whoever does not read its replies must not hold up the supervisor.
        self._board.answer(
            message, [self._describe(member) for member in self.members.values()], timeout=0.0
        )

    def _describe(self, member: Member) -> dict[str, Any]:
        return {**member.describe(), "ledger": self._accounts.balance(member)._asdict()}

    # Stopping

    def _end_unlived(self) -> None:
        """End a main process that was launched when nobody was left to run it.

        Who stops the application has run main's life, and said so, or never will.
        """
        for member in self.members.values():
            if member.runs and member.spec.mode == "thread" and member.thread is None:
                if member.box is not None:
                    self._office.close(member.box)
                member.said_dead = True
                self._gone(member, "the application stopped before it lived", failed=False)

    def _sender(self, message: Message) -> Member | None:
        """Return the member that wrote, None where that life is over."""
        member = self.members.get(message.sender)
        if member is None or member.incarnation != message.sender_incarnation:
            return None
        return member


_ENDED = "it ended by itself"


def _in_words(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
