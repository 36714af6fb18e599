"""How hot it is, from the thermal zones of /sys/class/thermal (the kernel's sysfs-api for those).

A zone tells millidegrees. One that is switched off cannot be read, and some
tell nonsense where nothing is connected: both are left out, and counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gateway.watchdog.reading import Reading, absent, failed

PLAUSIBLE: Final = (-40.0, 150.0)
"""Degrees Celsius that silicon can have and live; what is beyond is no temperature."""

_ZONES: Final = 64


def read(root: Path, at: float) -> Reading:
    """Return ``celsius`` of the hottest zone, ``zones`` each by name, how many are ``unread``."""
    zones: dict[str, float] = {}
    unread = 0
    folders = sorted((root / "sys/class/thermal").glob("thermal_zone*"))[:_ZONES]
    for folder in folders:
        try:
            celsius = int((folder / "temp").read_text()) / 1000
            kind = (folder / "type").read_text(errors="replace").strip()
        except (OSError, ValueError):
            unread += 1
            continue
        if not PLAUSIBLE[0] <= celsius <= PLAUSIBLE[1]:
            unread += 1
            continue
        name = kind if kind and kind not in zones else f"{kind or 'zone'}-{folder.name[12:]}"
        zones[name] = celsius
    if not folders:
        return absent(at, "this machine has no thermal zone")
    if not zones:
        return failed(at, f"none of the {len(folders)} thermal zones tells a temperature")
    return Reading({"celsius": max(zones.values()), "zones": zones, "unread": unread}, at)
