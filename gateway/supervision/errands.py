"""Callbacks that run in a forked OS process: one child for one letter.

A process whose filter says ``run="fork"`` writes to the boss, which has the
fork server fork a child. The letter goes there in a sealed memory file, the
child answers the sender itself, and notes in a second memory file how that
ended. Where there is no such note, whoever asked is told why, as soon as there is room
(`gateway.supervision.noticeboard`). The process need not
read anything for that; it has counted the letter as delivered, and the boss corrects its books.

At most `AT_ONCE` run in one application while `WAITING` letters wait; one that
takes longer than `LIMIT` seconds is killed. At the application's stop those
that wait are turned away, and those that run end with it.

Refused, by a bounce: letters beyond `WAITING` (`MailboxFullError`), letters
whose child died (`RecipientGoneError`) or took too long (`CallTimeoutError`).
"""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from gateway.bus.office import Office
from gateway.errors import (
    CallTimeoutError,
    GatewayError,
    MailboxFullError,
    ProtocolError,
    RecipientGoneError,
)
from gateway.mail.codec import BROKEN, encode, unpack
from gateway.mail.message import Message
from gateway.supervision.ending import send_signal
from gateway.supervision.errand import SENT_BACK
from gateway.supervision.exit_status import in_words
from gateway.supervision.fork_server import Exited, Failed, ForkServer, Started

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Errands of one application that run at the same time, at the most."""

WAITING = 64
"""Letters that wait for their turn, at the most."""

LIMIT = 60.0
"""Seconds that one errand may take."""


@dataclass
class Errand:
    """One letter on its way to a function in a child of its own."""

    name: str
    function: str
    packed: bytes
    owner: str
    """The process that handed the letter over."""
    life: int
    """Which one of that process."""
    letter: Message
    """What ``packed`` holds; its body may be of a kind that only its process knows."""
    is_counted: bool
    """Whether somebody else has counted the letter, or it is not to be counted."""
    done: int = -1
    pidfd: int = -1
    until: float = 0.0
    late: bool = False


class Errands:
    """What the boss knows of them; its thread is the only user."""

    def __init__(
        self,
        office: Office,
        fork_server: ForkServer | None,
        count_sent_back: Callable[[str, int, str], None],
        send_back: Callable[[Message, GatewayError], None],
    ) -> None:
        """Have errands run; without a fork server, as in a simulation, there is none.

        ``count_sent_back`` is called with who handed a letter over, in which life, and
        the letter's id, for each that went back; ``send_back`` bounces a letter.
        """
        self._office = office
        self._fork_server = fork_server
        self._count_sent_back = count_sent_back
        self._send_back = send_back
        self._waiting: deque[Errand] = deque()
        self._running: dict[int, Errand] = {}
        self._number = 0
        self._closed = False

    @property
    def due(self) -> float | None:
        """When the next one has taken too long, on the monotonic clock."""
        return min((errand.until for errand in self._running.values()), default=None)

    def take(self, message: Message) -> None:
        """Have the function that a process named run for the letter that it sent along."""
        body = message.body
        function, packed = body["function"], body["letter"]
        try:
            letter = unpack(packed)
        except BROKEN as error:
            raise ProtocolError(f"an errand for what is no letter: {error}") from error
        owner, life, is_counted = message.sender, message.sender_incarnation, body["is_counted"]
        errand = Errand(f"{function}@{owner}", function, packed, owner, life, letter, is_counted)
        if self._closed:
            self._bounce(errand, RecipientGoneError(f"{message.sender!r} is stopping"))
        elif len(self._waiting) >= WAITING:
            full = f"{WAITING} letters wait for a forked process already"
            self._bounce(errand, MailboxFullError(full))
        else:
            self._waiting.append(errand)
            self._launch()

    def hear(self, told: Started | Exited | Failed) -> None:
        """Take what the fork server tells of an errand."""
        errand = self._running.get(told.incarnation)
        if isinstance(told, Started):
            if errand is None:
                os.close(told.pidfd)
            else:
                errand.pidfd = told.pidfd
            return
        if errand is None:
            return
        cause = told.reason if isinstance(told, Failed) else in_words(told.status)
        self._end(told.incarnation, cause)
        self._launch()

    def kill_late(self) -> None:
        """Kill those that have taken too long."""
        now = monotonic()
        for errand in self._running.values():
            if errand.until <= now:
                log.error("%s took longer than %g s", errand.name, LIMIT)
                errand.late = True
                errand.until = now + 1.0
                if errand.pidfd >= 0:
                    send_signal(errand.pidfd, signal.SIGKILL)

    def stop(self) -> None:
        """Begin nothing more; turn away those that wait. Twice is fine."""
        self._closed = True
        while self._waiting:
            stopping = RecipientGoneError("the application stops")
            self._bounce(self._waiting.popleft(), stopping)

    def end(self, cause: str) -> None:
        """Give up those that run: the fork server ends them, or has died."""
        self.stop()
        for number in list(self._running):
            self._end(number, cause)

    def _launch(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            errand = self._waiting.popleft()
            self._number += 1
            self._running[self._number] = errand
            errand.until = monotonic() + LIMIT
            try:
                self._spawn(errand)
            except (GatewayError, OSError) as error:
                self._end(self._number, str(error))

    def _spawn(self, errand: Errand) -> None:
        assert self._fork_server is not None
        book = encode(self._office.book)
        task = os.memfd_create("gateway-errand", os.MFD_CLOEXEC)
        try:
            left = memoryview(encode([errand.function, errand.packed, book]))
            while left:
                left = left[os.write(task, left) :]
            errand.done = os.memfd_create("gateway-errand-done", os.MFD_CLOEXEC)
            self._fork_server.spawn_errand(errand.name, self._number, task, errand.done)
        finally:
            os.close(task)

    def _end(self, number: int, cause: str) -> None:
        errand = self._running.pop(number)
        noted = os.pread(errand.done, 1, 0) if errand.done >= 0 else b""
        for descriptor in (errand.done, errand.pidfd):
            if descriptor >= 0:
                os.close(descriptor)
        if noted:
            if noted == SENT_BACK:
                self._count(errand)
            return
        if errand.late:
            self._bounce(errand, CallTimeoutError(f"{errand.name} took longer than {LIMIT:g} s"))
        else:
            log.error("%s did not answer: %s", errand.name, cause)
            self._bounce(errand, RecipientGoneError(f"{errand.name} did not answer: {cause}"))

    def _count(self, errand: Errand) -> None:
        """Have the books say that a letter went back which its process had handed on."""
        if errand.is_counted:
            return
        letter = errand.letter.message_id
        for other in (*self._waiting, *self._running.values()):
            if (other.owner, other.letter.message_id) == (errand.owner, letter):
                other.is_counted = True
        self._count_sent_back(errand.owner, errand.life, letter)

    def _bounce(self, errand: Errand, error: GatewayError) -> None:
        self._count(errand)
        self._send_back(errand.letter, error)
