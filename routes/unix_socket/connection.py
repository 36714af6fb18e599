"""One client: its socket, the lines it wrote and those that wait for it.

Nothing here waits. What cannot be written now is kept, bounded, by the
`Outbox`. What the lines mean is the router's.
"""

from __future__ import annotations

import select
import socket
import struct
from collections import deque

from gateway.errors import BodyError
from gateway.framing.frame import Frame, Garbage
from gateway.framing.line import Line
from gateway.mail.json_lines import Id, failure
from routes.unix_socket import protocol
from routes.unix_socket.outbox import Outbox
from routes.unix_socket.protocol import Tail, Tap

CHUNK = 4096
"""Bytes that are read at once: a flood takes turns with everybody else."""

_CREDENTIALS = struct.Struct("iII")


class Connection:
    """One client, known by its user; ``sock`` is ours from here on.

    Methods that read and write raise `OSError` where the client is gone.
    """

    def __init__(self, sock: socket.socket, *, max_line: int, max_outgoing: int) -> None:
        self._sock = sock
        self.fd = sock.fileno()
        self.pid, self.uid = peer_of(sock)
        self.tail: Tail | Tap | None = None
        self.calls = 0
        """Letters of this client's that await their answer, or room."""
        self.streams: dict[str, str] = {}
        """What it opened and has not read to the end: by their ids, whose they are."""
        self.said: deque[Frame | Garbage] = deque()
        """Lines that were read and not handled."""
        self.read_closed = False
        """Whether the client has said that it writes no more."""
        self.active_at = 0.0
        """When a byte moved last, either way; monotonic seconds."""
        self.watched = 0
        """The events for which it is watched."""
        self.outbox = Outbox(max_outgoing, gap=self._gap)
        self._max_outgoing = max_outgoing
        self._decoder = Line(limit=max_line).decoder()

    @property
    def wanted(self) -> int:
        """The events that would be of use."""
        reads = not self.read_closed and not self.said
        return (select.EPOLLIN if reads else 0) | (0 if self.outbox.is_empty else select.EPOLLOUT)

    @property
    def is_served(self) -> bool:
        """Whether it wrote its last and has been told everything."""
        waits = self.calls or self.said or self.tail
        return self.read_closed and not waits and self.outbox.is_empty

    def is_idle(self, now: float, after: float) -> bool:
        """Tell whether it has neither asked nor read anything for ``after`` seconds."""
        waits = self.calls or (self.tail and self.outbox.is_empty)
        return not waits and now - self.active_at >= after

    def read(self, now: float) -> None:
        """Read what there is, one chunk at the most, into `said`."""
        try:
            data = self._sock.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        if not data:
            self.read_closed = True
            return
        self.active_at = now
        self.said.extend(self._decoder.feed(data))

    def answer(self, line: bytes, id: Id) -> bool:
        """Queue an answer to ``id``; False where the client has left too many unread."""
        if len(line) > self._max_outgoing:
            reason = f"the answer has {len(line)} bytes; max_outgoing is {self._max_outgoing}"
            line = failure(id, BodyError(reason))
        return self.outbox.add(line)

    def flush(self, now: float) -> None:
        """Write as much of the outbox as the socket takes."""
        while head := self.outbox.head():
            try:
                count = self._sock.send(head)
            except (BlockingIOError, InterruptedError):
                return
            self.outbox.wrote(count)
            self.active_at = now

    def has_hung_up(self) -> bool:
        """Look whether the client has closed both ways.

        Asked anew: an event may be one that was meant for an earlier client
        with the same descriptor.
        """
        poll = select.poll()
        poll.register(self.fd, 0)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Let the client go."""
        self._sock.close()

    def _gap(self, count: int) -> bytes:
        return protocol.gap(self.tail.id if self.tail else None, count)


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """Return the process id and the user that the kernel vouches for."""
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(packed)
    return pid, uid
