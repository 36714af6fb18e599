"""Which devices of a configuration a rules file is about.

A device's ``match`` is a key of its router's `DeviceSettings`; where its devices
appear is the router's ``subsystems``. A match that names ``SUBSYSTEM`` itself has the
last word. Nothing is refused here: what cannot be said, `gateway.cli.rules.file` refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.cli.rules.file import SUBSYSTEMS, NamedDevice
from gateway.config.loading import Find
from gateway.config.schema import Configuration, DeviceConfig
from gateway.plugins import ROUTES

_EVERYWHERE: Final = tuple(SUBSYSTEMS)
_USUAL: Final[Mapping[str, tuple[str, ...]]] = {"serial": ("tty",), "usb": ("usb",)}
"""Where the devices of a router appear that does not say."""


def named_devices(configuration: Configuration, find: Find) -> list[NamedDevice]:
    """Return every device that hangs on a route whose devices are plugged in, by name."""
    return [
        NamedDevice(
            name=device.name,
            subsystems=_subsystems(configuration, device, find),
            match=match_of(device),
            place=_place(configuration, device.name),
        )
        for device in sorted(configuration.devices.values(), key=lambda device: device.name)
    ]


def match_of(device: DeviceConfig) -> dict[str, str]:
    """Return the device's match; empty where it has a port."""
    return dict(getattr(device.link, "match", None) or {})


def _subsystems(configuration: Configuration, device: DeviceConfig, find: Find) -> tuple[str, ...]:
    asked = match_of(device).get("SUBSYSTEM")
    if asked is not None and asked in SUBSYSTEMS:
        return (asked,)
    kind = configuration.routes[device.route].type
    router: type[Any] = find(ROUTES, kind)
    return tuple(getattr(router, "subsystems", ())) or _USUAL.get(kind, _EVERYWHERE)


def _place(configuration: Configuration, name: str) -> tuple[str, int] | None:
    origin = configuration.provenance.nearest(("devices", name, "match"))
    return (origin.file, origin.line) if origin else None
