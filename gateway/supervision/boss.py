"""The supervisor: has the crew started, watches it, and tells everybody who is there.

It reads its own mailbox on a thread of its own. Each change of the crew or of
the subscriptions makes a new `Book`, which goes to every OS process at once;
so a death, noticed within a millisecond by a lock that the kernel lets go of,
or else by pidfd, ends the waits for whoever died. A process that ended is
judged by its restart policy. The stop goes in waves, against the dependencies,
under one deadline; then TERM, then KILL.

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
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from math import inf
from pathlib import Path
from random import Random
from typing import Any

from gateway.bus.baton import Leave
from gateway.bus.directory import BOSS
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.errors import GatewayError, RefusedError, SpoolError
from gateway.mail.codec import encode
from gateway.mail.message import Message
from gateway.process.correspondent import STATISTICS
from gateway.process.wakeup import Wakeup
from gateway.process.whereabouts import enter, handles_letters
from gateway.supervision.accounts import Accounts
from gateway.supervision.clerk import Clerk
from gateway.supervision.death_watch import DeathWatch
from gateway.supervision.deaths import Deaths
from gateway.supervision.ending import Ending, send_signal
from gateway.supervision.errands import Errands
from gateway.supervision.fork_server import Exited, ForkServer, Started
from gateway.supervision.forking import is_errand
from gateway.supervision.hands import Hands
from gateway.supervision.heartbeats import Heartbeats
from gateway.supervision.member import Member
from gateway.supervision.notice_desk import NoticeDesk
from gateway.supervision.noticeboard import Noticeboard
from gateway.supervision.order_bodies import check
from gateway.supervision.orders import Orders
from gateway.supervision.restart import Restarts
from gateway.supervision.shutdown import GRACE, Shutdown
from gateway.supervision.spec import ProcessSpec
from gateway.supervision.starting import Starting, StartThread
from gateway.supervision.systemd import Systemd

log = logging.getLogger(__name__)

MAILBOX_SIZE = 4096


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
        make_wakeup: Callable[[], Wakeup] = Wakeup,
        temporary: Path | None = None,
        patience: float = 10.0,
        systemd: Systemd | None = None,
        mailboxes: Mapping[str, type[Mailbox]] | None = None,
        death_watch: DeathWatch | None = None,
    ) -> None:
        """Supervise what ``specs`` say; ``order`` has the names in waves, the main one's last.

        Without a ``fork_server``, as in a simulation, there are threads alone.
        ``temporary`` is where folders are made for those that want one.
        ``patience`` is how long one process may take to end by order, and all at the stop, in
        seconds. ``mailboxes`` names those that want a mailbox of another kind. ``death_watch``,
        which stays its maker's, tells of forked processes before their pidfds do.
        """
        self._office = office
        self._monotonic = office.clock.monotonic
        self._order = order
        self._fork_server = fork_server
        self._systemd = systemd or Systemd()
        (self._main,) = order[-1]
        self.members = {spec.name: Member(spec, Restarts(spec.restart, random)) for spec in specs}
        self._box = office.open(BOSS, 1, office.bind(BOSS, 1), size=MAILBOX_SIZE)
        self._board = Noticeboard(office, self._box, self.members)
        self._accounts = Accounts(
            office, self.members, Hands(office) if fork_server is not None else None
        )
        self._ending = Ending(office, self._board, self._accounts)
        self._clerk = Clerk(self.members, self._board, self._accounts, self._catch_up)
        self._death_watch = death_watch
        self._subscribing = deque[Message]()
        self._hears_subscribers = False
        self._deaths = Deaths(
            office,
            self._box,
            self._board,
            self._accounts,
            self._clerk,
            self.members,
            death_watch=death_watch,
            temporary=temporary,
            is_stopping=lambda: self._shutdown is not None,
            on_bound_end=self._bound_end,
        )
        self._starting = Starting(
            office,
            self._board,
            self._accounts,
            self._deaths,
            self.members,
            order,
            fork_server=fork_server,
            start_thread=start_thread,
            random=random,
            temporary=temporary,
            mailboxes=mailboxes or {},
        )
        self._orders = Orders(
            self.members,
            self._board,
            self._ending,
            open_member=self._starting.open,
            patience=patience,
            untouchable=self._main,
            monotonic=self._monotonic,
        )
        self._notice_desk = NoticeDesk(
            self._board,
            self.members,
            lambda message: self._clerk.sender(message) is not None,
            self._monotonic,
        )
        self._heartbeats = Heartbeats(self.members, self._board)
        self._errands = Errands(
            office, fork_server, self._accounts.sent_back, self._board.send_back
        )
        self._shutdown: Shutdown | None = None
        self._hurried = False
        self._is_left = False
        self._patience = patience
        self._main_by: float | None = None
        """When nobody waits for main any longer, monotonic; None until it ends or is told to."""
        self._beginning = threading.Lock()
        self._unknown = 0
        self._failed = False
        self.bound_failure = ""
        """Why a process to which the application is bound failed; empty where none did."""
        self.on_end: Callable[[], None] = lambda: None
        """Called where the application is to end in order, by the boss's thread."""
        self.brake = ""
        """Why the emergency brake was pulled; empty where it was not."""
        self.on_brake: Callable[[], None] = lambda: None
        self._thread = make_thread(target=self._run, name="boss", daemon=True)
        self._over = make_wakeup()
        self._handlers: dict[str, Callable[[Message], None]] = {
            "register": self._register,
            "level": self._level,
            "pid": self._pid,
            "ended": self._deaths.ended,
            "ebrake": self._ebrake,
            "progress": self._progress,
            "shutdown": lambda message: self.on_end(),
            "start": self._orders.start,
            "stop": self._orders.stop,
            "restart": self._orders.restart,
            "give-up": self._orders.give_up,
            "add": self._starting.add,
            "run": self._errands.take,
            "poison_pill": self._orders.poison,
            **self._clerk.handlers,
            **self._notice_desk.handlers,
        }
        self._questions: dict[str, Callable[[], Any]] = {
            "ps": lambda: [self._describe(member) for member in self.members.values()],
            STATISTICS: self.statistics,
        }

    # For the main thread

    def start(self) -> None:
        """Open every mailbox, tell the book, start who is to start by itself.

        Raises `OSError` where the main process cannot have its mailbox.
        """
        try:
            for member in self.members.values():
                self._starting.enlist(member)
        except OSError:
            # The main process has no mailbox: nothing is begun, and nothing left open.
            for member in self.members.values():
                self._accounts.close(member)
            self._accounts.end()
            raise
        for name, member in self.members.items():
            self._board.expect(name, member.spec.spools)
        self._board.tell_book()
        if self._fork_server is not None:
            self._box.watch(self._fork_server.fileno(), self._hear_fork_server)
        if (watch := self._death_watch) is not None:
            self._box.watch(watch.fileno(), lambda _: self._deaths.begun(watch.take()))
        self._thread.start()

    def expect_stop(self) -> None:
        """Know that main ends, or has been told to: where it does not, the rest does without it.

        So it is when its time is over, and at once after the emergency brake. For any
        thread, and safe in a signal handler.
        """
        if self._main_by is None:
            self._main_by = self._monotonic() + self._patience
        if not self._over.is_set:
            self._box.wake()

    def stop(self) -> list[str]:
        """End the crew in time; return who had to be killed, or left behind.

        Main is over by now. Where it was late, this has begun before.
        """
        self._is_left = True
        shutdown = self._begin_stop(main_is_over=True)
        self._box.wake()
        if self._over.wait(self._patience + 3 * GRACE):
            # That was the last thing it did, but for saying why it failed.
            self._thread.join(GRACE)
        self._over.close()
        if self._failed:
            self._end_threads()
        self._accounts.end()
        self._put_away()
        left = [name for name, member in self.members.items() if member.runs]
        return [*left, *shutdown.killed]

    def _begin_stop(self, *, main_is_over: bool) -> Shutdown:
        """Have everybody end, from now on, unless that has begun."""
        with self._beginning:
            if self._shutdown is None:
                shutdown = Shutdown(
                    self._ending,
                    self.members,
                    self._order,
                    self._patience,
                    main_by=self._main_by,
                    monotonic=self._monotonic,
                )
                shutdown.main_is_over = main_is_over
                self._shutdown = shutdown
            elif main_is_over:
                self._shutdown.main_is_over = True
            # Only now: whoever pulls the brake meanwhile finds a stop, or is found here.
            if self.brake:
                self._shutdown.at_once = True
            if self._hurried:
                self._shutdown.hurry()
            return self._shutdown

    def hurry(self) -> None:
        """Have the stop, which may have begun, wait for nobody. Safe in a signal handler."""
        self._hurried = True
        if self._shutdown is not None:
            self._shutdown.hurry()
        if not self._over.is_set:
            self._box.wake()

    def _put_away(self) -> None:
        """Have flash keep what waits in durable mailboxes: memory may be gone soon."""
        spools = self._board.spools()
        if spools:
            # SQLite is nothing that every gateway has to load.
            from gateway.bus.spool import put_away
        for mailbox, terms in spools.items():
            try:
                put_away(self._office.spool_folder(mailbox), terms)
            except SpoolError as error:
                log.error("what waits for %s stays in memory: %s", mailbox, error)

    def _end_threads(self) -> None:
        """Do for the threads what a boss that failed cannot; the fork server ends the forked."""
        self._tell_all()
        deadline = self._monotonic() + self._patience
        for member in self.members.values():
            if member.thread is not None:
                member.thread.join(max(0.0, deadline - self._monotonic()))

    def _tell_all(self) -> None:
        for member in self.members.values():
            if member.process is not None:
                member.process.die()
            if member.pidfd >= 0:
                send_signal(member.pidfd, signal.SIGTERM)

    # The boss's thread

    def _run(self) -> None:
        enter(BOSS)
        try:
            self._supervise()
        except Leave:
            # The simulation is over, and nobody is left to be supervised.
            raise
        except BaseException:
            self._failed = True
            # Before what follows, which may fail as well.
            self._over.set()
            # Nobody supervises the supervisor: whoever runs the application must know.
            log.exception("the boss failed")
            # Main may be busy, and nobody else is left to tell them.
            self._tell_all()
            self._pull_brake("the boss failed; the log says why")
            self._heartbeats.tell_stacks(inf)
        else:
            self._over.set()

    def _supervise(self) -> None:
        if self._shutdown is None:
            self._starting.step()
        while True:
            was_left = self._is_left
            self._hear_subscribers()
            message = self._box.get(0.0 if self._subscribing else self._until_next())
            if message is None and was_left:
                self._deaths.end_unlived()
            if message is not None:
                self._hear_all([message])
            self._starting.forget()
            now = self._monotonic()
            self._orders.step(now)
            if self._is_due_without_main(now):
                self._begin_stop(main_is_over=False)
            if self._shutdown is not None:
                self._systemd.stopping()
                self._errands.stop()
                self._orders.close("the application stops")
                self._heartbeats.tell_stacks(now)
                if self._shutdown.step():
                    self._heartbeats.tell_stacks(inf)
                    self._errands.end("the application stopped")
                    return
            else:
                self._heartbeats.step(now)
                self._starting.step()
                self._notice_desk.end_leases()
                self._errands.kill_late()
            progresses = self._heartbeats.required_progress()
            self._systemd.step(now, self.members, progresses=progresses)

    def _is_due_without_main(self, now: float) -> bool:
        """Tell whether the stop begins now, though main has not ended."""
        if self._shutdown is not None or self._main_by is None:
            return False
        return bool(self.brake) or self._hurried or now >= self._main_by

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
            check(message)
            handler(message)
        except GatewayError as error:
            log.info("boss: %s from %s: %s", message.subject, message.sender, str(error))
            if message.kind == "letter":
                self._box.turn_away()
            self._board.refuse(message, error)

    def _catch_up(self) -> None:
        """Hear what was written before this moment: a death or a snapshot must not overtake it.

        Who subscribes comes last, so that what was retained before is in the
        snapshot.
        """
        letters = self._box.collect()
        if letters:
            # Whatever waits in `get` for this goes on, and does what they asked for.
            self._box.interrupt()
        self._hear_all(letters)

    def _hear_all(self, letters: Iterable[Message]) -> None:
        """Hear ``letters``; who subscribes comes after the rest.

        Who gave up waiting ends what it has not been given yet: that follows it.
        """
        for message in letters:
            if message.subject == "subscribe" or self._ends_what_waits(message):
                self._subscribing.append(message)
            else:
                self._hear(message)
        # Whoever subscribes has the boss catch up: who comes meanwhile waits for that one.
        if not self._hears_subscribers:
            self._hear_subscribers()

    def _hear_subscribers(self) -> None:
        """Hear those that wait now, and no more: who comes fast holds up no stop."""
        self._hears_subscribers = True
        for _ in range(len(self._subscribing)):
            self._hear(self._subscribing[0])
            self._subscribing.popleft()
        self._hears_subscribers = False

    def _ends_what_waits(self, message: Message) -> bool:
        """Tell whether ``message`` ends a subscription that the boss has yet to hear of.

        No other is held up: its mailbox may be closed next.
        """
        return message.subject == "unsubscribe" and any(
            waiting.sender == message.sender and _pattern_of(waiting) == message.body
            for waiting in self._subscribing
        )

    def _until_next(self) -> float | None:
        if self._shutdown is not None:
            return 0.05
        due = [self._starting.due(), self._orders.due(), self._heartbeats.due()]
        due += [self._systemd.due()]
        due += [self._notice_desk.due, self._errands.due, self._main_by]
        first = min((when for when in due if when is not None), default=None)
        return None if first is None else max(0.0, first - self._monotonic())

    def _hear_fork_server(self, events: int) -> None:
        assert self._fork_server is not None
        told = self._fork_server.receive()
        if told is None:
            self._box.unwatch(self._fork_server.fileno())
            self._errands.end("the fork server died")
            if self._shutdown is None:
                self._pull_brake("the fork server died: nothing can be restarted any more")
            self._deaths.server_died()
        elif is_errand(told.name):
            self._errands.hear(told)
        elif isinstance(told, Started):
            stopping = self._shutdown
            terminated = stopping is not None and stopping.terminated
            self._starting.started(told, self._watch, terminated=terminated)
        elif isinstance(told, Exited):
            self._deaths.exited(told)
        else:
            self._deaths.failed(told)

    def _watch(self, member: Member) -> None:
        self._box.watch(member.pidfd, lambda _: self._deaths.child_died(member))

    # Letters

    def _register(self, message: Message) -> None:
        member = self._clerk.sender(message)
        if member is not None:
            member.pid = message.body
            member.registered = True
            if self._death_watch is not None and member.row is not None:
                self._death_watch.watch(member.pid, member.row)
            self._board.answer(message, encode(self._office.book))

    def _level(self, message: Message) -> None:
        member = self._clerk.sender(message)
        if member is None:
            return
        member.level = message.body
        if message.body == "dying" and member.spec.name == self._main:
            # Whatever ends it: a death that hangs would hold up everybody for ever.
            self.expect_stop()
        if message.body == "living" and member.state == "starting":
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
            if self._shutdown is not None:
                self._shutdown.at_once = True
            log.critical("emergency brake: %s", reason)
            self.on_brake()

    @property
    def failed_death(self) -> str:
        """Whose ``death`` went wrong while the application stopped, and how; empty for nobody's."""
        return self._deaths.failed_death

    def _bound_end(self, member: Member, cause: str) -> None:
        if member.state == "failed":
            self.bound_failure = f"{member.spec.name}: {cause}"
        self.on_end()

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
            "dropped_by_the_ended": dict(self._accounts.dropped_by_the_ended),
            "mail_of_the_forgotten": self._accounts.of_the_forgotten._asdict(),
            "fork_server": self._fork_server.statistics() if self._fork_server is not None else {},
            "systemd": self._systemd.statistics(),
            "mail": self._box.statistics()._asdict(),
            **self._office.statistics(),
        }

    def _describe(self, member: Member) -> dict[str, Any]:
        return {**member.describe(), "ledger": self._accounts.balance(member)._asdict()}


def _pattern_of(message: Message) -> Any:
    """Return what is subscribed to, or no more; nothing is checked yet."""
    return message.body.get("pattern") if isinstance(message.body, dict) else message.body
