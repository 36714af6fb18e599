"""The unix_socket route: the front door for programs of this machine.

Programs connect to a stream socket and speak JSON lines (`routes.unix_socket.protocol`):
they write letters and are told the answer or why there is none, see how
everybody is, follow what is published, watch the mail and set log levels.
`gateway.client` speaks it, and with it ``gateway ps``, ``send``, ``tail`` and
``log-level``.

Everything happens on the process's own thread, and nothing there waits for a
client or a recipient. A client that is slow, silent or half dead costs only
itself: its answers are bounded, its publications give way, and its place goes
to the next one when all are taken.

Refused, with an error line and a count: whatever a user has no right to
(`Rights`; everybody but root and our own user has none unless configured),
lines that are no request, one call too many.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import msgspec

from gateway import __version__
from gateway.backoff import Backoff
from gateway.bus.directory import BOSS
from gateway.errors import (
    CallTimeoutError,
    GatewayError,
    LinkLostError,
    MailboxFullError,
    ProtocolError,
    RefusedError,
)
from gateway.framing.frame import Frame, Garbage
from gateway.mail.json_lines import Id, Refusal, failure
from gateway.mail.message import CANCEL, Message
from gateway.mail.topic import check_pattern, matches
from gateway.routing.router import Router
from gateway.rpc.stream import Stream
from routes.unix_socket import protocol
from routes.unix_socket.clients import Clients
from routes.unix_socket.connection import Connection
from routes.unix_socket.door import Door
from routes.unix_socket.letters import Letters
from routes.unix_socket.mail_watch import MailWatch
from routes.unix_socket.protocol import Cancel, Hello, LogLevel, Ps, Request, Send, Tail, Tap
from routes.unix_socket.retained import Retained
from routes.unix_socket.rights import Rights
from routes.unix_socket.roll_call import RollCall
from routes.unix_socket.settings import Settings

log = logging.getLogger(__name__)

TICK = 20.0
"""Hertz at which deadlines are looked at while there are any."""

SLOW_TICK = 2.0
"""Hertz at which a door that could not be opened, or has no room, is looked at."""


class UnixSocketRouter(Router):
    """Lets programs outside write letters and see what goes on.

    Besides what every router is given, ``sockets`` names the gateway's folder
    of sockets.
    """

    Settings: ClassVar[type[msgspec.Struct]] = Settings

    trusted: ClassVar[frozenset[int] | None] = None
    """Users who may do everything; None stands for root and the one we run as."""

    _clients: Clients | None = None

    def start(self) -> None:
        """Open the door, or begin to try."""
        settings: Settings = self.settings
        trusted = frozenset({0, os.geteuid()}) if self.trusted is None else self.trusted
        self._rights = Rights(trusted, settings.allow, settings.observers)
        for name in self._rights.unknown:
            log.warning("%s: no user is called %r here: it is granted nothing", self.name, name)
        folder = Path(self.parameter("sockets", "/run/gateway"))
        self._path = Path(settings.path or folder / "gateway.sock")
        self._backoff = Backoff(0.5, 30.0, self.parameter("random") or Random())
        self._door: Door | None = None
        self._try_again_at = 0.0
        self._is_crowded = False
        self._letters = Letters(
            self,
            self._clock,
            most_streams=settings.max_calls,
            answer=self._answer,
            fail=self._fail,
        )
        # Whoever waits for somebody who died is told at once, and not with the next frame.
        self._box.on_gone = self._on_gone
        self._roll_call = RollCall(self._ask, boss=BOSS)
        self._curious: list[tuple[Connection, Id]] = []
        self._retained = Retained()
        self._hears_all = self._asked_for_all = False
        self._requests: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._garbage = 0
        self.frequency = 0.0
        self._clients = Clients(
            settings, self, self._clock, on_line=self._on_line, on_leave=self._on_leave
        )
        self._mail = MailWatch(self, self._clock, flush=self._flush, leave=self._clients.leave)
        self.add_filter(callback=self._on_answer, id="answers", kind="^(reply|bounce)$")
        self.subscribe("devices/+/state", self._retained.take)
        self.subscribe("routes/+/state", self._retained.take)
        self._open()

    def stop(self) -> None:
        """Tell who still waits that it is over; give every descriptor back."""
        if (clients := self._clients) is None:
            return
        if self._door is not None:
            self.unwatch(self._door.fileno())
            self._door.close()
            self._door = None
        self._letters.end_all()
        for client in clients:
            clients.leave(client)
        self._mail.close()
        self._clients = None

    def life(self) -> None:
        """Look after what is due: deadlines, letters that found no room, the door itself."""
        if self._clients is None:
            return
        now = self._clock.monotonic()
        self._letters.end_due(now, self._office.book)
        self._mail.look_after(now)
        if self._roll_call.is_under_way and now >= self._roll_call.deadline:
            self._end_roll_call()
        if self._door is None:
            if now >= self._try_again_at:
                self._open()
        elif self._is_crowded:
            self._is_crowded = False
            self.watch(self._door.fileno(), self._on_knock)
        self._set_pace()

    def statistics(self) -> dict[str, Any]:
        """Return the route's counts: clients, calls, what was asked, refused and lost."""
        if (clients := self._clients) is None:
            return super().statistics()
        return {
            **super().statistics(),
            "path": str(self._path),
            "clients": len(clients),
            "clients_let_go": clients.let_go,
            "tails": sum(isinstance(client.tail, Tail) for client in clients),
            "taps": len(self._mail),
            "copies_missed": self._mail.missed,
            "calls_pending": len(self._letters),
            "calls_taken_back": self._letters.taken_back,
            "streams": sum(len(client.streams) for client in clients),
            "requests": dict(self._requests),
            "requests_refused": dict(self._refused),
            "garbage": self._garbage,
            "publications_dropped": clients.dropped,
        }

    # The door

    def _open(self) -> None:
        try:
            self._door = Door(self._path)
        except LinkLostError as error:
            self._try_again_at = self._clock.monotonic() + self._backoff.next()
            self._hurry(SLOW_TICK)
            self.set_connection("waiting", str(error))
            return
        self._backoff.reset()
        self.watch(self._door.fileno(), self._on_knock)
        self.set_connection("connected", f"it listens at {self._path}")

    def _on_knock(self, _events: int) -> None:
        door, clients = self._door, self._clients
        if door is None or clients is None:
            return
        try:
            accepted = door.accept()
        except OSError as error:
            # No descriptors left: it would knock for ever, so look again later.
            log.warning("%s: a client cannot be let in: %s", self.name, error)
            self.unwatch(door.fileno())
            self._is_crowded = True
            self._hurry(SLOW_TICK)
            return
        if accepted is not None:
            clients.let_in(accepted)

    # Requests

    def _on_line(self, client: Connection, line: Frame | Garbage) -> None:
        if isinstance(line, Garbage):
            # Which one it was can be told, where a program writes the id first.
            parsed: Request | Refusal = Refusal(
                protocol.id_in(line.raw), ProtocolError(f"no request: a line {line.reason}")
            )
        else:
            parsed = protocol.parse(line.payload)
        if isinstance(parsed, Refusal):
            self._garbage += 1
            self._fail(client, parsed.id, parsed.error)
            return
        self._requests[type(parsed).__name__.lower()] += 1
        try:
            self._carry_out(client, parsed)
        except GatewayError as error:
            self._fail(client, parsed.id, error)

    def _carry_out(self, client: Connection, request: Request) -> None:
        if isinstance(request, Hello):
            who = {"version": __version__, "node": self.node, "protocol": protocol.VERSION}
            self._answer(client, request.id, who)
        elif isinstance(request, Send):
            self._check_send(client, request)
            self._check_calls(client)
            self._letters.send(client, request)
            self._hurry(TICK)
        elif isinstance(request, Cancel):
            self._answer(client, request.id, self._letters.cancel(client, request))
        elif isinstance(request, Ps):
            self._rights.check_look(client.uid, "ps")
            self._check_calls(client)
            self._call_roll(client, request.id)
        elif isinstance(request, Tail):
            self._rights.check_look(client.uid, "tail")
            self._follow(client, request)
        elif isinstance(request, Tap):
            self._rights.check_trusted(client.uid, "tap")
            self._check_not_following(client)
            self._mail.follow(client, request)
            self._hurry(SLOW_TICK)
            self._answer(client, request.id, None)
        elif isinstance(request, LogLevel):
            self._rights.check_trusted(client.uid, "log-level")
            levels = self.set_log_level(request.level, request.name, timeout=1.0)
            self._answer(client, request.id, levels)

    def _check_send(self, client: Connection, request: Send) -> None:
        if request.subject in (Stream.NEXT, CANCEL):
            # Who may call may read what comes of it; and nobody else's.
            self._letters.check_own(client, request)
        else:
            self._rights.check_send(client.uid, request.to, request.subject)

    def _on_gone(self, _name: str, _incarnation: int) -> None:
        self.call_soon(self._look_for_the_gone)
        # It may be our own thread that read of it, and sleeps on.
        self._box.wake()

    def _look_for_the_gone(self) -> None:
        """End the calls of who died, once what they wrote before has been read."""
        if self._clients is not None and len(self._letters):
            again = self._letters.end_due(self._clock.monotonic(), self._office.book)
            if again:
                self.call_soon(self._look_for_the_gone)

    def _check_calls(self, client: Connection) -> None:
        if client.calls >= self.settings.max_calls:
            reason = f"{client.calls} of your requests await their answers already"
            raise MailboxFullError(reason)

    def _on_leave(self, client: Connection) -> None:
        self._letters.forget(client)
        self._mail.forget(client)
        self._curious = [(who, id) for who, id in self._curious if who is not client]

    def _answer(self, client: Connection, id: Id, body: Any, subject: str = "") -> None:
        if self._clients is not None:
            self._clients.write(client, id, protocol.answer(id, body, subject))

    def _fail(self, client: Connection, id: Id, error: GatewayError) -> None:
        self._refused[error.code] += 1
        if self._clients is not None:
            self._clients.write(client, id, failure(id, error))

    def _on_answer(self, message: Message) -> None:
        if self._roll_call.take(message):
            if self._roll_call.is_under_way and self._roll_call.is_over:
                self._end_roll_call()
        else:
            self._letters.take(message)

    # How everybody is

    def _call_roll(self, client: Connection, id: Id) -> None:
        """Begin a round of questions, or join the one that is under way."""
        if not self._roll_call.is_under_way:
            deadline = self._clock.monotonic() + self.settings.ps_timeout
            self._roll_call.begin(deadline, {self.name: self.statistics()})
            self._hurry(TICK)
        client.calls += 1
        self._curious.append((client, id))

    def _ask(self, to: str, subject: str) -> str:
        return self.send(to, subject, timeout=0.0).message_id

    def _end_roll_call(self) -> None:
        heard_boss, processes = self._roll_call.heard_boss, self._roll_call.end()
        curious, self._curious = self._curious, []
        report = {
            "node": self.node,
            "version": __version__,
            "time": self._clock.time(),
            "processes": processes,
            "routes": self._retained.states("routes"),
            "devices": self._retained.states("devices"),
        }
        limit = self.settings.ps_timeout
        for client, id in curious:
            client.calls -= 1
            if heard_boss:
                self._answer(client, id, report)
            else:
                reason = f"the boss did not answer within {limit:g} s"
                self._fail(client, id, CallTimeoutError(reason))

    # What is published

    def _follow(self, client: Connection, request: Tail) -> None:
        self._check_not_following(client)
        try:
            check_pattern(request.pattern)
        except ValueError as error:
            raise ProtocolError(str(error)) from error
        if request.pattern.startswith("$"):
            raise ProtocolError(f"{request.pattern!r}: what begins with $ is published to nobody")
        self._hear_all()
        self._answer(client, request.id, None)
        client.tail = request
        for message in self._retained.under(request.pattern):
            line = protocol.addressed(request.id, protocol.publication(message))
            client.outbox.add_publication(line)
        self._flush(client)

    def _check_not_following(self, client: Connection) -> None:
        if client.tail is not None:
            raise RefusedError("you follow something already: connect once more for another")

    def _hear_all(self) -> None:
        """Subscribe to everything, when somebody wants to follow for the first time.

        Once for all patterns: clients choose theirs, and what a subscription
        costs must not grow with what they can think of.
        """
        if self._hears_all:
            return
        # Where the boss was late before, the callback stands already.
        callback = self._retained.take if self._asked_for_all else self._on_publication
        self._asked_for_all = True
        self.subscribe("#", callback, timeout=1.0)
        self._hears_all = True

    def _on_publication(self, message: Message) -> None:
        self._retained.take(message)
        line = b""
        for client in self._clients or ():
            tail = client.tail
            if not isinstance(tail, Tail) or not matches(tail.pattern, message.subject):
                continue
            line = line or protocol.publication(message)
            client.outbox.add_publication(protocol.addressed(tail.id, line))
            self._flush(client)

    def _flush(self, client: Connection) -> None:
        if self._clients is not None and client in self._clients:
            self._clients.flush(client)

    # The pace

    def _hurry(self, frequency: float) -> None:
        # Setting a frequency begins a new period: only where it is a faster one.
        if self.frequency < frequency:
            self.frequency = frequency

    def _set_pace(self) -> None:
        if len(self._letters) or self._roll_call.is_under_way:
            pace = TICK
        elif self._door is None or self._is_crowded or len(self._mail):
            pace = SLOW_TICK
        else:
            pace = 0.0
        if pace != self.frequency:
            self.frequency = pace
