"""The unix_socket route: the front door for programs of this machine.

Programs connect to a stream socket and speak JSON lines (`routes.unix_socket.protocol`):
they write letters and are told the answer or why there is none, see how
everybody is, and follow what is published. `gateway.client` speaks it, and
with it ``gateway ps``, ``send`` and ``tail``.

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
from gateway.bus.office import BOSS
from gateway.errors import (
    AddressError,
    CallTimeoutError,
    GatewayError,
    LinkLostError,
    MailboxFullError,
    ProtocolError,
    RecipientGoneError,
    RefusedError,
)
from gateway.framing.frame import Frame, Garbage
from gateway.mail.message import Message, error_in
from gateway.mail.topic import check_pattern, matches
from gateway.routing.router import Router
from routes.unix_socket import protocol
from routes.unix_socket.calls import Call, Calls
from routes.unix_socket.connection import Connection
from routes.unix_socket.door import Door
from routes.unix_socket.protocol import Hello, Id, Ps, Refusal, Request, Send, Tail
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

    _is_open = False

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
        self._clients: dict[int, Connection] = {}
        self._calls = Calls()
        self._roll_call = RollCall(self._ask, boss=BOSS)
        self._curious: list[tuple[Connection, Id]] = []
        self._retained = Retained()
        self._hears_all = self._asked_for_all = False
        self._requests: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._garbage = self._let_go = self._dropped = 0
        self.frequency = 0.0
        self._is_open = True
        self.add_filter(callback=self._on_answer, id="answers", kind="^(reply|bounce)$")
        self.subscribe("devices/+/state", self._retained.take)
        self.subscribe("routes/+/state", self._retained.take)
        self._open()

    def stop(self) -> None:
        """Tell who still waits that it is over; give every descriptor back."""
        if not self._is_open:
            return
        self._is_open = False
        if self._door is not None:
            self.unwatch(self._door.fileno())
            self._door.close()
            self._door = None
        goodbye = RecipientGoneError("the gateway stops")
        for call in self._calls.expire(float("inf")):
            self._fail(call.client, call.request.id, goodbye)
        for client, id in self._curious:
            self._fail(client, id, goodbye)
        for client in list(self._clients.values()):
            self._leave(client)

    def life(self) -> None:
        """Look after what is due: deadlines, letters that found no room, the door itself."""
        now = self._clock.monotonic()
        self._end_calls(now)
        for client in [client for client in self._clients.values() if client.held]:
            self._try_held(client)
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
        if not self._is_open:
            return super().statistics()
        return {
            **super().statistics(),
            "path": str(self._path),
            "clients": len(self._clients),
            "clients_let_go": self._let_go,
            "tails": sum(client.tail is not None for client in self._clients.values()),
            "calls_pending": len(self._calls),
            "requests": dict(self._requests),
            "requests_refused": dict(self._refused),
            "garbage": self._garbage,
            "publications_dropped": self._dropped
            + sum(client.outbox.dropped for client in self._clients.values()),
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
        door = self._door
        if door is None:
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
        if accepted is None:
            return
        settings: Settings = self.settings
        client = Connection(
            accepted, max_line=settings.max_line, max_outgoing=settings.max_outgoing
        )
        now = client.active_at = self._clock.monotonic()
        if len(self._clients) >= settings.max_clients and not self._make_room(now):
            self._turn_away(client)
            return
        self._clients[client.fd] = client
        self._settle(client)

    def _make_room(self, now: float) -> bool:
        """Let the client go that has been idle for longest; False where none is."""
        after = self.settings.idle_after
        idle = [client for client in self._clients.values() if client.is_idle(now, after)]
        if not idle:
            return False
        self._let_go += 1
        self._leave(min(idle, key=lambda client: client.active_at))
        return True

    def _turn_away(self, client: Connection) -> None:
        reason = f"{len(self._clients)} clients are here already: try again later"
        self._refused["refused"] += 1
        client.answer(protocol.failure(None, RefusedError(reason)), None)
        try:
            client.flush(0.0)
        except OSError:
            pass  # it did not wait to be told
        finally:
            client.close()

    # Clients

    def _on_client(self, client: Connection) -> None:
        """Write and read what can be, handle the lines, see what is to be watched next."""
        now = self._clock.monotonic()
        try:
            client.flush(now)
            if not client.read_closed and client.held is None:
                client.read(now)
        except OSError:
            self._leave(client)
            return
        self._handle_lines(client)
        self._settle(client)

    def _handle_lines(self, client: Connection) -> None:
        while client.said and client.held is None and self._is_here(client):
            self._handle_line(client, client.said.popleft())

    def _handle_line(self, client: Connection, line: Frame | Garbage) -> None:
        if isinstance(line, Garbage):
            self._garbage += 1
            self._fail(client, None, ProtocolError(f"no request: a line {line.reason}"))
            return
        request = protocol.parse(line.payload)
        if isinstance(request, Refusal):
            self._garbage += 1
            self._fail(client, request.id, request.error)
            return
        self._requests[type(request).__name__.lower()] += 1
        try:
            self._carry_out(client, request)
        except GatewayError as error:
            self._fail(client, request.id, error)

    def _carry_out(self, client: Connection, request: Request) -> None:
        if isinstance(request, Send):
            self._rights.check_send(client.uid, request.to, request.subject)
            self._send(client, request, self._clock.monotonic() + request.timeout)
        elif isinstance(request, Tail):
            self._rights.check_look(client.uid, "tail")
            self._follow(client, request)
        elif isinstance(request, Ps):
            self._rights.check_look(client.uid, "ps")
            self._call_roll(client, request.id)
        elif isinstance(request, Hello):
            who = {"version": __version__, "node": self.node, "protocol": protocol.VERSION}
            self._answer(client, request.id, who)

    def _settle(self, client: Connection) -> None:
        """Watch the client for what is of use now; let it go where nothing is."""
        if not self._is_here(client):
            return
        if client.is_served or (client.wanted == 0 and client.has_hung_up()):
            self._leave(client)
            return
        if client.watched != client.wanted:
            client.watched = client.wanted
            self.watch(client.fd, lambda _: self._on_client(client), client.wanted)

    def _is_here(self, client: Connection) -> bool:
        return self._clients.get(client.fd) is client

    def _leave(self, client: Connection) -> None:
        """Let a client go, with what it waited for."""
        if not self._is_here(client):
            return
        del self._clients[client.fd]
        self._calls.forget(client)
        self._curious = [(who, id) for who, id in self._curious if who is not client]
        self._dropped += client.outbox.dropped
        self.unwatch(client.fd)
        client.close()

    def _answer(self, client: Connection, id: Id, body: Any) -> None:
        self._write(client, id, protocol.answer(id, body))

    def _fail(self, client: Connection, id: Id, error: GatewayError) -> None:
        self._refused[error.code] += 1
        self._write(client, id, protocol.failure(id, error))

    def _write(self, client: Connection, id: Id, line: bytes) -> None:
        if not self._is_here(client):
            return
        if client.answer(line, id):
            self._flush(client)
            return
        log.info("%s: client %d reads no answers: it is let go", self.name, client.pid)
        self._let_go += 1
        self._leave(client)

    def _flush(self, client: Connection) -> None:
        try:
            client.flush(self._clock.monotonic())
        except OSError:
            self._leave(client)
            return
        self._settle(client)

    # Letters

    def _send(self, client: Connection, request: Send, deadline: float) -> None:
        """Write a letter; where its recipient has no room, hold the client until it has."""
        if client.calls >= self.settings.max_calls:
            raise self._too_many(client)
        left = deadline - self._clock.monotonic()
        try:
            letter = self.send(
                request.to,
                request.subject,
                request.body,
                timeout=0.0,
                expires_in=left,
                receipt=True,
            )
        except MailboxFullError:
            if left <= 0:
                raise
            client.held = (request, deadline)
        else:
            self._calls.add(Call(client, request, letter, deadline))
        self._hurry(TICK)

    def _too_many(self, client: Connection) -> GatewayError:
        return MailboxFullError(f"{client.calls} of your requests await their answers already")

    def _try_held(self, client: Connection) -> None:
        if client.held is None:
            return
        (request, deadline), client.held = client.held, None
        try:
            self._send(client, request, deadline)
        except GatewayError as error:
            self._fail(client, request.id, error)
        self._handle_lines(client)
        self._settle(client)

    def _on_answer(self, message: Message) -> None:
        roll_call = self._roll_call
        if roll_call.take(message):
            if roll_call.is_under_way and roll_call.is_over:
                self._end_roll_call()
            return
        call = self._calls.take(message.in_reply_to)
        if call is None:
            return
        if message.kind == "bounce":
            self._fail(call.client, call.request.id, error_in(message))
        else:
            self._answer(call.client, call.request.id, message.body)

    def _end_calls(self, now: float) -> None:
        for call in self._calls.expire(now):
            to, subject = call.request.to, call.request.subject
            reason = f"{to!r} did not answer {subject!r} within {call.request.timeout:g} s"
            self._fail(call.client, call.request.id, CallTimeoutError(reason))
        for call in self._calls.orphans(self._is_gone):
            reason = f"{call.request.to!r} died before it answered {call.request.subject!r}"
            self._fail(call.client, call.request.id, RecipientGoneError(reason))

    def _is_gone(self, letter: Message) -> bool:
        try:
            _, incarnation = self._office.book.look_up(letter.recipient)
        except AddressError:
            return True
        return incarnation != letter.incarnation

    # How everybody is

    def _call_roll(self, client: Connection, id: Id) -> None:
        """Begin a round of questions, or join the one that is under way."""
        if client.calls >= self.settings.max_calls:
            raise self._too_many(client)
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
        for client, _ in curious:
            client.calls -= 1
        if not heard_boss:
            late = CallTimeoutError(
                f"the boss did not answer within {self.settings.ps_timeout:g} s"
            )
            for client, id in curious:
                self._fail(client, id, late)
            return
        report = {
            "node": self.node,
            "version": __version__,
            "time": self._clock.time(),
            "processes": processes,
            "routes": self._retained.states("routes"),
            "devices": self._retained.states("devices"),
        }
        for client, id in curious:
            self._answer(client, id, report)

    # What is published

    def _follow(self, client: Connection, request: Tail) -> None:
        if client.tail is not None:
            raise RefusedError("you follow a pattern already: connect once more for another")
        try:
            check_pattern(request.pattern)
        except ValueError as error:
            raise ProtocolError(str(error)) from error
        if request.pattern.startswith("$"):
            raise ProtocolError(f"{request.pattern!r}: what begins with $ is published to nobody")
        self._hear_all()
        self._answer(client, request.id, None)
        if not self._is_here(client):
            return
        client.tail = request
        for message in self._retained.under(request.pattern):
            line = protocol.addressed(request.id, protocol.publication(message))
            client.outbox.add_publication(line)
        self._flush(client)

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
        for client in list(self._clients.values()):
            tail = client.tail
            if tail is None or not matches(tail.pattern, message.subject):
                continue
            line = line or protocol.publication(message)
            client.outbox.add_publication(protocol.addressed(tail.id, line))
            self._flush(client)

    # The pace

    def _hurry(self, frequency: float) -> None:
        # Setting a frequency begins a new period: only where it is a faster one.
        if self.frequency < frequency:
            self.frequency = frequency

    def _set_pace(self) -> None:
        held = any(client.held for client in self._clients.values())
        if len(self._calls) or held or self._roll_call.is_under_way:
            pace = TICK
        elif self._door is None or self._is_crowded:
            pace = SLOW_TICK
        else:
            pace = 0.0
        if pace != self.frequency:
            self.frequency = pace
