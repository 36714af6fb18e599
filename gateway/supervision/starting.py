"""How a life begins: its mailbox is opened, then, once those live whom it needs, it is launched.

The mailbox comes first, so that mail can wait for a life that is yet to be
born. What cannot be opened or launched, as where the file system is full or
this OS process has no descriptor or thread left, is an end like any other: its
restart policy decides.

The boss's thread is the only user. Refused: names that are taken
(`RefusedError`), and what `gateway.supervision.recruit` refuses.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from gateway.bus.directory import BOSS
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.errors import GatewayError, RefusedError
from gateway.mail.message import Message
from gateway.supervision.accounts import Accounts
from gateway.supervision.deaths import Deaths
from gateway.supervision.ending import send_signal
from gateway.supervision.fork_server import ForkServer, Started
from gateway.supervision.member import Member
from gateway.supervision.noticeboard import Noticeboard
from gateway.supervision.order import waves
from gateway.supervision.recruit import spec_of
from gateway.supervision.restart import Restarts
from gateway.supervision.spec import refuse_in_simulation
from gateway.supervision.temporary import make_folder

StartThread = Callable[[Member], threading.Thread | None]


class Starting:
    """Begins lives, in the order in which they need each other."""

    def __init__(
        self,
        office: Office,
        board: Noticeboard,
        accounts: Accounts,
        deaths: Deaths,
        members: dict[str, Member],
        order: list[list[str]],
        *,
        fork_server: ForkServer | None,
        start_thread: StartThread,
        random: Random,
        temporary: Path | None,
        mailboxes: Mapping[str, type[Mailbox]],
    ) -> None:
        """``order`` has the names in waves, the main process's alone in the last one."""
        self._office = office
        self._monotonic = office.clock.monotonic
        self._board = board
        self._accounts = accounts
        self._deaths = deaths
        self._members = members
        self._order = order
        (self._main,) = order[-1]
        self._fork_server = fork_server
        self._start_thread = start_thread
        self._random = random
        self._temporary = temporary
        self._mailboxes = mailboxes
        self._ephemeral: set[str] = set()
        # No life of whoever comes later may be taken for one of somebody forgotten.
        self._forgotten_lives = 0

    def enlist(self, member: Member) -> None:
        """Have a new member start by itself, now or later, where its spec says so."""
        spec = member.spec
        if spec.autostart and spec.start_after > 0:
            member.due = self._monotonic() + spec.start_after
            self._board.move(member, "stopped", f"it starts {spec.start_after:g} s after the rest")
        elif spec.autostart:
            self.open(member)

    def add(self, message: Message) -> None:
        """Take a new member into the crew; it is started where its data say so."""
        spec = spec_of(message.body)
        name = spec.name
        if self._fork_server is None:
            refuse_in_simulation(spec)
        # Who knows of an end takes the name to be free.
        self.forget()
        if name in self._members or name == BOSS:
            raise RefusedError(f"there is a process {name!r} already: choose another name")
        depends = {known: member.spec.depends for known, member in self._members.items()}
        del depends[self._main]
        self._order[:] = [*waves({**depends, name: spec.depends}), [self._main]]
        before = self._forgotten_lives
        restarts = Restarts(spec.restart, self._random)
        member = Member(spec, restarts, incarnation=before, lives_before=before)
        self._members[name] = member
        if spec.ephemeral:
            self._ephemeral.add(name)
        self.enlist(member)
        self._board.tell_book()
        self._board.answer(message, member.incarnation)

    def forget(self) -> None:
        """Forget the ephemeral ones that are over, but for those whom others depend on."""
        over = [name for name in self._ephemeral if self._members[name].is_over]
        while over:
            needed = {name for member in self._members.values() for name in member.spec.depends}
            free = [name for name in over if name not in needed]
            if not free:
                return
            for name in free:
                over.remove(name)
                self._forget(name)

    def _forget(self, name: str) -> None:
        member = self._members.pop(name)
        self._ephemeral.remove(name)
        self._forgotten_lives = max(self._forgotten_lives, member.incarnation)
        kept = ([other for other in wave if other != name] for wave in self._order)
        self._order[:] = [wave for wave in kept if wave]
        self._accounts.forget(member)
        self._board.forget(member)

    def step(self) -> None:
        """Open who is due by now, and launch whoever has everybody that it needs."""
        now = self._monotonic()
        for wave in self._order:
            for name in wave:
                member = self._members[name]
                if member.due is not None and member.due <= now:
                    member.due = None
                    self.open(member)
                    self._board.tell_book()
                needed = (self._members[other].state for other in member.spec.depends)
                if member.state == "waiting" and all(state == "living" for state in needed):
                    self._launch(member)

    def due(self) -> float | None:
        """Return when `step` is to be called at the latest, in monotonic seconds."""
        due = [member.due for member in self._members.values() if member.due is not None]
        return min(due, default=None)

    def open(self, member: Member) -> None:
        """Give a member's next life its mailbox, so that mail can wait for it."""
        try:
            self._open_mailbox(member)
        except (OSError, GatewayError) as error:
            # As where the file system is full, or this OS process out of descriptors.
            if member.spec.name == self._main:
                raise
            member.said_dead = True
            cause = f"its mailbox could not be opened: {getattr(error, 'strerror', None) or error}"
            self._deaths.gone(member, cause, failed=True)

    def _open_mailbox(self, member: Member) -> None:
        member.begin_anew()
        spec = member.spec
        if spec.temporary_folder:
            assert self._temporary is not None
            make_folder(self._temporary, spec.name, member.incarnation)
        sockets = self._office.bind(spec.name, member.incarnation)
        if spec.mode == "fork":
            member.sockets = sockets
            self._accounts.open(member)
        else:
            try:
                member.box = self._office.open(
                    spec.name,
                    member.incarnation,
                    sockets,
                    size=spec.mailbox_size,
                    order=spec.mailbox_order,
                    policy=spec.mailbox_policy,
                    kind=self._mailboxes.get(spec.name),
                )
            except BaseException:
                for used in sockets:
                    used.close()
                self._office.unlink(spec.name, member.incarnation)
                raise
        waits = f"waits for {', '.join(spec.depends)}" if spec.depends else "starts at once"
        self._board.move(member, "waiting", waits)

    def _launch(self, member: Member) -> None:
        self._board.move(member, "starting", "it was started")
        spec = member.spec
        now = member.progressed = self._monotonic()
        member.restarts.began(now)
        if spec.limit is not None:
            member.until = now + spec.limit
        try:
            if spec.mode == "fork":
                self._spawn(member)
            else:
                member.thread = self._start_thread(member)
        except (OSError, RuntimeError, GatewayError) as error:
            # Python's own word for a machine that has no thread left is a RuntimeError.
            member.said_dead = True
            self._deaths.gone(member, f"it could not be started: {error}", failed=True)

    def _spawn(self, member: Member) -> None:
        spec = member.spec
        assert member.row is not None
        assert member.sockets is not None
        assert self._fork_server is not None
        self._fork_server.spawn(
            spec.name, member.incarnation, member.sockets, member.row, spec.data
        )

    def started(self, told: Started, watch: Callable[[Member], None], *, terminated: bool) -> None:
        """Note in which OS process a life began; ``watch`` has its death noticed.

        Where everybody was sent a TERM already, ``terminated``, it gets its own.
        """
        member = self._members.get(told.name)
        if member is None or told.incarnation != member.incarnation or not member.runs:
            os.close(told.pidfd)
            return
        member.pid, member.pidfd = told.pid, told.pidfd
        watch(member)
        if member.told_to_die or terminated:
            send_signal(told.pidfd, signal.SIGTERM)
