"""The serial route and remote hands: the door is closed with the route, and needs its leave."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from drivers.bench_board.driver import BenchBoard
from drivers.bench_board.simulator import SimulatedBoard
from gateway import Application, Message, Process
from gateway.hosting.hosted_device import HostedDevice
from routes.serial.router import SerialRouter, SerialSettingsOfRoute
from routes.serial.settings import SerialSettings
from tests.lab.ports import free_port


class Watcher(Process):
    """Notes the board's states until one comes at which it is to ``act``; then ends."""

    at: str
    act: Any
    said: list[dict[str, Any]]

    def birth(self) -> None:
        self.visitor: socket.socket | None = None
        self.subscribe("devices/board/state", self.on_state)

    def on_state(self, message: Message) -> None:
        self.said.append(message.body)
        self.act(message.body["state"])

    def death(self) -> None:
        if self.visitor is not None:
            self.visitor.close()


def run(
    folder: Path, number: int, act: Any, *, allowed: bool, mode: Any = "fork"
) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    link = SerialSettings(port=str(folder / "board"), share=f"socket://127.0.0.1:{number}")

    class Bench(Application):
        def build(self) -> None:
            self.add_process(
                "serial",
                SerialRouter,
                mode=mode,
                route="serial",
                parameters={
                    "devices": [HostedDevice("board", BenchBoard, link)],
                    "settings": SerialSettingsOfRoute(allow_sharing=allowed),
                },
            )

    main = type("Watcher", (Watcher,), {"said": said, "act": act})
    with SimulatedBoard(folder / "board"):
        assert Bench(main=main, sockets=folder / "sockets").run() == 0
    return said


@pytest.fixture
def number() -> int:
    return free_port()


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_a_visitor_has_the_port_until_the_route_ends(
    tmp_path: Path, number: int, mode: str
) -> None:
    def act(self: Watcher, state: str) -> None:
        if state == "healthy":
            self.visitor = socket.create_connection(("127.0.0.1", number), 5.0)
        elif state == "present" and self.visitor is not None:
            self.die()

    said = run(tmp_path, number, act, allowed=True, mode=mode)
    assert any("in the remote hands of 127.0.0.1" in each["cause"] for each in said)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", number), 5.0)


def test_without_leave_the_device_fails_and_says_what_to_set(tmp_path: Path, number: int) -> None:
    def act(self: Watcher, state: str) -> None:
        if state == "failed":
            self.die()

    said = run(tmp_path, number, act, allowed=False)
    assert "allow_sharing = true" in said[-1]["cause"]
