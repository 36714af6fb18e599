"""What a forked child does between its fork and its end.

Registers with the boss until it is given the address book, then runs its one
process on the main thread, and tells how that ended. TERM and the boss's
``die`` both end it in order; Ctrl-C and a terminal that hangs up are the main
process's business. On the signal `STACKS` the stacks of its threads are written
down for the boss (`gateway.supervision.stack_file`), even where the interpreter
itself is held up; to stderr where it is not watched.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import socket
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from gateway.bus.directory import Book
from gateway.bus.ledger import SharedLedgers
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.bus.rings import Rings
from gateway.bus.self_pipe import SelfPipe
from gateway.clock import Clock
from gateway.errors import CallTimeoutError, MailboxFullError, RecipientGoneError
from gateway.mail.message import Message
from gateway.process.context import Context, RunLevel
from gateway.process.log_stream import release
from gateway.process.process import Process
from gateway.process.wakeup import Wakeup
from gateway.process.whereabouts import rename_os_process
from gateway.rpc.serving import serve_commands
from gateway.supervision.life import end_of
from gateway.supervision.notices import heed
from gateway.supervision.pulse import STACKS, Reporter
from gateway.supervision.robust_locks import RobustLocks
from gateway.supervision.spec import ProcessSpec
from gateway.supervision.stack_file import make_stack_file
from gateway.supervision.temporary import folder_of

log = logging.getLogger(__name__)

TRIES = 5
"""Letters in which a child asks to be registered, until it gives up."""

PATIENCE = 2.0
"""Seconds that it waits for the answer to each."""

_book_decoder = msgspec.msgpack.Decoder(Book)


class Child:
    """One forked OS process and the one process that lives in it."""

    def __init__(
        self,
        spec: ProcessSpec,
        incarnation: int,
        sockets: tuple[socket.socket, socket.socket],
        row: int,
        *,
        folder: Path,
        clock: Clock,
        ledgers: SharedLedgers,
        locks: RobustLocks,
        rings: Rings,
        self_pipe: SelfPipe,
        application: Any,
        temporary: Path,
    ) -> None:
        self._spec = spec
        # What the log shows.
        threading.main_thread().name = spec.name
        rename_os_process(spec.name)
        # This thread's, whose end is that of the life.
        locks.hold(row)
        self._process: Process | None = None
        self._die_early = False
        stacks = make_stack_file() if spec.stuck_after else 2
        faulthandler.register(STACKS, file=stacks, all_threads=True)
        # A hangup is ignored too: that is inherited from the fork server.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda number, frame: self._die())
        self.office = Office(folder, clock=clock, ledgers=ledgers, rings=rings, self_pipe=self_pipe)
        self._make_wakeup = partial(Wakeup, self_pipe)
        self.box = self.office.open(
            spec.name,
            incarnation,
            sockets,
            size=spec.mailbox_size,
            order=spec.mailbox_order,
            policy=spec.mailbox_policy,
            row=row,
            control=self._obey,
        )
        self.office.count_unsent(row)
        self._application = application
        self._temporary = temporary
        self._reporter = (
            Reporter(self.office, self.box, spec.stuck_after) if spec.stuck_after else None
        )

    def run(self) -> int:
        """Live, and return the exit status."""
        error = ""
        try:
            self._register()
            if self._reporter is not None:
                self._reporter.start()
            context = Context(
                self._spec.name,
                self.office,
                self.box,
                "fork",
                self._spec.frequency,
                self._spec.route,
                self._spec.parameters,
                self._application,
                self._report,
                folder_of(self._temporary, self._spec.name, self.box.incarnation)
                if self._spec.temporary_folder
                else None,
                make_wakeup=self._make_wakeup,
                serve_commands=serve_commands,
            )
            error = end_of(self._spec.name, lambda: self._make(context))
        except (RecipientGoneError, CallTimeoutError, MailboxFullError) as failure:
            error = f"the boss did not answer: {failure}"
            log.error("%s: %s", self._spec.name, error)
        finally:
            if self._reporter is not None:
                self._reporter.stop()
            release(self.office)
            tell_end(self.office, self.box, error or "", self.office.settle())
            self.office.shut()
        return 1 if error else 0

    def _make(self, context: Context) -> Process:
        process = self._process = self._spec.make(context)
        if self._reporter is not None:
            self._reporter.process = process
        if self._die_early:
            process.die()
        return process

    def _register(self) -> None:
        for attempt in range(TRIES):
            try:
                message = self.office.tell_boss(self.box, "register", os.getpid())
                answer = self.box.wait_for(message, PATIENCE)
            except (CallTimeoutError, MailboxFullError):
                if attempt == TRIES - 1:
                    raise
            else:
                self._take_in(answer.body)
                self.office.heed_announcements(self.box.read_announcements)
                return

    def _report(self, level: RunLevel) -> None:
        try:
            self.office.tell_boss(self.box, "level", level)
        except RecipientGoneError:
            # The boss itself is gone; the fork server ends this child in a moment.
            log.debug("%s is %s, and has no boss any more", self._spec.name, level)

    def _obey(self, message: Message) -> bool:
        """See control mail, on whatever thread read it; tell whether it was the boss's."""
        if message.subject == "book":
            self._take_in(message.body)
        elif message.subject == "die":
            self._die()
        else:
            return False
        return True

    def _take_in(self, book: bytes) -> None:
        self.office.update(_book_decoder.decode(book))
        heed(self.office, [self._spec.name])

    def _die(self) -> None:
        self._die_early = True
        if self._process is not None:
            self._process.die()


def tell_end(
    office: Office, box: Mailbox, error: str, dropped: Mapping[str, int] | None = None
) -> None:
    """Tell the boss that the life which read ``box`` is over.

    ``dropped`` is how many letters for whom its OS process lost, where that ends too.
    """
    try:
        office.tell_boss(box, "ended", {"error": error, "dropped": dict(dropped or {})})
    except RecipientGoneError:
        # The boss itself is gone: nobody restarts anything any more.
        log.debug("%s ended after its boss", box.name)
    except MailboxFullError:
        # It is held up. Of a forked life its pidfd tells, though not how it went.
        log.error("%s could not tell the boss that it ended: %s", box.name, error or "well")
