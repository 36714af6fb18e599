"""The process that speaks for an external program: mail to lines, lines to mail.

It runs on a loop of the main OS process and has the program's mailbox; the
program has the other end of a socket, and `external_protocol` says what goes
over it. Mail is taken out of the mailbox when the program has read the line
before: one that reads nothing holds up its own writers and nobody else.

`death` asks the program to end by a ``die`` line, then, after its patience, by
TERM and by KILL; what is left in its session is killed with it. A program that
ends with a status other than 0 has failed, and its restart policy decides.

Refused, by an error line and a count: lines that are no request, more than
`OPEN` unanswered questions or subscriptions at once, replies to letters that
are not open.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from functools import partial
from itertools import count
from typing import Any

from gateway.errors import BodyError, GatewayError, ProtocolError, RecipientGoneError, RefusedError
from gateway.mail.filters import in_short
from gateway.mail.json_lines import Id, Refusal, failure
from gateway.mail.message import Message
from gateway.process.aio_process import AsyncProcess
from gateway.process.context import Context
from gateway.supervision import external_protocol as protocol
from gateway.supervision.exit_status import in_words
from gateway.supervision.external_lines import Lines, TooLong
from gateway.supervision.external_os_process import OsProcess
from gateway.supervision.program import Program, ProgramError

log = logging.getLogger(__name__)

OPEN = 1024
"""Letters yet to be answered, questions and subscriptions of one program at the most, each."""

GRACE = 1.0
"""Seconds between TERM and KILL, and for what follows a KILL."""


class External(AsyncProcess):
    """One external program; see the module's head. Made by the application, not subclassed."""

    def __init__(self, context: Context, program: Program) -> None:
        super().__init__(context)
        self._program = program
        self._running: OsProcess | None = None
        self._writing = asyncio.Lock()
        self._torn = False
        self._heard_all = asyncio.Event()
        self._open_letters: dict[str, Message] = {}
        self._questions = 0
        self._question_numbers = count(1)
        self._line_counts = {"lines_in": 0, "lines_out": 0, "bad_lines": 0}

    async def birth(self) -> None:
        """Start the program and say hello."""
        self.add_filter(callback=self._hand_over, description="all mail goes to the program")
        running = self._running = OsProcess(self.name, self._program)
        self._tell_boss("pid", running.pid)
        await self._tell(protocol.hello(self.name, self.parameters))
        self.add_child_task("listen", self._listen(running))
        self.add_child_task("watch", self._watch(running))

    async def death(self) -> None:
        """End the program: by its own will, by TERM, by KILL."""
        running = self._running
        if running is None:
            return
        try:
            if not running.exited.is_set():
                if not self._say_die(running):
                    running.signal(signal.SIGTERM)
                elif not await _ends(running, self._program.patience):
                    log.error("%s does not end: SIGTERM", self.name)
                    running.signal(signal.SIGTERM)
                if not await _ends(running, GRACE):
                    log.error("%s does not end: SIGKILL", self.name)
                    running.signal(signal.SIGKILL)
                    await _ends(running, GRACE)
                running.reap()
                await self._hear_all()
        finally:
            running.close()
        if self._child_error is None and running.status:
            raise ProgramError(in_words(running.status))

    def press(self, number: signal.Signals) -> None:
        """Send the program a signal, where the application's deadline is over."""
        if self._running is not None:
            self._running.signal(number)

    def statistics(self) -> dict[str, Any]:
        """Return the counts that `gateway ps` shows."""
        return {
            "pid": self._running.pid if self._running is not None else 0,
            **self._line_counts,
            "open_letters": len(self._open_letters),
            "open_questions": self._questions,
            **super().statistics(),
        }

    # From the bus to the program

    async def _hand_over(self, message: Message) -> None:
        if message.kind == "control":
            return
        await self._say(protocol.letter(message))
        if message.kind == "letter":
            self._open_letters[message.message_id] = message
            if len(self._open_letters) > OPEN:
                del self._open_letters[next(iter(self._open_letters))]

    async def _hand_publication(self, id: Id, message: Message) -> None:
        try:
            line = protocol.publication(id, message)
        except BodyError as error:
            # Not under the id of the subscription: that stands, or is yet to be answered.
            topic = in_short(message.subject)
            line = failure(
                None, BodyError(f"no line can tell what was published on {topic}: {error}")
            )
        await self._tell(line)

    async def _say(self, line: bytes) -> None:
        """Write a line; wait for as long as the program reads nothing and is not to end."""
        running = self._running
        assert running is not None
        async with self._writing:
            left = memoryview(line)
            while left:
                try:
                    left = left[running.socket.send(left) :]
                except BlockingIOError:
                    if not await self._room(running):
                        self._torn = len(left) < len(line)
                        raise RecipientGoneError(f"{self.name!r} ends and has not read") from None
                except OSError as error:
                    raise RecipientGoneError(f"{self.name!r} is gone: {error.strerror}") from error
            self._line_counts["lines_out"] += 1

    async def _room(self, running: OsProcess) -> bool:
        """Wait until there is room in the socket; tell whether there is, before the end."""
        room = asyncio.Event()
        self._loop.add_writer(running.socket, room.set)
        waits = [asyncio.ensure_future(event.wait()) for event in (room, self._told_to_end)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._loop.remove_writer(running.socket)
            for wait in waits:
                wait.cancel()
        return room.is_set()

    async def _tell(self, line: bytes) -> None:
        """Write a line of which nobody is told that it failed: its exit says more."""
        try:
            await self._say(line)
        except RecipientGoneError as error:
            log.debug("%s: %s", self.name, error)

    def _say_die(self, running: OsProcess) -> bool:
        """Write the last line if that is possible at once; tell whether it was."""
        if self._torn or self._writing.locked():
            return False
        try:
            return running.socket.send(protocol.DIE) == len(protocol.DIE)
        except OSError:
            # Full, since it reads nothing, or closed: it hears a signal only.
            return False

    # From the program to the bus

    async def _listen(self, running: OsProcess) -> None:
        lines = Lines(protocol.LONGEST)
        try:
            while data := await self._loop.sock_recv(running.socket, 64 * 1024):
                for line in lines.feed(data):
                    await self._obey(line)
        except ConnectionError as error:
            log.debug("%s: %s", self.name, error)
        self._heard_all.set()
        if not await _ends(running, GRACE):
            raise ProgramError("it closed its socket and runs on")

    async def _hear_all(self) -> None:
        """Have obeyed what it wrote before it ended, as far as that goes in `GRACE` seconds."""
        try:
            async with asyncio.timeout(GRACE):
                await self._heard_all.wait()
        except TimeoutError:
            log.warning("%s: what it wrote last is not obeyed any more", self.name)

    async def _watch(self, running: OsProcess) -> None:
        await running.exited.wait()
        status = running.reap()
        await self._hear_all()
        if status and not self._ending.is_set:
            raise ProgramError(in_words(status))
        self.die()

    async def _obey(self, line: bytes | TooLong) -> None:
        if line == b"":
            return
        self._line_counts["lines_in"] += 1
        if isinstance(line, TooLong):
            error = ProtocolError(f"a line has {protocol.LONGEST} bytes at the most")
            request: Any = Refusal(None, error)
        else:
            request = protocol.parse(line)
        if isinstance(request, Refusal):
            self._line_counts["bad_lines"] += 1
            log.info("%s wrote a bad line: %s", self.name, request.error)
            await self._tell(failure(request.id, request.error))
            return
        try:
            answer = await self._do(request)
        except GatewayError as error:
            await self._tell(failure(request.id, error))
        except ValueError as refused:
            # A topic or a pattern that is none.
            await self._tell(failure(request.id, ProtocolError(str(refused))))
        else:
            if answer is not None and request.id is not None:
                await self._tell(answer)

    async def _do(self, request: protocol.Request) -> bytes | None:
        """Do what was asked; return the answer, None where it follows or is not wanted."""
        match request:
            case protocol.Send():
                sent = await self.send_patiently(
                    request.to,
                    request.subject,
                    request.body,
                    priority=request.priority,
                    expires_in=request.expires_in,
                    timeout=request.timeout,
                    receipt=request.receipt,
                    headers=request.headers,
                )
                return protocol.done(request.id, message_id=sent.message_id)
            case protocol.Ask():
                _bounded(self._questions, "questions")
                self._questions += 1
                name = f"question-{next(self._question_numbers)}"
                self.add_child_task(name, self._ask(request))
                return None
            case protocol.Reply():
                self.reply(self._open_letter(request.message_id), request.body)
                del self._open_letters[request.message_id]
            case protocol.Refuse():
                self.bounce(self._open_letter(request.message_id), RefusedError(request.reason))
                del self._open_letters[request.message_id]
            case protocol.Publish():
                self.publish(request.topic, request.body, retain=request.retain)
            case protocol.Subscribe():
                _bounded(len(self._subscriptions), "subscriptions")
                await self.subscribe(request.pattern, partial(self._hand_publication, request.id))
            case protocol.Ebrake():
                self.ebrake(request.reason)
            case protocol.Die():
                self.die()
        return protocol.done(request.id)

    async def _ask(self, request: protocol.Ask) -> None:
        try:
            answer = await self.ask(
                request.to, request.subject, request.body, timeout=request.timeout
            )
            line = protocol.done(request.id, body=answer.body)
        except GatewayError as error:
            line = failure(request.id, error)
        finally:
            self._questions -= 1
        await self._tell(line)

    def _open_letter(self, message_id: str) -> Message:
        found = self._open_letters.get(message_id)
        if found is None:
            raise ProtocolError(f"no letter {message_id!r} is open: it was answered, or is too old")
        return found


async def _ends(running: OsProcess, seconds: float) -> bool:
    """Wait until it has exited; tell whether it has."""
    try:
        async with asyncio.timeout(seconds):
            await running.exited.wait()
    except TimeoutError:
        # On a loop that was held up both come at once.
        return running.exited.is_set()
    return True


def _bounded(open_ones: int, what: str) -> None:
    if open_ones >= OPEN:
        raise RefusedError(f"{OPEN} {what} are open, which is the most")
