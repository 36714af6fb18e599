"""The application of ``gateway simulate``: a service for each device, a door, a prompt.

Each device lives in an OS process of its own, under its name, so that one that breaks
costs no other. Through the door, a ``unix_socket`` route of its own, they are called
as anything else behind a gateway (``gateway call pump unplug``). What is typed, or
written into standard input, goes the same way.

Refused: what cannot be made, told by whoever runs the application (`Hardware.error`).
"""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway import plugins
from gateway.appliance import Appliance
from gateway.cli.simulation.announcer import Announcer
from gateway.cli.simulation.plan import Planned
from gateway.cli.simulation.wish import HELP, understood
from gateway.config.provenance import Provenance
from gateway.config.schema import Configuration, GatewaySettings, HealthSettings, RouteConfig
from gateway.errors import GatewayError, RefusedError
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.services.registry import Services
from gateway.services.simulated_device import SimulatedDevice

DOOR = "unix_socket"
"""The route through which the devices are called."""

PATIENCE = 10.0
"""Seconds that the door may take to open where it is to end by itself."""

LONGEST_LINE = 4096
"""Bytes of a line at the prompt."""


class Hardware(Appliance):
    """The simulated devices of a plan, in ``folder``."""

    def __init__(
        self,
        planned: Sequence[Planned],
        folder: Path,
        announcer: Announcer,
        *,
        node: str,
        held: bool = False,
        seed: int = 0,
        seconds: float | None = None,
    ) -> None:
        """Have the boards' clocks ``held`` where time is virtual; end after so many ``seconds``."""
        self.planned = planned
        self.announcer = announcer
        self.held = held
        self.seed = seed
        self.seconds = seconds
        self.error: GatewayError | None = None
        """Why it could not begin."""
        sockets = folder / "sockets"
        self.socket = sockets / "gateway.sock"
        """Where the door is."""
        door: Any = plugins.find(plugins.ROUTES, DOOR)
        settings = msgspec.convert({}, door.Settings)
        super().__init__(
            Configuration(
                gateway=GatewaySettings(node=node, sockets=os.fspath(sockets)),
                health=HealthSettings(enabled=False),
                routes={DOOR: RouteConfig(name=DOOR, type=DOOR, settings=settings)},
                devices={},
                provenance=Provenance(),
            ),
            main=Hands,
        )


class Hands(Process):
    """Plugs everything in, does as it is told, and takes everything away."""

    _watches: bool | None = None
    """Whether a terminal is read; None where nothing is."""

    def birth(self) -> None:
        """Start the devices, and listen."""
        self.house: Hardware = self.application
        self._names = [each.name for each in self.house.planned]
        self._unread = b""
        self._listens = False
        self._services = Services(self)
        self.devices: dict[str, Any] = {}
        try:
            for each in self.house.planned:
                self._start(each)
        except GatewayError as error:
            self.house.error = error
            self.die()
            return
        self.subscribe("processes/+/state", self._on_state)
        self.subscribe(f"routes/{DOOR}/state", self._on_door)
        if self.house.seconds is not None:
            # They count from when it is there, if that comes about.
            self.call_later(self.house.seconds + PATIENCE, self.die)

    def death(self) -> None:
        """Pull every cable."""
        self._stop_listening()
        self._services.close_all()
        if self.house.error is None:
            self.house.announcer.tell("end", "the hardware is gone")

    def _start(self, planned: Planned) -> None:
        self.devices[planned.name] = self._services.start(
            planned.name,
            SimulatedDevice,
            planned.simulator,
            planned.link,
            held=self.house.held,
            seed=self.house.seed,
        )

    def _on_state(self, message: Message) -> None:
        name = message.subject.split("/")[1]
        if message.body is None and name in self.devices and self.is_active:
            del self.devices[name]
            self._names.remove(name)
            told = f"the simulator of {name} died, and with it the device; the log may say why"
            self.house.announcer.tell("died", told, device=name)

    def _on_door(self, message: Message) -> None:
        if message.body["state"] == "connected" and not self._listens:
            self._listens = True
            if self.house.seconds is not None:
                self.call_later(self.house.seconds, self.die)
            self.house.announcer.ready(self.house.planned, self.house.socket)
            self._listen()

    # The prompt

    def _listen(self) -> None:
        """Read what is typed, where there is somebody who may type, or a pipe."""
        if sys.stdin is None:
            # It was closed before the start, and its number may be anything's by now.
            return
        kind = os.fstat(0).st_mode
        is_terminal = stat.S_ISCHR(kind) and os.isatty(0)
        if is_terminal and _is_in_background():
            # To read would stop it.
            return
        if is_terminal or stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):
            self.watch(0, self._read, select.EPOLLIN)
            self._watches = is_terminal
            self.house.announcer.prompt()

    def _stop_listening(self) -> None:
        if self._watches is not None:
            self._watches = None
            self.unwatch(0)

    def _read(self, events: int) -> None:
        data = os.read(0, LONGEST_LINE)
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._obey(line.decode(errors="replace"))
        if not data:
            # At a terminal that is Ctrl-D; a pipe has no more to say.
            is_terminal = self._watches
            self._stop_listening()
            if is_terminal:
                self.die()
        elif len(self._unread) >= LONGEST_LINE:
            self._unread = b""

    def _obey(self, line: str) -> None:
        announcer = self.house.announcer
        try:
            wish = understood(line, self._names)
            if wish is None:
                pass
            elif wish.word == "quit":
                self.die()
                return
            elif wish.word == "help":
                announcer.tell("help", HELP)
            else:
                for name in wish.devices:
                    self._do(name, wish.word, wish.arguments)
        except GatewayError as error:
            announcer.tell("error", str(error), code=error.code)
        announcer.prompt()

    def _do(self, name: str, word: str, arguments: Sequence[float]) -> None:
        device = self.devices.get(name)
        if device is None:
            raise RefusedError(f"{name} has died")
        told = getattr(device, word)(*arguments)
        if word != "status":
            told = device.status()
        self.house.announcer.status(name, told)


def _is_in_background() -> bool:
    """Whether standard input is a terminal that another job has just now."""
    try:
        return os.tcgetpgrp(0) != os.getpgrp()
    except OSError:
        # Nobody's jobs are controlled there.
        return False
