"""What a check-up takes from the configuration: ports, matches, rules, folders.

A configuration that cannot stand is a finding and no end: what it would have said is
then unknown.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Self

from gateway.cli.rules.configured import named_devices
from gateway.cli.rules.file import INSTALLED, NamedDevice, rules_for
from gateway.cli.rules.options import RuleOptions
from gateway.config.loading import Find, load
from gateway.config.mistake import ConfigErrors
from gateway.hosting.matching import Match
from gateway.hosting.plugged import PluggedDevice

_USB_ROUTES = frozenset({"usb"})


class Configured:
    """The configuration at ``path``, as far as it can be read."""

    def __init__(
        self,
        path: str,
        *,
        problem: str = "",
        devices: tuple[NamedDevice, ...] = (),
        ports: Mapping[str, str] | None = None,
        sockets: str = "/run/gateway",
        needs_libusb: bool = False,
        rules_path: str = INSTALLED,
    ) -> None:
        self.path = path
        self.problem = problem
        self.sockets = sockets
        self.needs_libusb = needs_libusb
        self.rules_path = rules_path
        self.named = sum(bool(device.match) for device in devices)
        self._devices = devices
        self._ports = dict(ports or {})

    @classmethod
    def read(cls, path: str, find: Find) -> Self:
        """Load ``path``; a mistake in it is kept in `problem`."""
        try:
            configuration = load(path, find=find)
        except ConfigErrors as errors:
            first, *more = errors.mistakes
            others = f", and {len(more)} more" if more else ""
            return cls(path, problem=f"{first}{others}")
        kinds = {route.type for route in configuration.routes.values()}
        return cls(
            path,
            devices=tuple(named_devices(configuration, find)),
            ports={
                port: device.name
                for device in configuration.devices.values()
                if (port := getattr(device.link, "port", None))
            },
            sockets=configuration.gateway.sockets,
            needs_libusb=bool(kinds & _USB_ROUTES),
        )

    def device_at(self, plugged: PluggedDevice) -> str:
        """Return the configured device that ``plugged`` would be; empty where none."""
        for port, name in self._ports.items():
            if port in plugged.names or os.path.realpath(port) == plugged.node:
                return name
        for device in self._devices:
            if plugged.subsystem in device.subsystems and _fits(device.match, plugged):
                return device.name
        return ""

    def rules(self, installed: str | None) -> tuple[str | None, str]:
        """Return what the rules file should say, and why it cannot be said."""
        if self.problem:
            return None, ""
        options = RuleOptions.of(installed or "") or RuleOptions()
        try:
            return rules_for(self._devices, options), ""
        except ConfigErrors as errors:
            return None, str(errors.mistakes[0])


def _fits(match: Mapping[str, str], plugged: PluggedDevice) -> bool:
    try:
        judge = Match(match)
    except ValueError:
        return False
    return judge(plugged)
