"""A route and a driver of a third party, found by their entry points, for the commands.

`offer` writes the metadata that `importlib.metadata` finds them by. The route hosts
what is plugged in, by ``match`` or ``port``.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import msgspec

METADATA = "Metadata-Version: 2.1\nName: plugged-route\nVersion: 1.0\n"
ENTRY_POINTS = """\
[gateway.routes]
plugged = tests.gateway.cli.plugged_route:PluggedRoute

[gateway.drivers]
quiet = tests.gateway.cli.plugged_route:Quiet
"""


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    port: str = ""
    match: dict[str, str] = {}


class PluggedRoute:
    DeviceSettings: ClassVar[type[msgspec.Struct]] = Link
    subsystems: ClassVar[tuple[str, ...]] = ("tty",)


class Quiet:
    """Does nothing."""


def offer(folder: Path) -> None:
    """Make both known to whoever has ``folder`` on its path."""
    about = folder / "plugged_route-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(METADATA)
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
