"""The serial route within an application: its devices' mailboxes, wrong letters, stuck drivers."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from drivers.bench_board.driver import BenchBoard
from drivers.bench_board.simulator import SimulatedBoard
from gateway import Application, Message, Process
from gateway.errors import AddressError, RefusedError
from gateway.hosting import house
from gateway.hosting.hosted_device import HostedDevice
from gateway.hosting.stuck import StuckThreads
from routes.serial import router
from routes.serial.router import SerialRouter
from routes.serial.settings import SerialSettings


class Commander(Process):
    """Runs ``script(self)`` once the board is connected, and keeps what it returns."""

    script: Any
    said: list[Any]

    def birth(self) -> None:
        self.subscribe("devices/board/state", self.on_state)

    def on_state(self, message: Message) -> None:
        if message.body["connected"] and not self.said:
            self.said.append(self.script())
            self.die()


def run(folder: Path, mode: Any, script: Any) -> Any:
    said: list[Any] = []
    port = str(folder / "board")

    class Bench(Application):
        def build(self) -> None:
            devices = [
                HostedDevice("board", BenchBoard, SerialSettings(port=port)),
                HostedDevice("lamp", BenchBoard, SerialSettings(port=str(folder / "absent"))),
            ]
            self.add_process(
                "serial", SerialRouter, mode=mode, route="serial", parameters={"devices": devices}
            )

    main = type("Commander", (Commander,), {"script": script, "said": said})
    with SimulatedBoard(folder / "board"):
        assert Bench(main=main, sockets=folder / "sockets").run() == 0
    return said[0]


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_a_command_goes_to_the_device_s_own_mailbox_and_back(tmp_path: Path, mode: str) -> None:
    def script(self: Process) -> Any:
        letter = self.send("board@serial", "led", {"on": True})
        return self.recipients(), self.wait_for_reply(letter).body

    recipients, answer = run(tmp_path, mode, script)
    assert answer is True
    assert {"board@serial", "lamp@serial", "serial"} <= set(recipients)


def test_letters_that_cannot_be_carried_out_come_back_with_the_reason(tmp_path: Path) -> None:
    def script(self: Process) -> list[str]:
        said = []
        for to, error in (("lamp@serial", RefusedError), ("bord@serial", AddressError)):
            with pytest.raises(error) as raised:
                self.wait_for_reply(self.send(to, "led", {"on": True}))
            said.append(str(raised.value))
        return said

    absent, unknown = run(tmp_path, "fork", script)
    assert "lamp is not connected" in absent
    assert "did you mean 'board'" in unknown


class HangingBoard(BenchBoard):
    """A driver that does not return from the first reading."""

    def received(self, frame: bytes) -> None:
        threading.Event().wait(60)


def test_two_drivers_that_do_not_return_have_the_route_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router, "LOOK_AFTER_EVERY", 0.05)
    monkeypatch.setattr(house, "StuckThreads", partial(StuckThreads, 0.3))
    heard: dict[str, list[str]] = {"a": [], "b": []}

    class Listener(Process):
        def birth(self) -> None:
            self.subscribe("devices/+/state", self.on_state)

        def on_state(self, message: Message) -> None:
            heard[message.subject.split("/")[1]].append(message.body["cause"])
            if all(causes.count("the route 'serial' died") == 1 for causes in heard.values()):
                self.die()

    class Bench(Application):
        def build(self) -> None:
            devices = [
                HostedDevice(name, HangingBoard, SerialSettings(port=str(tmp_path / name)))
                for name in heard
            ]
            self.add_process(
                "serial", SerialRouter, mode="fork", route="serial", parameters={"devices": devices}
            )

    with SimulatedBoard(tmp_path / "a"), SimulatedBoard(tmp_path / "b"):
        Bench(main=Listener, sockets=tmp_path / "sockets").run()
    for causes in heard.values():
        assert any("does not return" in cause for cause in causes)
