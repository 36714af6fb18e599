"""Everybody who is connected: let in, served in turn, shown out.

Each client is watched for no more than would be of use now. One that has gone,
that leaves its answers unread or was served to the end is let go, and
``on_leave`` told; where all places are taken, the one that has been idle for
longest makes room, and where none is idle, the newcomer is told so and turned
away. What a line means is ``on_line``'s business.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Protocol

from gateway.clock import Clock
from gateway.errors import RefusedError
from gateway.framing.frame import Frame, Garbage
from gateway.mail.json_lines import Id, failure
from routes.unix_socket.connection import Connection
from routes.unix_socket.settings import Settings

log = logging.getLogger(__name__)


class Watcher(Protocol):
    """What serves descriptors: the process."""

    def watch(self, fd: int, callback: Callable[[int], None], events: int = ...) -> None:
        """Call ``callback`` whenever ``fd`` is ready."""

    def unwatch(self, fd: int) -> None:
        """Watch ``fd`` no longer."""


class Clients:
    """The open connections, by descriptor."""

    def __init__(
        self,
        settings: Settings,
        watcher: Watcher,
        clock: Clock,
        *,
        on_line: Callable[[Connection, Frame | Garbage], None],
        on_leave: Callable[[Connection], None],
    ) -> None:
        self.let_go = 0
        """Clients that were shown out, or turned away, for others' sake."""
        self._settings = settings
        self._watcher = watcher
        self._clock = clock
        self._on_line = on_line
        self._on_leave = on_leave
        self._clients: dict[int, Connection] = {}
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[Connection]:
        """Go through those who are here now; they may leave meanwhile."""
        return iter(list(self._clients.values()))

    def __contains__(self, client: Connection) -> bool:
        return self._clients.get(client.fd) is client

    @property
    def dropped(self) -> int:
        """Publications that gave way, also those of clients that have left."""
        return self._dropped + sum(client.outbox.dropped for client in self)

    def let_in(self, accepted: socket.socket) -> None:
        """Serve a new client, if there is or can be made room for it."""
        settings = self._settings
        client = Connection(
            accepted, max_line=settings.max_line, max_outgoing=settings.max_outgoing
        )
        client.active_at = self._clock.monotonic()
        if len(self._clients) >= settings.max_clients and not self._make_room():
            self._turn_away(client)
            return
        self._clients[client.fd] = client
        self._settle(client)

    def write(self, client: Connection, id: Id, line: bytes) -> None:
        """Answer ``id``; a client that leaves too many answers unread is let go."""
        if client not in self:
            return
        if client.answer(line, id):
            self.flush(client)
            return
        log.info("client %d of user %d reads no answers: it is let go", client.pid, client.uid)
        self.let_go += 1
        self.leave(client)

    def flush(self, client: Connection) -> None:
        """Write what can be written now, and see to the rest later."""
        try:
            client.flush(self._clock.monotonic())
        except OSError:
            self.leave(client)
            return
        self._settle(client)

    def go_on(self, client: Connection) -> None:
        """Handle the lines that were read."""
        while client.said and client in self:
            self._on_line(client, client.said.popleft())
        self._settle(client)

    def leave(self, client: Connection) -> None:
        """Let a client go; one that has left already is fine."""
        if client not in self:
            return
        del self._clients[client.fd]
        self._dropped += client.outbox.dropped
        self._watcher.unwatch(client.fd)
        client.close()
        self._on_leave(client)

    def _on_ready(self, client: Connection) -> None:
        now = self._clock.monotonic()
        try:
            client.flush(now)
            if not client.read_closed:
                client.read(now)
        except OSError:
            self.leave(client)
            return
        self.go_on(client)

    def _settle(self, client: Connection) -> None:
        """Watch the client for what is of use now; let it go where nothing is."""
        if client not in self:
            return
        if client.is_served or (client.wanted == 0 and client.has_hung_up()):
            self.leave(client)
        elif client.watched != client.wanted:
            client.watched = client.wanted
            self._watcher.watch(client.fd, lambda _: self._on_ready(client), client.wanted)

    def _make_room(self) -> bool:
        now, after = self._clock.monotonic(), self._settings.idle_after
        idle = [client for client in self if client.is_idle(now, after)]
        if not idle:
            return False
        self.let_go += 1
        self.leave(min(idle, key=lambda client: client.active_at))
        return True

    def _turn_away(self, client: Connection) -> None:
        self.let_go += 1
        full = RefusedError(f"{len(self._clients)} clients are here already: try again later")
        client.answer(failure(None, full), None)
        with contextlib.suppress(OSError):  # it did not wait to be told
            client.flush(client.active_at)
        client.close()
