"""One short life before the first fork, whose traces are shared by who is forked after it.

A program leaves traces in the interpreter and its libraries as it runs: which method a
class has, what the bytecode met. Each forked process would leave the same ones again, in
pages of its own. So before there is a fork server a process lives here that does what all
do: it registers, is born, takes a letter that it wrote itself, rests, and dies. Nobody
hears of it, and nothing stays but the traces.

Refused (`OSError`): a folder, or descriptors, in which there is no room for its sockets.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import copy_context
from pathlib import Path

from gateway.bus.directory import BOSS, Book
from gateway.bus.mailbox import Mailbox
from gateway.bus.office import Office
from gateway.bus.wire import Folder
from gateway.clock import Clock
from gateway.mail.message import Message
from gateway.process.context import Context, RunLevel
from gateway.process.process import Process
from gateway.process.runner import run
from gateway.rpc.serving import serve_commands

NAME = "understudy"


class Understudy(Process):
    """Does once what every process does."""

    def birth(self) -> None:
        """Write itself a letter, and take it."""
        self.add_filter(subject="^cue$", callback=self.on_cue)
        self.send(self.name, "cue")

    def on_cue(self, message: Message) -> None:
        """Rest, and end."""
        self.light_sleep(0.0)
        self.die()

    def life(self) -> None:
        """Have a life, for what there is around one."""


def rehearse(folder: Path, clock: Clock) -> None:
    """Have a process live for a moment, with its sockets in ``folder``, which nobody uses yet."""
    # What the log shows of this thread stays as it is.
    copy_context().run(_rehearse, folder, clock)


def _rehearse(folder: Path, clock: Clock) -> None:
    # Of whatever a killed predecessor left.
    with closing(Folder(folder)) as sockets:
        sockets.clean()
    book = Book(1, {BOSS: 1, NAME: 1})
    with _office(folder, clock, BOSS, book) as (_, boss), _office(folder, clock, NAME, book) as own:
        office, box = own

        def report(level: RunLevel) -> None:
            office.tell_boss(box, "level", level)
            boss.get(0.0)

        office.tell_boss(box, "register", os.getpid())
        boss.get(0.0)
        context = Context(
            NAME, office, box, "fork", 1.0, report=report, serve_commands=serve_commands
        )
        run(Understudy(context))


@contextmanager
def _office(folder: Path, clock: Clock, name: str, book: Book) -> Iterator[tuple[Office, Mailbox]]:
    """Give an office of its own to ``name``, as if that had an OS process of its own."""
    office = Office(folder, clock=clock)
    try:
        office.update(book)
        yield office, office.open(name, 1, office.bind(name, 1))
    finally:
        office.shut()
