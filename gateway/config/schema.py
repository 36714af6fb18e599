"""What a configuration is made of, once it is known to be right.

::

    [gateway]                   node, sockets, log_level
    [health]                    whether and how often the gateway reports how it is
    [routes.<name>]             type, stuck_after, when_stuck, and the keys of the router's own
                                `Settings`
    [devices.<name>]            driver, route, and the keys of the router's `DeviceSettings`
    [devices.<name>.settings]   the keys of the driver's own `Settings`
    [crew.<name>]               a process of one's own: `gateway.config.crew`
    [apis.<name>]               functions that can be called: `gateway.config.apis`

Frozen structs; what is in them has been checked. Nothing is read or checked here.
"""

from __future__ import annotations

import os
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.config.apis import ApiConfig
from gateway.config.crew import LONGEST, CrewMember, Name, WhenStuck
from gateway.config.provenance import Provenance


class NoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of a plug-in that has none."""


class GatewaySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[gateway]``: ``node`` is this machine's name among gateways, its host name unless said;
    ``sockets`` the folder of its sockets.
    """

    node: Name = msgspec.field(default_factory=lambda: os.uname().nodename)
    sockets: Annotated[
        str, Meta(pattern=r"^/[^\0]*\Z", description="a folder, from the root", max_length=4000)
    ] = "/run/gateway"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


Fraction = Annotated[float, Meta(ge=0, le=1, description="a part of the whole")]
Celsius = Annotated[float, Meta(ge=-40, le=150, description="degrees Celsius")]


class HealthSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[health]``: the report that is published on ``health``, and when something is not well.

    What is measured against a threshold says where that comes from:

    - ``temperature_warning``, ``temperature_critical``: a Raspberry Pi slows down from 80 °C on
      and is at its limit at 85 °C (Raspberry Pi documentation, "Frequency management and thermal
      control"); the warning comes while there is still something to be done about it.
    - ``memory_warning``, ``memory_critical``: the part of the memory that is available still;
      90 % and 98 % in use are what netdata's ``ram_in_use`` alarm warns of.
    - ``disk_warning``, ``disk_critical``: the part of a file system that is free, in bytes or in
      inodes; those of ``NodeFilesystemAlmostOutOfSpace`` in node_exporter's mixin.
    - ``load_warning``: the load over 15 minutes, a core; that of ``NodeSystemSaturation`` there.
    - ``clock_grace``: seconds after the start of the machine in which the clock need not be
      synchronized yet; an NTP client may take 1024 s to choose a server (netdata's
      ``system_clock_sync_state``).
    """

    enabled: bool = True
    period: Annotated[float, Meta(ge=1, le=86_400, description="seconds")] = 30.0
    min_gap: Annotated[float, Meta(ge=0.5, le=3600, description="seconds")] = 5.0
    """Seconds between two reports at least, whatever happens meanwhile."""
    temperature_warning: Celsius = 75.0
    temperature_critical: Celsius = 85.0
    memory_warning: Fraction = 0.10
    memory_critical: Fraction = 0.02
    disk_warning: Fraction = 0.05
    disk_critical: Fraction = 0.03
    load_warning: Annotated[float, Meta(gt=0, le=1000, description="load per core")] = 2.0
    clock_grace: Annotated[float, Meta(ge=0, le=86_400, description="seconds")] = 1020.0
    state: Annotated[str, Meta(pattern=r"^/[^\0]*\Z", description="a folder, from the root")] = (
        "/var/lib/gateway"
    )
    """The folder whose file system is watched; that of the sockets is watched as well."""
    errors: Annotated[int, Meta(ge=0, le=200, description="lines")] = 20
    """Warnings and errors of the log that the report remembers."""
    log_rate: Annotated[int, Meta(ge=1, le=1000, description="lines a second")] = 50
    """Lines a second of each OS process, where the log is asked for on the bus."""
    tail_rate: Annotated[int, Meta(ge=1, le=1000, description="copies a second")] = 100
    """Copies a second of the mail, where they are asked for on the bus."""

    def __post_init__(self) -> None:
        """Refuse thresholds that cannot both be meant."""
        for low, high in (
            ("temperature_warning", "temperature_critical"),
            ("memory_critical", "memory_warning"),
            ("disk_critical", "disk_warning"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} is above {high}: what is critical comes after a warning")


STUCK_AFTER = 30.0
"""Seconds without progress after which a router is stuck, unless said: its loop never waits
for its medium, and for the bus 5 s at the most."""


class RouteHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What ``[routes.<name>]`` may say of any router; with ``stuck_after = 0`` it never is."""

    type: str = ""
    stuck_after: Annotated[float, Meta(ge=0, le=LONGEST)] = STUCK_AFTER
    when_stuck: WhenStuck = "restart"


class RouteConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One route: ``type`` is the entry point, ``settings`` the router's own struct.

    After ``stuck_after`` seconds without progress, 0 for never, ``when_stuck`` holds.
    """

    name: str
    type: str
    settings: msgspec.Struct
    stuck_after: float = STUCK_AFTER
    when_stuck: WhenStuck = "restart"


class DeviceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One device: ``driver`` is the entry point, ``route`` the name of the route it hangs on.

    ``link`` says how it is reached, in the router's `DeviceSettings`; ``settings`` is the
    driver's own struct.
    """

    name: str
    driver: str
    route: str
    link: msgspec.Struct
    settings: msgspec.Struct


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. ``provenance`` knows where each value was written."""

    gateway: GatewaySettings
    health: HealthSettings = HealthSettings()
    routes: dict[str, RouteConfig]
    devices: dict[str, DeviceConfig]
    crew: dict[str, CrewMember] = {}
    apis: dict[str, ApiConfig] = {}
    provenance: Provenance
