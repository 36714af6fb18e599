"""The supervisor: has the crew started, watches it, and tells everybody who is there.

It reads its own mailbox on a thread of its own. Each change of the crew or of
the subscriptions makes a new `Book`, which goes to every OS process at once;
so a death, noticed by pidfd in about a millisecond, ends the waits for whoever
died. A process that ended is judged by its restart policy. The stop goes in
waves, against the dependencies, under one deadline; then TERM, then KILL.

A crew member's OS process registers, is given the book with the answer, hears
of every newer one, and says how it ended; by then, or without it, its pidfd
tells. Each process's state is published, retained, on
``processes/<name>/state``. Where the gateway is a unit of systemd, that is told.

Only letters of kind *control*, which no router can write, are obeyed; ``ps``
and ``$statistics`` are answered to everybody. Refused, with a bounce: whatever
else is written to it.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from gateway.bus.baton import Leave
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import BOSS, Office
from gateway.errors import GatewayError, RefusedError
from gateway.mail.codec import encode
from gateway.mail.message import Message
from gateway.process.correspondent import STATISTICS
from gateway.process.whereabouts import enter, handles_letters
from gateway.supervision.accounts import Accounts
from gateway.supervision.clerk import Clerk
from gateway.supervision.ending import Ending, send_signal
from gateway.supervision.errands import Errands
from gateway.supervision.fork_server import Exited, ForkServer, Started, is_errand
from gateway.supervision.heartbeats import Heartbeats
from gateway.supervision.member import Member
from gateway.supervision.notice_desk import NoticeDesk
from gateway.supervision.noticeboard import Noticeboard
from gateway.supervision.order import waves
from gateway.supervision.orders import Orders
from gateway.supervision.pills import Pills
from gateway.supervision.recruit import spec_of
from gateway.supervision.restart import Restarts, Verdict
from gateway.supervision.shutdown import GRACE, Shutdown
from gateway.supervision.spec import ProcessSpec, refuse_in_simulation
from gateway.supervision.systemd import Systemd
from gateway.supervision.temporary import make_folder, remove_folder

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
        temporary: Path | None = None,
        patience: float = 10.0,
        systemd: Systemd | None = None,
        mailboxes: Mapping[str, type[Mailbox]] | None = None,
    ) -> None:
        """Supervise what ``specs`` say; ``order`` has the names in waves, the main one's last.

        Without a ``fork_server``, as in a simulation, there are threads alone.
        ``temporary`` is where folders are made for those that want one.
        ``patience`` is how long one process may take to end by order, in
        seconds. ``mailboxes`` names those that want a mailbox of another kind.
        """
        self._office = office
        self._monotonic = office.clock.monotonic
        self._order = order
        self._fork_server = fork_server
        self._start_thread = start_thread
        self._random = random
        self._temporary = temporary
        self._mailboxes = mailboxes or {}
        self._systemd = systemd or Systemd()
        (self._main,) = order[-1]
        self.members = {spec.name: Member(spec, Restarts(spec.restart, random)) for spec in specs}
        self._box = office.open(BOSS, 1, office.bind(BOSS, 1), size=MAILBOX_SIZE)
        self._board = Noticeboard(office, self._box, self.members)
        self._accounts = Accounts(office)
        self._ending = Ending(office, self._board, self._accounts)
        self._orders = Orders(
            self.members,
            self._board,
            self._ending,
            open_member=self._open,
            patience=patience,
            untouchable=self._main,
            monotonic=self._monotonic,
        )
        self._clerk = Clerk(self.members, self._board, self._accounts, self._catch_up)
        self._notice_desk = NoticeDesk(
            self._board,
            self.members,
            lambda message: self._clerk.sender(message) is not None,
            self._monotonic,
        )
        self._heartbeats = Heartbeats(self.members, self._board)
        self._errands = Errands(office, fork_server, _in_words)
        self._pills = Pills(self._ending, self._board, self.members, self._orders.end)
        self._shutdown: Shutdown | None = None
        self._unknown = 0
        self.bound_failure = ""
        """Why a process to which the application is bound failed; empty where none did."""
        self.on_bound_end: Callable[[], None] = lambda: None
        self.brake = ""
        """Why the emergency brake was pulled; empty where it was not."""
        self.on_brake: Callable[[], None] = lambda: None
        self._thread = make_thread(target=self._run, name="boss", daemon=True)
        self._handlers: dict[str, Callable[[Message], None]] = {
            "register": self._register,
            "level": self._level,
            "pid": self._pid,
            "ended": self._ended,
            "ebrake": self._ebrake,
            "progress": self._progress,
            "start": self._orders.start,
            "stop": self._orders.stop,
            "restart": self._orders.restart,
            "add": self._add,
            "run": self._errands.take,
            "poison_pill": self._pills.take,
            **self._clerk.handlers,
            **self._notice_desk.handlers,
        }
        self._questions: dict[str, Callable[[], Any]] = {
            "ps": lambda: [self._describe(member) for member in self.members.values()],
            STATISTICS: self.statistics,
        }

    # For the main thread

    def start(self) -> None:
        """Open every mailbox, tell the book, start who is to start by itself."""
        for member in self.members.values():
            self._enlist(member)
        self._board.tell_book()
        if self._fork_server is not None:
            self._box.watch(self._fork_server.fileno(), self._hear_fork_server)
        self._thread.start()

    def stop(self, timeout: float) -> list[str]:
        """End the crew within ``timeout`` seconds; return who had to be left behind."""
        self._shutdown = Shutdown(
            self._ending, self.members, self._order, timeout, monotonic=self._monotonic
        )
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
            now = self._monotonic()
            self._orders.step(now)
            if self._shutdown is not None:
                self._systemd.stopping()
                self._errands.stop()
                if self._shutdown.step():
                    self._errands.end("the application stopped")
                    return
            else:
                self._heartbeats.step(now)
                self._start_due()
                self._notice_desk.end_leases()
                self._errands.kill_late()
            progresses = self._heartbeats.required_progress()
            self._systemd.step(now, self.members, progresses=progresses)

    @handles_letters
    def _hear(self, message: Message) -> None:
        question = self._questions.get(message.subject)
        if question is not None and message.kind in ("letter", "control"):
            self._board.answer(message, question())
            return
        handler = self._handlers.get(message.subject)
        try:
            if handler is None or message.kind != "control":
                self._unknown += 1
                log.warning("%s wrote %r to the boss", message.sender, message.subject)
                raise RefusedError(
                    f"the boss obeys no {message.kind} {message.subject!r}:"
                    " it takes orders that it knows, and from inside only"
                )
            handler(message)
        except GatewayError as error:
            log.info("boss: %s from %s: %s", message.subject, message.sender, str(error))
            self._board.refuse(message, error)

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
        due = [member.due for member in self.members.values()]
        due += [self._orders.due(), self._heartbeats.due(), self._systemd.due()]
        due += [self._notice_desk.due, self._errands.due]
        first = min((when for when in due if when is not None), default=None)
        return None if first is None else max(0.0, first - self._monotonic())

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

    def _enlist(self, member: Member) -> None:
        spec = member.spec
        if spec.autostart and spec.start_after > 0:
            member.due = self._monotonic() + spec.start_after
            self._board.move(member, "stopped", f"it starts {spec.start_after:g} s after the rest")
        elif spec.autostart:
            self._open(member)

    def _add(self, message: Message) -> None:
        """Take a new member into the crew; it is started where its data say so."""
        spec = spec_of(message.body)
        name = spec.name
        if self._fork_server is None:
            refuse_in_simulation(spec)
        if name in self.members or name == BOSS:
            raise RefusedError(f"there is a process {name!r} already")
        depends = {known: member.spec.depends for known, member in self.members.items()}
        del depends[self._main]
        self._order[:] = [*waves({**depends, name: spec.depends}), [self._main]]
        member = self.members[name] = Member(spec, Restarts(spec.restart, self._random))
        self._enlist(member)
        self._board.tell_book()
        self._board.answer(message, None)

    def _open(self, member: Member) -> None:
        """Give a member's next life its mailbox, so that mail can wait for it."""
        try:
            self._open_mailbox(member)
        except (OSError, GatewayError) as error:
            # As where the file system is full, or this OS process out of descriptors.
            if member.spec.name == self._main:
                raise
            member.said_dead = True
            cause = f"its mailbox could not be opened: {getattr(error, 'strerror', None) or error}"
            self._gone(member, cause, failed=True)

    def _open_mailbox(self, member: Member) -> None:
        member.incarnation += 1
        member.said_dead = member.told_to_die = member.stuck = member.registered = False
        member.after, member.why = "judge", ""
        member.stop_by = member.until = member.pulse = None
        member.pressed = 0
        spec = member.spec
        if spec.temporary_folder:
            assert self._temporary is not None
            make_folder(self._temporary, spec.name, member.incarnation)
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
                kind=self._mailboxes.get(spec.name),
            )
        waits = f"waits for {', '.join(spec.depends)}" if spec.depends else "starts at once"
        self._board.move(member, "waiting", waits)

    def _launch(self, member: Member) -> None:
        self._board.move(member, "starting", "it was started")
        spec = member.spec
        now = member.progressed = self._monotonic()
        member.restarts.began(now)
        if spec.limit is not None:
            member.until = now + spec.limit
        if spec.mode == "fork":
            assert member.row is not None
            assert member.sockets is not None
            assert self._fork_server is not None
            try:
                self._fork_server.spawn(
                    spec.name, member.incarnation, member.sockets, member.row, spec.data
                )
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
            if member.told_to_die or (self._shutdown is not None and self._shutdown.terminated):
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
            self._gone(member, member.why or "its OS process was killed or crashed", failed=True)

    def _ended(self, message: Message) -> None:
        """A life ended and says how; a forked one's OS process is still on its way out."""
        member = self._clerk.sender(message)
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
        if not failed and member.why:
            cause = member.why
        after, member.after = member.after, "judge"
        member.state = "failed" if failed and after == "judge" else "stopped"
        member.stop_by = member.until = None
        member.stuck = False
        member.process = None
        member.thread = None
        member.hurry = member.call_soon = None
        member.pid = 0
        wills = self._board.leave(member)
        if member.spec.temporary_folder:
            assert self._temporary is not None
            remove_folder(self._temporary, name, member.incarnation)
        verdict = None
        if self._shutdown is None and after != "stop":
            verdict = (
                Verdict(0.0)
                if after == "restart"
                else member.restarts.ended(self._monotonic(), failed=failed)
            )
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
            if member.spec.bound_shutdown and self._shutdown is None:
                log.warning("%s is over, and the application with it: %s", name, cause)
                if member.state == "failed":
                    self.bound_failure = f"{name}: {cause}"
                self.on_bound_end()
            return
        member.due = self._monotonic() + verdict.delay
        if after == "restart":
            self._board.move(member, "stopped", "it is restarted by order")
            return
        log.warning("%s: %s; restarted in %.1f s", name, cause, verdict.delay)
        self._board.move(member, "degraded" if verdict.degraded else "failed", cause)

    # Orders

    def _register(self, message: Message) -> None:
        member = self._clerk.sender(message)
        if member is not None:
            member.pid = message.body
            member.registered = True
            self._board.answer(message, encode(self._office.book))

    def _level(self, message: Message) -> None:
        member = self._clerk.sender(message)
        if member is not None and message.body == "living" and member.state == "starting":
            self._board.move(member, "living", "its birth is over")

    def _pid(self, message: Message) -> None:
        """Note in which OS process of its own, an external program, a member does its work."""
        member = self._clerk.sender(message)
        if member is not None:
            member.pid = message.body

    def _ebrake(self, message: Message) -> None:
        self._pull_brake(f"{message.sender}: {message.body}")

    def _pull_brake(self, reason: str) -> None:
        if not self.brake:
            self.brake = reason
            log.critical("emergency brake: %s", reason)
            self.on_brake()

    def _progress(self, message: Message) -> None:
        member = self._clerk.sender(message)
        if member is not None:
            member.progressed = self._monotonic()

    def statistics(self) -> dict[str, Any]:
        """Return the counts of the supervisor: its crew, orders, topics and mail."""
        states = Counter(member.state for member in self.members.values())
        return {
            "members": len(self.members),
            **{str(state): count for state, count in states.items()},
            "restarts": sum(member.restarts.count for member in self.members.values()),
            "found_stuck": self._heartbeats.stuck,
            "unknown": self._unknown,
            **self._orders.statistics(),
            **self._board.statistics(),
            "fork_server": self._fork_server.statistics() if self._fork_server is not None else {},
            "systemd": self._systemd.statistics(),
            "mail": self._box.statistics()._asdict(),
            **self._office.statistics(),
        }

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


_ENDED = "it ended by itself"


def _in_words(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
