"""``gateway devices PORT``: a thing that nobody claims, and what to write to take it in.

Pure. Shows what it is, the shortest match that means it and nothing else that is
plugged in, and which drivers say that they are for its like.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.cli.inventory.sight import id_of, name_of, serial_of
from gateway.cli.inventory.suggestion import Suggestion
from gateway.cli.table import hanging, text
from gateway.hosting.plugged import PluggedDevice

NEW = "new-device"
"""The name in what is to be pasted, until somebody finds a better one."""


def as_json(
    device: PluggedDevice, suggestion: Suggestion, likely: Mapping[str, str]
) -> dict[str, Any]:
    """Return the same as data."""
    return {
        "node": device.node,
        "path": device.sys_path,
        "name": name_of(device),
        "id": id_of(device),
        "serial": serial_of(device),
        "links": list(device.names[1:]),
        "route": suggestion.route,
        "match": suggestion.match,
        "port": suggestion.port,
        "warning": suggestion.warning,
        "drivers": dict(likely),
        "toml": suggestion.toml(NEW, driver_for(likely)),
    }


def render(
    device: PluggedDevice, suggestion: Suggestion, likely: Mapping[str, str], columns: int
) -> list[str]:
    """Return the same as lines for people."""
    about = [f"{name_of(device)} {id_of(device)}".strip()]
    if serial_of(device):
        about.append(f"serial number {serial_of(device)}")
    lines = hanging(f"{device.node or device.sys_path}: ", text(", ".join(about)), columns)
    for link in device.names[1:]:
        lines += hanging("  also called ", text(link), columns)
    lines += ["", "No device of the gateway's has it. To take it in, write:", ""]
    lines += [f"    {line}" for line in suggestion.toml(NEW, driver_for(likely)).split("\n")]
    lines.append("")
    if suggestion.warning:
        lines += hanging("mind: ", suggestion.warning, columns)
    for driver, match in likely.items():
        lines += hanging(f"the driver {driver} says that it is for ", text(match), columns)
    if device.subsystem == "tty":
        question = "is it that?" if likely else "which driver is it for?"
        probe = f"{question} gateway devices --probe {text(device.node)} asks it"
        lines += hanging("", probe, columns)
    return lines


def driver_for(likely: Mapping[str, str]) -> str:
    """Return the driver to write down; a question where none or several are likely."""
    return next(iter(likely)) if len(likely) == 1 else "which?"
