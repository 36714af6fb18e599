"""One device that a router is to host: what the configuration said, made usable."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gateway.device.driver import Driver


@dataclass(frozen=True)
class HostedDevice:
    """``link`` is in the router's `DeviceSettings`, ``settings`` in the driver's `Settings`.

    ``driver`` is what `Driver.configured` made of the plug-in's class.
    """

    name: str
    driver: type[Driver]
    link: msgspec.Struct
    settings: msgspec.Struct | None = None
