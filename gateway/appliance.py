"""The application that a configuration describes: a process for each route, crew, APIs, health.

Routes and drivers are found by name among the plug-ins; what a route hosts is
handed to it as data. Routers run as OS processes of their own, so that one
that dies costs its medium and not the gateway.

Refused: what `gateway.config` refuses, and a configuration with neither routes
nor a crew nor APIs, which would do nothing at all.
"""

from __future__ import annotations

import logging
import uuid
from pathlib import Path
from typing import Any

from gateway import plugins
from gateway.application import Application
from gateway.config.loading import load
from gateway.config.schema import STUCK_AFTER, Configuration, RouteConfig
from gateway.errors import ConfigError
from gateway.hosting.hosted_device import HostedDevice
from gateway.process.process import Process
from gateway.supervision.recruit import data_of_member

log = logging.getLogger(__name__)

HEALTH = "gateway.watchdog.process:Health"
"""The class of the process that reports how the gateway is."""

APIS = {
    "fork": "gateway.rpc.configured:Configured",
    "thread": "gateway.rpc.configured:Configured",
    "asyncio": "gateway.rpc.configured:ConfiguredOnALoop",
}
"""The class of the process that serves an API, by its mode; imported where it runs."""

MOVES = 16
"""Letters that each mailbox has room for, for each device; one that starts tells of six things."""


class Appliance(Application):
    """The routes and devices of ``configuration``, around ``main``."""

    global_frequency = None

    def __init__(
        self, configuration: Configuration, *, main: type[Process] = Process, file: str = ""
    ) -> None:
        """``file`` is where ``configuration`` was read, so that it can be read again."""
        super().__init__(main=main, sockets=Path(configuration.gateway.sockets))
        self.configuration = configuration
        self.file = file
        self._run = uuid.uuid4().hex
        # At the start every device tells of itself several times at once, and a reader
        # whose mailbox is full would miss the last move of some and never hear of it.
        self.mailbox_size = max(self.mailbox_size, MOVES * len(configuration.devices))

    def build(self) -> None:
        """Add a process for each route, each member of the crew and each API."""
        configuration = self.configuration
        if not (configuration.routes or configuration.crew or configuration.apis):
            raise ConfigError("no routes are configured: add at least [routes.serial]")
        for route in configuration.routes.values():
            router: Any = plugins.find(plugins.ROUTES, route.type)
            self.add_process(
                route.name,
                router,
                mode="fork",
                route=route.name,
                parameters=self._parameters_of(route, configuration),
                spools=router.spools(route.name, route.settings),
                stuck_after=route.stuck_after or None,
                when_stuck=route.when_stuck,
            )

        for name, member in configuration.crew.items():
            self.add_member({**data_of_member(member), "name": name})
        for name, api in configuration.apis.items():
            self.add_member(
                {
                    "name": name,
                    "process": APIS[api.mode],
                    "mode": api.mode,
                    "depends": list(api.depends),
                    "stuck_after": api.stuck_after,
                    "when_stuck": api.when_stuck,
                    "parameters": {
                        "functions": dict(api.functions),
                        "workers": api.workers,
                        "waiting": api.waiting,
                    },
                }
            )
        if configuration.health.enabled:
            # A thread of this OS process: what it costs beyond its code is a stack and a mailbox
            # (docs/health.md has the figures). By name, since it is imported after the fork.
            # Where a dying disk holds it up the mail flows all the same: that is told, and is no
            # reason to start everything anew.
            self.add_process(
                "health",
                HEALTH,
                stuck_after=STUCK_AFTER,
                when_stuck="report",
                parameters={
                    "settings": configuration.health,
                    "node": configuration.gateway.node,
                    "sockets": configuration.gateway.sockets,
                },
            )

    @property
    def _mark(self) -> Path:
        return Path(self.configuration.gateway.sockets) / "renewed"

    def load(self, path: str) -> Configuration:
        """Read and check a configuration, as this one was; raise `ConfigError`."""
        return load(path, find=plugins.find)

    def renew(self) -> None:
        """Have each route that is born from here on read the configuration again.

        Until then a route that is restarted is what it was at the gateway's start, however
        its file has been edited meanwhile.
        """
        self._mark.write_text(self._run)

    def renewed_parameters(self, name: str) -> dict[str, Any]:
        """Return what the route ``name`` is to be handed now; empty where that has not changed."""
        if not self.file or not self._is_renewed():
            return {}
        try:
            configuration = self.load(self.file)
        except ConfigError as error:
            # As text: a record that is kept would keep what the error's frames hold.
            log.error("%s goes on as it was: %s", name, str(error))
            return {}
        route = configuration.routes.get(name)
        return {} if route is None else self._parameters_of(route, configuration)

    def _is_renewed(self) -> bool:
        # What an earlier run has marked is in `configuration` by now.
        try:
            return self._mark.read_text() == self._run
        except OSError:
            return False

    def _parameters_of(self, route: RouteConfig, configuration: Configuration) -> dict[str, Any]:
        return {
            "settings": route.settings,
            "node": configuration.gateway.node,
            "sockets": configuration.gateway.sockets,
            "devices": self._devices_of(route.name, configuration),
            "configured": tuple(configuration.devices),
        }

    def _devices_of(
        self, route: str, configuration: Configuration | None = None
    ) -> list[HostedDevice]:
        hosted = []
        for device in (configuration or self.configuration).devices.values():
            if device.route == route:
                found: Any = plugins.find(plugins.DRIVERS, device.driver)
                driver = found.configured(device.settings)
                hosted.append(HostedDevice(device.name, driver, device.link, device.settings))
        return hosted
