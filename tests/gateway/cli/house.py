"""A whole gateway in an OS process of its own, for the commands to talk to.

``python house.py FOLDER`` runs it until TERM and prints ``ready`` once its
front door is open: a route with one board that works and one that is not
plugged in, a process too busy to answer, one that dies of what it is sent,
and one that did not live long.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

INFO = {
    "driver": "BenchBoard",
    "description": "A board.",
    "identity": {"firmware": "1.0", "model": "bench", "serial_number": ""},
    "commands": {
        "led": {
            "description": "Light the LED.\n\nOr put it out.",
            "parameters": {"hz": {"type": "int", "unit": "Hz", "required": False}},
            "returns": "bool",
        }
    },
    "publications": [
        {
            "topic": "analogue",
            "body": "Analogue",
            "fields": {"millivolts": {"type": "int", "unit": "mV"}},
        }
    ],
}
"""What the board says of itself."""
DEADLINE = 20.0
ROOT = Path(__file__).parents[3]


class House:
    """Runs this file as a program."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "gateway.sock"
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it in order; twice is fine."""
        if self._process.returncode is None:
            self._process.terminate()
            self._process.communicate(timeout=DEADLINE)


def main(folder: str) -> int:
    from gateway.application import Application
    from gateway.errors import LinkLostError
    from gateway.mail.message import Message
    from gateway.process.process import Process
    from gateway.supervision.restart import RestartPolicy
    from routes.unix_socket.router import UnixSocketRouter

    class Serial(Process):
        def birth(self) -> None:
            self.frequency = 20.0
            for name, state, cause in (
                ("board", "healthy", "it answered its ping"),
                ("scanner", "absent", "nothing is plugged in at /dev/ttyACM7"),
            ):
                body = {
                    "state": state,
                    "connected": state == "healthy",
                    "cause": cause,
                    "since": self._clock.time() - 75,
                }
                self.publish(f"devices/{name}/state", body, retain=True)
            move = {"state": "absent", "event": "absent", "cause": "it was pulled", "at": 1.5}
            moves = {"moves": [move], "counts": {"absent": 1}}
            self.publish("devices/scanner/moves", moves, retain=True)
            claim = {"node": "/dev/ttyACM7", "path": "/sys/devices/x/ttyACM7", "properties": {}}
            self.publish("devices/scanner/claim", claim, retain=True)
            self.publish("devices/scanner/info", INFO, retain=True)
            self.add_filter(callback=self.on_led, subject="^led$")
            self.add_filter(callback=self.on_broken, subject="^broken$")
            self.add_filter(callback=self.on_paint, subject="^paint$")
            self.add_filter(callback=lambda message: None, subject="^hang$")

        def life(self) -> None:
            self.publish("devices/board/analogue", {"millivolts": 1234})

        def on_led(self, message: Message) -> None:
            self.reply(message, None if message.body is None else {"was": message.body})

        def on_paint(self, message: Message) -> None:
            self.reply(message, "red \x1b[31m")

        def on_broken(self, message: Message) -> None:
            raise LinkLostError("the cable is out: plug it in again")

    class Busy(Process):
        def life(self) -> None:
            self.light_sleep(3600)

    class Fragile(Process):
        def birth(self) -> None:
            self.add_filter(callback=self.on_touch, subject="^touch$")

        def on_touch(self, message: Message) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

    class Brief(Process):
        def birth(self) -> None:
            self.die()

    class Main(Process):
        def birth(self) -> None:
            self.subscribe("routes/unix_socket/state", self.on_state)
            self.add_filter(callback=self.on_salutation, subject="^salutation$")

        def on_state(self, message: Message) -> None:
            if message.body["state"] == "connected":
                print("ready", flush=True)

        def on_salutation(self, message: Message) -> None:
            self.reply(message, f"Hello {message.body}!")

    class Built(Application):
        def build(self) -> None:
            self.add_process("serial", Serial, mode="fork", route="serial")
            self.add_process("busy", Busy)
            once = RestartPolicy("temporary")
            self.add_process("fragile", Fragile, mode="fork", restart=once)
            self.add_process("brief", Brief, restart=once)
            self.add_process(
                "unix_socket",
                UnixSocketRouter,
                mode="fork",
                route="unix_socket",
                depends=("serial", "busy", "fragile"),
                parameters={"node": "lab", "sockets": folder},
            )

    return Built(main=Main, sockets=folder).run()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
