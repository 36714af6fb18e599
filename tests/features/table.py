"""All switches, by name."""

from __future__ import annotations

from importlib import import_module

from tests.features.switches import SWITCHES, Switch

MODULES = ("rpc_switches", "over_switches", "services_switches", "simulation_switches")


def switches() -> dict[str, Switch]:
    """Return every switch that there is."""
    for module in MODULES:
        import_module(f"tests.features.{module}")
    return SWITCHES
