"""A port that answers HTTP requests, watched by the process that owns it; no thread.

Each connection has one request, `PATIENCE` seconds for all of it, and is closed.
Whoever is too slow, or one too many, is let go of, and counted. Where there are no
descriptors left to let anybody in, whoever knocks waits for the next second.

Refused (`LinkLostError`): an address that cannot be listened on.
"""

from __future__ import annotations

import select
import socket
from collections import Counter
from collections.abc import Callable

from gateway.clock import Clock
from gateway.errors import LinkLostError
from gateway.process.process import Process
from routes.prometheus import http
from routes.prometheus.http import Refusal, Request

PATIENCE = 10.0
"""Seconds that one connection may last."""

_CHUNK = 65_536


class _Client:
    def __init__(self, used: socket.socket, deadline: float) -> None:
        self.socket = used
        self.deadline = deadline
        self.heard = b""
        self.to_say = memoryview(b"")


class Listener:
    """Listens at ``host`` and ``port``; ``answer`` makes the whole response to a request."""

    def __init__(
        self,
        process: Process,
        clock: Clock,
        host: str,
        port: int,
        answer: Callable[[Request], bytes],
        *,
        most: int,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """Requests that were answered, refused (by status), slow or one too many."""
        self._process = process
        self._clock = clock
        self._answer = answer
        self._most = most
        self._clients: dict[int, _Client] = {}
        self._socket = _listening(host, port)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._is_crowded = False
        process.watch(self._socket.fileno(), self._on_knock)

    def __len__(self) -> int:
        return len(self._clients)

    def look_after(self, now: float) -> None:
        """Let go of who has taken too long."""
        for client in [each for each in self._clients.values() if now >= each.deadline]:
            self.counts["slow"] += 1
            self._leave(client)
        if self._is_crowded:
            self._is_crowded = False
            self._process.watch(self._socket.fileno(), self._on_knock)
            self._set_pace()

    def close(self) -> None:
        """Listen no more, and hang up on everybody."""
        self._process.unwatch(self._socket.fileno())
        self._socket.close()
        for client in list(self._clients.values()):
            self._leave(client)

    def _on_knock(self, _events: int) -> None:
        try:
            used, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # it has gone again
        except OSError:
            # No descriptors left: it would knock for ever, so look again later.
            self.counts["not_accepted"] += 1
            self._process.unwatch(self._socket.fileno())
            self._is_crowded = True
            self._set_pace()
            return
        if len(self._clients) >= self._most:
            self.counts["too_many"] += 1
            used.close()
            return
        used.setblocking(False)
        client = _Client(used, self._clock.monotonic() + PATIENCE)
        self._clients[used.fileno()] = client
        self._process.watch(used.fileno(), lambda _: self._on_words(client))
        self._set_pace()

    def _on_words(self, client: _Client) -> None:
        try:
            data = client.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.counts["hung_up"] += 1
            self._leave(client)
            return
        client.heard += data
        parsed = http.parse(client.heard)
        if parsed is None:
            return
        if isinstance(parsed, Refusal):
            self.counts[f"refused_{parsed.status}"] += 1
            client.to_say = memoryview(http.refusal(parsed))
        else:
            self.counts["answered"] += 1
            client.to_say = memoryview(self._answer(parsed))
        if self._say(client):
            # In place of the watch for what it says, which nobody reads any more.
            self._process.watch(
                client.socket.fileno(), lambda _: self._on_room(client), select.EPOLLOUT
            )

    def _on_room(self, client: _Client) -> None:
        self._say(client)

    def _say(self, client: _Client) -> bool:
        """Write as much as there is room for; tell whether something is left to be written."""
        try:
            while client.to_say:
                client.to_say = client.to_say[client.socket.send(client.to_say) :]
        except BlockingIOError:
            return True
        except OSError:
            self.counts["hung_up"] += 1
        self._leave(client)
        return False

    def _leave(self, client: _Client) -> None:
        fd = client.socket.fileno()
        if self._clients.pop(fd, None) is not None:
            self._process.unwatch(fd)
            client.socket.close()
        self._set_pace()

    def _set_pace(self) -> None:
        """Have `look_after` called while there is somebody to be looked after."""
        pace = 1.0 if self._clients or self._is_crowded else 0.0
        if pace != self._process.frequency:
            self._process.frequency = pace


def _listening(host: str, port: int) -> socket.socket:
    used: socket.socket | None = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        used = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        used.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        used.bind((host, port))
        used.listen(16)
    except (OSError, UnicodeError) as error:  # the latter of 127.0.0..1 and the like
        if used is not None:
            used.close()
        raise LinkLostError(cannot_listen(host, port, error)) from error
    used.setblocking(False)
    return used


def cannot_listen(host: str, port: int, error: Exception) -> str:
    """Return why it cannot, and what to do."""
    reason = getattr(error, "strerror", None) or error
    return (
        f"it cannot listen at {host}:{port}: {reason}; see who does"
        f" (ss -ltnp sport = :{port}), or set host and port under [routes.prometheus]"
    )
