"""The application of the demonstration: a configuration as a user would write one.

One simulated board on the serial route, the mqtt route, and in the middle
`Story`. Plug-ins come in by name, as everywhere in the core; the driver says
where its simulator is. Without a broker of the user's own, amqtt is one more
process, and the mqtt route is started after it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from gateway import plugins
from gateway.appliance import Appliance
from gateway.cli.demonstration.broker import EmbeddedBroker, free_port
from gateway.cli.demonstration.stage import DEVICE, DRIVER, Outcome, Simulator
from gateway.cli.demonstration.story import Story
from gateway.cli.demonstration.storyteller import Storyteller
from gateway.config.provenance import Provenance
from gateway.config.schema import Configuration, DeviceConfig, GatewaySettings, RouteConfig
from gateway.errors import ConfigError
from gateway.process.process import Process


class Demonstration(Appliance):
    """Everything that the story needs, in ``folder``; ``outcome`` is how it went."""

    def __init__(
        self,
        folder: Path,
        storyteller: Storyteller,
        *,
        broker: str | None = None,
        ends_at: float | None = None,
    ) -> None:
        """``broker`` is the URL of the user's own, ``ends_at`` a moment of the monotonic clock.

        Raises `ConfigError` where that is no URL.
        """
        self.storyteller = storyteller
        self.ends_at = ends_at
        self.outcome: Outcome = "untold"
        self.is_embedded = broker is None
        self.port = free_port() if broker is None else 0
        self.broker = broker or f"mqtt://127.0.0.1:{self.port}"
        # On somebody's broker there may be other demonstrations.
        self.node = "demo" if broker is None else f"demo-{uuid4().hex[:6]}"
        self.pattern = f"gateway/{self.node}/#"
        self.link = folder / "board"
        super().__init__(_configuration(folder, self.link, self.node, self.broker), main=Story)

    def build(self) -> None:
        """Add the broker, where it is ours, and the routes."""
        if self.is_embedded:
            self.add_process("broker", EmbeddedBroker, parameters={"port": self.port})
        super().build()

    def add_process(
        self, name: str, factory: type[Process] | str = Process, **options: Any
    ) -> None:
        """As ever; but the mqtt route is started after our broker, and ends before it."""
        if name == "mqtt" and self.is_embedded:
            options["depends"] = ("broker",)
        super().add_process(name, factory, **options)

    def make_board(self) -> Simulator:
        """Return the simulated board, not yet started."""
        module, _, name = plugins.find(plugins.DRIVERS, DRIVER).simulator.partition(":")
        board: Simulator = getattr(importlib.import_module(module), name)(self.link)
        return board


def _configuration(folder: Path, link: Path, node: str, broker: str) -> Configuration:
    serial: Any = plugins.find(plugins.ROUTES, "serial")
    mqtt: Any = plugins.find(plugins.ROUTES, "mqtt")
    driver: Any = plugins.find(plugins.DRIVERS, DRIVER)
    to_broker = {"broker": broker, "allow": [{"to": f"{DEVICE}@serial", "subject": "led"}]}
    return Configuration(
        gateway=GatewaySettings(node=node, sockets=os.fspath(folder / "sockets")),
        routes={
            "serial": RouteConfig(
                name="serial", type="serial", settings=_typed({}, serial.Settings)
            ),
            "mqtt": RouteConfig(
                name="mqtt", type="mqtt", settings=_typed(to_broker, mqtt.Settings)
            ),
        },
        devices={
            DEVICE: DeviceConfig(
                name=DEVICE,
                driver=DRIVER,
                route="serial",
                link=_typed({"port": os.fspath(link)}, serial.DeviceSettings),
                settings=_typed({}, driver.Settings),
            )
        },
        provenance=Provenance(),
    )


def _typed(values: Mapping[str, Any], struct: type[msgspec.Struct]) -> msgspec.Struct:
    try:
        return msgspec.convert(values, struct)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error.__cause__ or error)) from error
