"""How far a device is proven: one table, and the callbacks that each move fires.

::

    absent → present → open → proven (handshaken) → healthy ⇄ stale
                              └──── anything ────→ failed

Open is not connected: a handshake is. Absent is a normal state. A failed
device stays failed while it is tried again, until it is proven or its port is
gone, so that those who watch from afar see one failure and not one a minute.

This module is a table and reads no clock: when a board is silent or overdue is
decided in `gateway.device.heartbeat`, and who is told in `gateway.hosting`.
Refused: an event that cannot happen in a state (`ValueError`), such as a frame
from a port that is not open.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class LinkState(StrEnum):
    """How far a device is proven."""

    ABSENT = "absent"
    """Nothing is plugged in there."""
    PRESENT = "present"
    """The port is there and not open."""
    OPEN = "open"
    """The port is open; nobody knows yet who is behind it."""
    PROVEN = "proven"
    """The board has identified itself."""
    HEALTHY = "healthy"
    """It has said something since, and not too long ago."""
    STALE = "stale"
    """It has been silent for longer than its driver's patience."""
    FAILED = "failed"
    """It cannot be opened or proven, or its driver has a bug; it is tried again."""

    @property
    def connected(self) -> bool:
        """Whether commands are taken."""
        return self in _CONNECTED


class LinkEvent(StrEnum):
    """What can happen to a device."""

    FOUND = "found"
    """Its port has been seen."""
    ABSENT = "absent"
    """Its port is not there, or not there any more."""
    TAKEN = "taken"
    """Its port is there, and was given to somebody else for a while."""
    OPENED = "opened"
    PROVEN = "proven"
    """The handshake has succeeded."""
    HEARD = "heard"
    """A valid frame came."""
    PONG = "pong"
    """A ping was answered."""
    SILENT = "silent"
    """Nothing was heard for one patience."""
    OVERDUE = "overdue"
    """Nothing was heard for another patience."""
    FAULT = "fault"
    """The board reports a fault of its own; the link is fine."""
    LOST = "lost"
    """The open link broke."""
    FAILED = "failed"
    """It could not be opened or proven, or its driver raised what it should not."""
    STOPPED = "stopped"
    """The gateway lets go of it."""


class Callback(StrEnum):
    """What those who watch a device are told."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    PONG = "pong"
    COMMS_ERROR = "comms_error"
    DEVICE_ERROR = "device_error"


class Move(NamedTuple):
    """Where an event leads, and what is to be told, in that order."""

    state: LinkState
    callbacks: tuple[Callback, ...] = ()


def move(state: LinkState, event: LinkEvent) -> Move:
    """Return where ``event`` leads from ``state``; `ValueError` where it cannot happen there.

    >>> move(LinkState.HEALTHY, LinkEvent.LOST)
    Move(state=<LinkState.PRESENT: 'present'>, callbacks=(<Callback.DISCONNECTED: 'disconnected'>,))
    """
    try:
        return MOVES[state, event]
    except KeyError:
        raise ValueError(f"a device that is {state} cannot have the event {event}") from None


_CONNECTED = frozenset({LinkState.PROVEN, LinkState.HEALTHY, LinkState.STALE})

_TABLE = """
           absent    present   open      proven    healthy   stale     failed
found      present   present   open      proven    healthy   stale     failed
absent     absent    absent    absent    absent    absent    absent    absent
taken      present   present   present   present   present   present   present
opened     open      open      -         -         -         -         failed
proven     -         -         proven    -         -         -         proven
heard      -         -         open      healthy   healthy   healthy   failed
pong       -         -         -         proven    healthy   stale     -
silent     -         -         -         stale     stale     stale     -
overdue    -         -         -         -         -         stale     -
fault      -         -         open      proven    healthy   stale     failed
lost       -         -         present   present   present   present   failed
failed     failed    failed    failed    failed    failed    failed    failed
stopped    absent    present   present   present   present   present   failed
"""
"""A column is where the device is, a row what happens, a dash what cannot."""


def _callbacks(before: LinkState, event: LinkEvent, after: LinkState) -> tuple[Callback, ...]:
    told: list[Callback] = []
    if before.connected and not after.connected:
        told.append(Callback.DISCONNECTED)
    if event is LinkEvent.PROVEN:
        told.append(Callback.CONNECTED)
    elif event is LinkEvent.PONG:
        told.append(Callback.PONG)
    elif event is LinkEvent.OVERDUE:
        told.append(Callback.COMMS_ERROR)
    elif event is LinkEvent.FAULT or (after is LinkState.FAILED and before is not after):
        told.append(Callback.DEVICE_ERROR)
    return tuple(told)


def _read(table: str) -> dict[tuple[LinkState, LinkEvent], Move]:
    header, *rows = table.strip().splitlines()
    states = [LinkState(word) for word in header.split()]
    moves: dict[tuple[LinkState, LinkEvent], Move] = {}
    for row in rows:
        event, *cells = row.split()
        for before, cell in zip(states, cells, strict=True):
            if cell != "-":
                after, happened = LinkState(cell), LinkEvent(event)
                moves[before, happened] = Move(after, _callbacks(before, happened, after))
    return moves


MOVES = _read(_TABLE)
"""Every move there is. What is not in it cannot happen."""
