"""Remote calls: trees of functions that answer letters, as if they were here.

The public names stand in `__all__` and are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.mail.signature import Unit, command
    from gateway.rpc.api import Api
    from gateway.rpc.call import Call, current_call
    from gateway.rpc.connection import Connection, watch_connection
    from gateway.rpc.handler import UNHANDLED
    from gateway.rpc.serving import api_of, serve
    from gateway.rpc.stream import Stream
    from gateway.rpc.transaction import Transaction, TransactionId
    from gateway.rpc.tree import Remote, later, remote, tell, using

__all__ = [
    "UNHANDLED",
    "Api",
    "Call",
    "Connection",
    "Remote",
    "Stream",
    "Transaction",
    "TransactionId",
    "Unit",
    "api_of",
    "command",
    "current_call",
    "later",
    "remote",
    "serve",
    "tell",
    "using",
    "watch_connection",
]

_HOMES = {
    "UNHANDLED": "gateway.rpc.handler",
    "Api": "gateway.rpc.api",
    "Call": "gateway.rpc.call",
    "Connection": "gateway.rpc.connection",
    "Remote": "gateway.rpc.tree",
    "Stream": "gateway.rpc.stream",
    "Transaction": "gateway.rpc.transaction",
    "TransactionId": "gateway.rpc.transaction",
    "Unit": "gateway.mail.signature",
    "api_of": "gateway.rpc.serving",
    "command": "gateway.mail.signature",
    "current_call": "gateway.rpc.call",
    "later": "gateway.rpc.tree",
    "remote": "gateway.rpc.tree",
    "serve": "gateway.rpc.serving",
    "tell": "gateway.rpc.tree",
    "using": "gateway.rpc.tree",
    "watch_connection": "gateway.rpc.connection",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'gateway.rpc' has no attribute {name!r}")
    return getattr(import_module(home), name)
