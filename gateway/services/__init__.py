"""Objects in OS processes of their own, behind proxies that look like them.

The public names stand in `__all__` and are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.services.execution_context import execution
    from gateway.services.home import remote_function
    from gateway.services.house import services
    from gateway.services.inside import (
        is_inside,
        register_function,
        remove_function,
        this_service,
    )
    from gateway.services.pool import SimulationPool
    from gateway.services.pool_events import Outcome, PoolEvent
    from gateway.services.progress_line import ProgressLine
    from gateway.services.proxy import Proxy, closing, is_running, name_of
    from gateway.services.registry import Services
    from gateway.services.remote_functions import RemoteFunction
    from gateway.services.simulated_device import SimulatedDevice
    from gateway.services.simulation import Simulation

__all__ = [
    "Outcome",
    "PoolEvent",
    "ProgressLine",
    "Proxy",
    "RemoteFunction",
    "Services",
    "SimulatedDevice",
    "Simulation",
    "SimulationPool",
    "closing",
    "execution",
    "is_inside",
    "is_running",
    "name_of",
    "register_function",
    "remote_function",
    "remove_function",
    "services",
    "this_service",
]

_HOMES = {
    "Outcome": "gateway.services.pool_events",
    "PoolEvent": "gateway.services.pool_events",
    "ProgressLine": "gateway.services.progress_line",
    "Proxy": "gateway.services.proxy",
    "RemoteFunction": "gateway.services.remote_functions",
    "Services": "gateway.services.registry",
    "SimulatedDevice": "gateway.services.simulated_device",
    "Simulation": "gateway.services.simulation",
    "SimulationPool": "gateway.services.pool",
    "closing": "gateway.services.proxy",
    "execution": "gateway.services.execution_context",
    "is_inside": "gateway.services.inside",
    "is_running": "gateway.services.proxy",
    "name_of": "gateway.services.proxy",
    "register_function": "gateway.services.inside",
    "remote_function": "gateway.services.home",
    "remove_function": "gateway.services.inside",
    "services": "gateway.services.house",
    "this_service": "gateway.services.inside",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'gateway.services' has no attribute {name!r}")
    return getattr(import_module(home), name)
