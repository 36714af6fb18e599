"""``tap``: clients that watch the mail of the whole gateway.

Each has a tap of its own, so that what it does not ask for is not even copied;
the mailbox behind them is opened with the first and closed with the last. A
client that has stopped reading loses copies, is told how many, and after
`PATIENCE` its connection: a tap that nobody reads is not to cost the others.

Nothing here waits but for the boss, and for that a second at the most.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.clock import Clock
from gateway.process.mail_tap import Copy
from gateway.process.process import Process
from gateway.process.shared_tap import SharedTap
from routes.unix_socket import protocol
from routes.unix_socket.connection import Connection
from routes.unix_socket.protocol import Tap

PATIENCE = 30.0
"""Seconds that a client may leave what waits for it unread."""


class MailWatch:
    """The taps of a router's clients; ``flush`` writes what was queued, ``leave`` ends one."""

    def __init__(
        self,
        process: Process,
        clock: Clock,
        *,
        flush: Callable[[Connection], None],
        leave: Callable[[Connection], None],
    ) -> None:
        self.missed = 0
        """Copies that were lost on their way here."""
        self._flush = flush
        self._leave = leave
        self._clients: dict[str, Connection] = {}
        self._tap = SharedTap(process, clock, self._on_copies)

    def __len__(self) -> int:
        return len(self._clients)

    def follow(self, client: Connection, request: Tap) -> None:
        """Let ``client`` watch from now on; raises what the boss says against it."""
        id = self._tap.begin(
            sender=request.sender,
            recipient=request.recipient,
            subject=request.subject,
            kinds=request.kinds,
        )
        self._clients[id] = client
        client.tail = request

    def forget(self, client: Connection) -> None:
        """End the tap of ``client``, if it has one."""
        for id, known in list(self._clients.items()):
            if known is client:
                del self._clients[id]
                self._tap.end(id)

    def look_after(self, now: float) -> None:
        """Renew the lease, and let go of who has stopped reading, or can be shown no more."""
        is_blind = not self._tap.renew(now)
        for client in list(self._clients.values()):
            is_idle = not client.outbox.is_empty and now - client.active_at >= PATIENCE
            if is_blind or is_idle:
                self._leave(client)

    def close(self) -> None:
        """Watch nothing any more."""
        self._clients = {}
        self._tap.close()

    def _on_copies(self, copies: list[Copy]) -> None:
        told: dict[int, Connection] = {}
        for copy in copies:
            self.missed += copy.missed
            client = self._clients.get(copy.id)
            if client is None or client.tail is None:
                continue
            if copy.missed:
                client.outbox.lose(copy.missed)
            line = protocol.copy_of_mail(client.tail.id, copy.content)
            client.outbox.add_publication(line)
            told[client.fd] = client
        for client in told.values():
            self._flush(client)
