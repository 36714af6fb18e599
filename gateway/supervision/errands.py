"""Callbacks that run in a forked OS process: one child for one letter.

A process whose filter says ``run="fork"`` writes to the boss, which has the
fork server fork a child. The letter goes there in a sealed memory file, the
child answers the sender itself, and notes in a second memory file that it has.
Where it ends without that note, whoever asked is told why, by the process that handed the letter
over (`gateway.supervision.sent_back`). One that has no room for that now is told a little later.

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
from dataclasses import dataclass
from time import monotonic

from msgspec.structs import replace

from gateway.bus.office import Office
from gateway.errors import (
    CallTimeoutError,
    GatewayError,
    MailboxFullError,
    ProtocolError,
    RecipientGoneError,
    RefusedError,
)
from gateway.mail.codec import BROKEN, encode, unpack
from gateway.mail.message import Message
from gateway.supervision.ending import send_signal
from gateway.supervision.exit_status import in_words
from gateway.supervision.fork_server import Exited, Failed, ForkServer, Started
from gateway.supervision.sent_back import Owner, send_back, tell_writer

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Errands of one application that run at the same time, at the most."""

WAITING = 64
"""Letters that wait for their turn, at the most."""

LIMIT = 60.0
"""Seconds that one errand may take."""

AGAIN = 0.05
"""Seconds after which a process is told again that had no room for what it is to send back."""

UNTOLD = 1024
"""Letters that wait to be sent back by one process at the most; of more their writers are told."""


@dataclass
class Errand:
    """One letter on its way to a function in a child of its own."""

    name: str
    function: str
    packed: bytes
    letter: Message
    """What ``packed`` holds; its body may be of a kind that only its process knows."""
    owner: Owner
    done: int = -1
    pidfd: int = -1
    until: float = 0.0
    late: bool = False


class Errands:
    """What the boss knows of them; its thread is the only user."""

    def __init__(self, office: Office, fork_server: ForkServer | None) -> None:
        """Have errands run; without a fork server, as in a simulation, each is refused."""
        self._office = office
        self._fork_server = fork_server
        self._waiting: deque[Errand] = deque()
        self._running: dict[int, Errand] = {}
        self._untold: dict[Owner, deque[tuple[Message, GatewayError]]] = {}
        self._again = 0.0
        self._number = 0
        self._closed = False

    @property
    def due(self) -> float | None:
        """When the next one has taken too long, or is to be sent back, on the monotonic clock."""
        due = [errand.until for errand in self._running.values()]
        return min([*due, self._again] if self._untold else due, default=None)

    def take(self, message: Message) -> None:
        """Have the function that a process named run for the letter that it sent along."""
        function, packed = message.body["function"], message.body["letter"]
        try:
            letter = unpack(packed)
        except BROKEN as error:
            raise ProtocolError(f"an errand for what is no letter: {error}") from error
        owner = Owner(message.sender, message.sender_incarnation)
        errand = Errand(f"{function}@{message.sender}", function, packed, letter, owner)
        if self._fork_server is None:
            self._bounce(errand, RefusedError("a simulation forks nothing: run it in a thread"))
        elif self._closed:
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
        """Kill those that have taken too long; send back what had to wait."""
        if self._untold and self._again <= self._office.clock.monotonic():
            self._send_on()
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
        self._send_on()

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
            left = memoryview(encode([errand.function, errand.packed, book, errand.owner]))
            while left:
                left = left[os.write(task, left) :]
            errand.done = os.memfd_create("gateway-errand-done", os.MFD_CLOEXEC)
            self._fork_server.spawn_errand(errand.name, self._number, task, errand.done)
        finally:
            os.close(task)

    def _end(self, number: int, cause: str) -> None:
        errand = self._running.pop(number)
        answered = errand.done >= 0 and os.fstat(errand.done).st_size > 0
        for descriptor in (errand.done, errand.pidfd):
            if descriptor >= 0:
                os.close(descriptor)
        if answered:
            return
        if errand.late:
            self._bounce(errand, CallTimeoutError(f"{errand.name} took longer than {LIMIT:g} s"))
        else:
            log.error("%s did not answer: %s", errand.name, cause)
            self._bounce(errand, RecipientGoneError(f"{errand.name} did not answer: {cause}"))

    def _bounce(self, errand: Errand, error: GatewayError) -> None:
        untold = self._untold.get(errand.owner)
        if untold is None:
            untold = self._untold[errand.owner] = deque()
            self._again = self._office.clock.monotonic() + AGAIN
        elif len(untold) >= UNTOLD:
            tell_writer(self._office, errand.letter, error, 0.0)
            return
        untold.append((replace(errand.letter, body=None, body_type=""), error))
        if len(untold) == 1:
            self._send_on_to(errand.owner)

    def _send_on(self) -> None:
        """Send back what waits to be, as far as there is room."""
        self._again = self._office.clock.monotonic() + AGAIN
        for owner in list(self._untold):
            self._send_on_to(owner)

    def _send_on_to(self, owner: Owner) -> None:
        untold = self._untold[owner]
        while untold:
            letter, error = untold[0]
            try:
                send_back(self._office, owner, letter, error, 0.0)
            except MailboxFullError:
                if not self._closed:
                    return
                # It may never read again.
                tell_writer(self._office, letter, error, 0.0)
            untold.popleft()
        del self._untold[owner]
