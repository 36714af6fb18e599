"""The two ends of one process: the calls that it makes, and the desk that answers it.

Each is made when it is first wanted, and is then the same for as long as the
process lives. Those of an asyncio process are loaded with the first one that is, so
that who has no loop does not pay for asyncio.
"""

from __future__ import annotations

from gateway.process.process import Process
from gateway.rpc.calls import Calls
from gateway.rpc.desk import Desk


def calls_of(process: Process) -> Calls:
    """Return the calls of ``process``."""
    found: Calls | None = process.calls
    if found is None:
        found = process.calls = _calls(process)
    return found


def desk_of(process: Process) -> Desk:
    """Return the desk of ``process``."""
    found = process.desk
    if not isinstance(found, Desk):
        found = process.desk = _desk(process)
    return found


def _calls(process: Process) -> Calls:
    if not process.is_on_loop:
        return Calls(process)
    from gateway.rpc.aio_calls import AsyncCalls

    return AsyncCalls(process)


def _desk(process: Process) -> Desk:
    if not process.is_on_loop:
        return Desk(process)
    from gateway.rpc.aio_desk import AsyncDesk

    return AsyncDesk(process)
