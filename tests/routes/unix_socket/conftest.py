"""A router on a small bus, a board behind it, and clients that speak to it by hand."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from gateway.errors import LinkLostError
from gateway.mail.message import Message
from gateway.process.process import Process
from routes.unix_socket.router import UnixSocketRouter
from routes.unix_socket.settings import Settings
from tests.lab.little_bus import LittleBus

DEADLINE = 10.0


class Board(Process):
    """Plays the serial router with one device behind it."""

    def birth(self) -> None:
        self.heard: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self.hung: list[Message] = []
        self.busy = threading.Event()
        self.go_on = threading.Event()
        self.publish("devices/board/state", {"state": "healthy", "connected": True}, retain=True)
        self.add_filter(callback=self.on_letter, kind="^letter$")

    def on_letter(self, message: Message) -> None:
        if message.subject == "block":
            self.busy.set()
            assert self.go_on.wait(DEADLINE)
        self.heard.put((message.subject, message.body))
        if message.subject == "fail":
            raise LinkLostError("the cable is out")
        if message.subject == "hang":
            self.hung.append(message)
            return
        answers = {"nan": float("nan"), "long": "x" * 5000}
        self.reply(message, answers.get(message.subject, {"was": message.body}))


class Raw:
    """A client by hand: lines out, objects in, each under a deadline."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(str(path))
        self._lines = self.socket.makefile("rb")

    def write(self, *requests: Any) -> None:
        lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in requests]
        self.socket.sendall(b"".join(line + b"\n" for line in lines))

    def read(self) -> Any:
        line = self._lines.readline()
        assert line.endswith(b"\n"), "the gateway hung up"
        return json.loads(line)

    def ask(self, **request: Any) -> Any:
        self.write(request)
        return self.read()

    def is_hung_up(self) -> bool:
        try:
            return self._lines.readline() == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


@pytest.fixture
def bus(tmp_path):
    with LittleBus(tmp_path / "bus") as bus:
        yield bus


@pytest.fixture
def board(bus):
    board = bus.run(Board, "serial")
    yield board
    board.go_on.set()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gateway.sock"


@pytest.fixture
def make_router(bus, tmp_path):
    """Run a router for the node `lab`, at `path`."""

    def make(kind=UnixSocketRouter, name="unix_socket", **options):
        settings = Settings(**options)
        return bus.run(kind, name, settings=settings, node="lab", sockets=str(tmp_path))

    return make


@pytest.fixture
def connect(path):
    made: list[Raw] = []

    def connect() -> Raw:
        made.append(Raw(path))
        return made[-1]

    yield connect
    for raw in made:
        raw.close()
