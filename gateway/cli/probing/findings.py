"""What a probe found, as lines and as JSON; and what it needs from the plug-ins.

A driver for another medium (one that declares a USB interface) is not tried on a
serial port. The serial route comes in by its entry point, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from gateway import plugins
from gateway.cli.inventory.stranger import NEW
from gateway.cli.inventory.suggestion import Suggestion
from gateway.cli.probing.evidence import Evidence
from gateway.cli.probing.evidence import as_json as evidence_as_json
from gateway.cli.table import hanging, text
from gateway.device.link import Link
from gateway.errors import ConfigError

USUAL_BAUD = 115200
"""The rate of a serial device that says nothing of it."""


def serial_drivers(drivers: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that speak frames over a byte channel, no USB endpoints."""
    return {
        name: driver
        for name, driver in drivers.items()
        if hasattr(driver, "framing") and not hasattr(driver, "interface")
    }


def opener(node: str) -> Callable[[int], Link]:
    """Return what opens the port ``node`` at a rate; `ConfigError` without a serial route."""
    router = plugins.find(plugins.ROUTES, "serial")
    open_port = getattr(router, "open_port", None)
    if open_port is None:
        raise ConfigError("the serial route that is installed opens no ports for a probe")

    def open_at(baud: int) -> Link:
        try:
            settings = msgspec.convert({"port": node, "baud": baud}, router.DeviceSettings)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{node} cannot be opened at {baud} baud: {error}") from None
        link: Link = open_port(settings)
        return link

    return open_at


def as_json(
    node: str,
    found: Sequence[Evidence],
    heard: Mapping[int, int],
    suggestion: Suggestion,
    broken: Mapping[str, str],
) -> dict[str, Any]:
    """Return the findings as data."""
    return {
        "port": node,
        "heard": {str(baud): count for baud, count in heard.items()},
        "drivers": [evidence_as_json(each) for each in found],
        "broken": dict(broken),
        "toml": _toml(found, suggestion),
    }


def render(
    node: str,
    found: Sequence[Evidence],
    heard: Mapping[int, int],
    suggestion: Suggestion,
    broken: Mapping[str, str],
    columns: int,
) -> list[str]:
    """Return the findings as lines for people."""
    rates = ", ".join(f"{count} bytes at {baud} baud" for baud, count in heard.items())
    lines = hanging(
        f"{node}: ", f"heard by itself: {rates or 'nothing, it was not opened'}", columns
    )
    lines.append("")
    told = [each for each in found if each.speaks or not each.untried]
    untold = ", ".join(each.driver for each in found if each not in told)
    width = max((len(each.driver) for each in told), default=0)
    for place, each in enumerate(told, 1):
        start = f"{place:2}. {text(each.driver).ljust(width)}  "
        lines += hanging(start, text(each.said()), columns)
    if untold:
        why = "another had answered" if _toml(found, suggestion) else "the time was up"
        lines += hanging(f" -  not asked, since {why}: ", text(untold), columns)
    if not found:
        lines.append("no driver is installed that a serial port could be for")
    for name, problem in broken.items():
        lines += hanging(f" -  {text(name)}: ", text(problem), columns)
    toml = _toml(found, suggestion)
    lines.append("")
    if toml:
        lines += ["To take it in, write:", "", *(f"    {line}" for line in toml.split("\n"))]
    elif not any(each.speaks for each in found):
        lines += hanging(
            "",
            "Nothing speaks for any of them: is the board powered, is it wired TX to RX, is it"
            " another rate (--baud)? 'gateway new-driver' begins a driver of your own.",
            columns,
        )
    else:
        lines += hanging("", "No board has identified itself: this is a guess.", columns)
    return lines


def _toml(found: Sequence[Evidence], suggestion: Suggestion) -> str:
    """Return what to paste; empty where no board has identified itself."""
    best = next((each for each in found if each.identity is not None), None)
    if best is None:
        return ""
    baud = f"\nbaud = {best.baud}" if best.baud != USUAL_BAUD else ""
    return suggestion.toml(NEW, best.driver) + baud
