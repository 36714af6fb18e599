"""Which drivers say of themselves that they are for something like this.

A driver's ``looks_like`` holds matches, written as in a configuration. Drivers come in
by their entry points; one that cannot be imported is left out and named.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway import plugins
from gateway.errors import ConfigError
from gateway.hosting.matching import Match
from gateway.hosting.plugged import PluggedDevice


class Drivers(msgspec.Struct, frozen=True, kw_only=True):
    """The driver classes by name; ``broken`` says why one that is offered cannot be had."""

    classes: dict[str, Any]
    broken: dict[str, str] = {}


def installed() -> Drivers:
    """Import every driver that is installed."""
    classes: dict[str, Any] = {}
    broken: dict[str, str] = {}
    for name in plugins.names(plugins.DRIVERS):
        try:
            classes[name] = plugins.find(plugins.DRIVERS, name)
        except ConfigError as error:
            broken[name] = str(error)
    return Drivers(classes=classes, broken=broken)


def likely(device: PluggedDevice, drivers: Mapping[str, Any]) -> dict[str, str]:
    """Return the drivers that expect something like ``device``, each with the match that fits.

    A match that cannot be one fits nothing.
    """
    found: dict[str, str] = {}
    for name, driver in drivers.items():
        for match in getattr(driver, "looks_like", ()):
            with contextlib.suppress(ValueError):
                judge = Match(match)
                if judge(device):
                    found.setdefault(name, str(judge))
    return found
