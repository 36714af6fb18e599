"""Foreign ends that mosquitto cannot play: an old broker, a mute one, nonsense."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from queue import SimpleQueue
from types import TracebackType
from typing import Self


class Server:
    """Accepts on a loopback port and hands each connection to `serve`, one at a time."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._leave, self._left = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, as the configuration writes it."""
        return f"mqtt://127.0.0.1:{self.port}"

    def serve(self, peer: socket.socket) -> None:
        """Deal with one connection, where a kind of end does; `wait` waits for its bytes."""

    def wait(self, *sockets: socket.socket) -> list[socket.socket]:
        """Return which of ``sockets`` can be read; none of them when it is over."""
        ready, _, _ = select.select([*sockets, self._left], [], [], 10.0)
        return [] if self._left in ready else ready

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave.close()
        self._thread.join(10.0)
        self._left.close()
        self._listener.close()

    def _run(self) -> None:
        while self.wait(self._listener):
            peer, _ = self._listener.accept()
            self.connections += 1
            with peer, contextlib.suppress(ConnectionError):
                self.serve(peer)


class OldBroker(Server):
    """A broker of 2014 before a real one: hangs up on MQTT 5, passes 3.1.1 on."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._behind = port

    def serve(self, peer: socket.socket) -> None:
        """Look at the protocol level in CONNECT (MQTT 3.1.1, section 3.1.2.2)."""
        if not self.wait(peer):
            return
        connect = peer.recv(65_536)
        if connect[connect.index(b"MQTT") + 4] != 4:
            return
        with socket.create_connection(("127.0.0.1", self._behind)) as broker:
            broker.sendall(connect)
            while ready := self.wait(peer, broker):
                for source in ready:
                    data = source.recv(65_536)
                    if not data:
                        return
                    (broker if source is peer else peer).sendall(data)


class Mute(Server):
    """Takes the connection and says nothing."""

    def serve(self, peer: socket.socket) -> None:
        """Read until the peer has had enough."""
        while self.wait(peer) and peer.recv(65_536):
            pass


class Deaf(Server):
    """Admits everybody and acknowledges nothing; keeps what was said to it."""

    def __init__(self) -> None:
        super().__init__()
        self.said: SimpleQueue[bytes] = SimpleQueue()

    def serve(self, peer: socket.socket) -> None:
        """Answer with an empty CONNACK (MQTT 5.0, section 3.2), then only listen."""
        peer.sendall(b"\x20\x03\x00\x00\x00")
        said = b""
        while self.wait(peer) and (data := peer.recv(65_536)):
            said += data
        self.said.put(said)


class Babbler(Server):
    """Says something that is no MQTT, then hangs up."""

    def __init__(self, words: bytes) -> None:
        super().__init__()
        self._words = words

    def serve(self, peer: socket.socket) -> None:
        """Say it."""
        peer.sendall(self._words)
        if self.wait(peer):
            peer.recv(65_536)
