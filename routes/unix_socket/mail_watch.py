"""``tap``: clients that watch the mail of the whole gateway.

Each has a tap of its own, so that what it does not ask for is not even copied;
the mailbox behind them is opened with the first and closed with the last. A
client that has stopped reading loses copies, is told how many, and after
`PATIENCE` its connection: a tap that nobody reads is not to cost the others.

Nothing here waits but for the boss, and for that a second at the most.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from gateway.clock import Clock
from gateway.process.mail_tap import RENEW_EVERY, MailTap
from gateway.process.process import Process
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
        self._process = process
        self._clock = clock
        self._flush = flush
        self._leave = leave
        self._ids = map(str, count(1))
        self._clients: dict[str, Connection] = {}
        self._tap: MailTap | None = None
        self._renew_at = 0.0

    def __len__(self) -> int:
        return len(self._clients)

    def follow(self, client: Connection, request: Tap) -> None:
        """Let ``client`` watch from now on; raises what the boss says against it."""
        if self._tap is None:
            self._tap = MailTap(self._process)
            self._process.watch(self._tap.fileno(), self._on_copies)
            self._renew_at = self._clock.monotonic() + RENEW_EVERY
        id = next(self._ids)
        try:
            self._tap.follow(
                id,
                sender=request.sender,
                recipient=request.recipient,
                subject=request.subject,
                kinds=request.kinds,
            )
        except BaseException:
            # A boss that was late may yet open it.
            self._tap.forget(id)
            self._close_unused()
            raise
        self._clients[id] = client
        client.tail = request

    def forget(self, client: Connection) -> None:
        """End the tap of ``client``, if it has one."""
        for id, known in list(self._clients.items()):
            if known is client and self._tap is not None:
                del self._clients[id]
                self._tap.forget(id)
        self._close_unused()

    def look_after(self, now: float) -> None:
        """Renew the lease, and let go of who has stopped reading."""
        if self._tap is None:
            return
        if now >= self._renew_at:
            self._tap.renew()
            self._renew_at = now + RENEW_EVERY
        for client in list(self._clients.values()):
            if not client.outbox.is_empty and now - client.active_at >= PATIENCE:
                self._leave(client)

    def close(self) -> None:
        """Watch nothing any more."""
        self._clients = {}
        self._close_unused()

    def _close_unused(self) -> None:
        if self._tap is not None and not self._clients:
            self._process.unwatch(self._tap.fileno())
            self._tap.close()
            self._tap = None

    def _on_copies(self, _events: int) -> None:
        if self._tap is None:
            return
        told: dict[int, Connection] = {}
        for copy in self._tap.take():
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
