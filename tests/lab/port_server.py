"""Real RFC 2217 servers on loopback: pyserial's `PortManager`, and ser2net.

Each serves one port at one TCP port and gives everything back when it is
closed. `ManagedServer` can also be told to die as servers do.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from serial import rfc2217

from routes.serial.remote_hands import Line
from tests.lab.os_processes import until
from tests.lab.ports import free_port

SECONDS = 10.0


class ManagedServer:
    """A server by pyserial's own telnet, for one client after the other."""

    def __init__(self, port: Path | str) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self._listener.getsockname()[1]}"
        self.line = Line(str(port), 9600, timeout=0)
        self._end = os.eventfd(0)
        self._client: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="port server")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.eventfd_write(self._end, 1)
        self._thread.join(SECONDS)
        self._listener.close()
        self.line.close()
        os.close(self._end)

    def hang_up(self) -> None:
        """Close the connection of the client who is there."""
        client = self._client
        if client is not None:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        while True:
            door = self._listener.fileno()
            ready, _, _ = select.select([door, self._end], [], [], SECONDS)
            if door not in ready:
                return
            client, _ = self._listener.accept()
            with client:
                client.settimeout(SECONDS)
                self._client = client
                if not self._serve(client):
                    return

    def _serve(self, client: socket.socket) -> bool:
        manager = rfc2217.PortManager(self.line, _Writer(client))  # type: ignore[arg-type]
        port = self.line.fileno()
        while True:
            ready, _, _ = select.select([client.fileno(), port, self._end], [], [], SECONDS)
            if self._end in ready or not ready:
                return False
            with contextlib.suppress(ConnectionError):
                if port in ready:
                    client.sendall(b"".join(manager.escape(os.read(port, 4096))))
                if client.fileno() in ready:
                    data = client.recv(4096)
                    if not data:
                        return True
                    self.line.write(b"".join(manager.filter(data)))


class _Writer:
    def __init__(self, client: socket.socket) -> None:
        self.write = client.sendall


class Ser2net:
    """The daemon that people have on their machines."""

    def __init__(self, folder: Path, port: Path | str) -> None:
        number = free_port()
        self.address = ("127.0.0.1", number)
        self.url = f"rfc2217://127.0.0.1:{number}"
        configuration = folder / "ser2net.yaml"
        configuration.write_text(
            "connection: &board\n"
            f"  accepter: telnet(rfc2217),tcp,127.0.0.1,{number}\n"
            f"  connector: serialdev,{port},9600n81,local\n"
            "  options:\n"
            "    kickolduser: true\n"
        )
        self._process = subprocess.Popen(
            ["ser2net", "-n", "-u", "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        assert until(self._listens, SECONDS), "ser2net does not listen"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait(SECONDS)

    def kill(self) -> None:
        """End it as a power cut does."""
        self._process.kill()

    def _listens(self) -> bool:
        # Its own ear, and no connection of ours: it serves one at a time.
        wanted = f":{self.address[1]:04X} "
        return wanted in Path("/proc/net/tcp").read_text()
