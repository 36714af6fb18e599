"""All checks, in the order in which a technician would look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from gateway.cli.checkup import grabbers, ports, power, rules, system
from gateway.cli.checkup.facts import Facts
from gateway.cli.checkup.finding import Finding

CHECKS: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    system.configuration,
    power.supply,
    system.kernel,
    rules.udevd,
    rules.rules,
    ports.permissions,
    ports.in_use,
    ports.console,
    grabbers.modem_manager,
    grabbers.brltty,
    power.autosuspend,
    system.libusb,
    system.memory,
)
"""Each is a pure function of the facts."""


def examine(facts: Facts) -> list[Finding]:
    """Return what all checks find."""
    return [finding for check in CHECKS for finding in check(facts)]
