"""What a configuration is made of, once it is known to be right.

::

    [gateway]                   node, sockets, log_level
    [routes.<name>]             type, and the keys of the router's own `Settings`
    [devices.<name>]            driver, route, and the keys of the router's `DeviceSettings`
    [devices.<name>.settings]   the keys of the driver's own `Settings`
    [crew.<name>]               a process of one's own: `gateway.config.crew`

Frozen structs; what is in them has been checked. Nothing is read or checked here.
"""

from __future__ import annotations

import os
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.config.crew import CrewMember, Name
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


class RouteConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One route: ``type`` is the entry point, ``settings`` the router's own struct."""

    name: str
    type: str
    settings: msgspec.Struct


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
    routes: dict[str, RouteConfig]
    devices: dict[str, DeviceConfig]
    crew: dict[str, CrewMember] = {}
    provenance: Provenance
