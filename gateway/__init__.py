"""A post office for hardware: everything on the machine has an address.

The core. It knows no medium and no device by name: drivers and routers come in
through the entry-point groups ``gateway.drivers`` and ``gateway.routes``. The
public names stand in `__all__` and are imported when they are first used, so
that ``gateway --help`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.application import Application
    from gateway.client import Client
    from gateway.mail.body import register
    from gateway.mail.message import Message
    from gateway.process.aio_process import AsyncProcess
    from gateway.process.callbacks import Event
    from gateway.process.marks import on
    from gateway.process.process import Process
    from gateway.supervision.program import Program

__version__ = "0.1.0"

__all__ = [
    "Application",
    "AsyncProcess",
    "Client",
    "Event",
    "Message",
    "Process",
    "Program",
    "on",
    "register",
]

_HOMES = {
    "Application": "gateway.application",
    "AsyncProcess": "gateway.process.aio_process",
    "Client": "gateway.client",
    "Event": "gateway.process.callbacks",
    "Message": "gateway.mail.message",
    "Process": "gateway.process.process",
    "Program": "gateway.supervision.program",
    "on": "gateway.process.marks",
    "register": "gateway.mail.body",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'gateway' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
