"""Named events and who is called for them.

Processes register callbacks for events of their own and for the five that
devices raise: connected, disconnected, pong, comms_error, device_error. What
a callback raises is its process's bug and is not caught here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

DEVICE_EVENTS = ("connected", "disconnected", "pong", "comms_error", "device_error")


@dataclass(frozen=True)
class Event:
    """Something that happened: its name, its source (a device, or ``""``), its details."""

    name: str
    source: str = ""
    details: dict[str, Any] = field(default_factory=dict)


EventCallback = Callable[[Event], Any]


def check_callback(event: str, callback: object) -> None:
    """Raise `ValueError` where ``callback``, which is for ``event``, cannot be called."""
    if not callable(callback):
        raise ValueError(f"the callback for {event!r} must be callable, not {callback!r}")


class Callbacks:
    """Callbacks by event and source; ``+`` as a source stands for all of them.

    >>> callbacks = Callbacks()
    >>> callbacks.register("+", "connected", lambda event: print(event.source, "is here"))
    >>> callbacks.fire(Event("connected", "wheels"))
    wheels is here
    1
    """

    def __init__(self) -> None:
        self._table: dict[tuple[str, str], list[EventCallback]] = {}

    def register(self, source: str, event: str, callback: EventCallback) -> None:
        """Call ``callback`` for each ``event`` of ``source``."""
        check_callback(event, callback)
        self._table.setdefault((source, event), []).append(callback)

    def fire(self, event: Event) -> int:
        """Call who registered for ``event``; return how many that were."""
        found = [*self._table.get((event.source, event.name), ())]
        if event.source != "+":
            found += self._table.get(("+", event.name), ())
        for callback in found:
            callback(event)
        return len(found)
