"""What a device tells the house about itself: state, moves, claim, description, events.

``devices/<name>/events/<callback>`` are not retained, the rest is. ``state``
is how it is; ``moves`` how it came to that: the last `REMEMBERED` moves,
newest last, and how often each event has happened by then (a pong moves
nothing, and is told with the next move). ``claim`` is what it has plugged in,
and is not there where that is nothing. The state is published before the
events that its move fires, so that who is called back finds it as it is told.
Where the house cannot take one of them it is counted and logged: a full topic
must not cost a device.

This module decides no state (`gateway.device.link_state` does).
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from typing import Any, Final

from gateway.clock import Clock
from gateway.device.link_state import LinkEvent, LinkState, move
from gateway.errors import GatewayError
from gateway.hosting.outside import Outside
from gateway.hosting.statistics import Statistics

log = logging.getLogger(__name__)

_NEW_CAUSES: Final = frozenset({LinkEvent.ABSENT, LinkEvent.FAILED})
"""Events whose cause is news even where the state stays."""
REMEMBERED: Final = 16
"""Moves that can be read back."""


class Report:
    """Where one device stands; written by its thread, read by any."""

    def __init__(self, name: str, outside: Outside, counts: Statistics, clock: Clock) -> None:
        self.state = LinkState.ABSENT
        self.cause = "nobody has looked yet"
        self.since = clock.time()
        self._name = name
        self._topic = f"devices/{name}"
        self._outside = outside
        self._counts = counts
        self._clock = clock
        self._moves: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        self._happened: Counter[str] = Counter()
        self._claim: dict[str, Any] | None = None

    def happened(self, event: LinkEvent, cause: str, **details: Any) -> None:
        """Make the move that ``event`` causes, and tell the house of it.

        ``details`` go into the bodies of the callbacks that it fires.
        """
        after, callbacks = move(self.state, event)
        now = self._clock.time()
        self._happened[event.value] += 1
        if after is not self.state:
            log.info("%s: %s → %s: %s", self._name, self.state, after, cause)
            self.state, self.cause, self.since = after, cause, now
            self.tell_state()
            self._tell_move(event, now)
        elif event in _NEW_CAUSES and cause != self.cause:
            log.info("%s: %s: %s", self._name, self.state, cause)
            self.cause = cause
            self.tell_state()
            self._tell_move(event, now)
        for callback in callbacks:
            body = {"device": self._name, "event": callback.value, "cause": cause, "at": now}
            self.tell(f"events/{callback}", {**body, **details})

    def tell_state(self) -> None:
        """Publish the state as it stands."""
        body = {
            "state": self.state.value,
            "connected": self.state.connected,
            "cause": self.cause,
            "since": self.since,
        }
        self.tell("state", body, retain=True)

    def tell_claim(self, claim: dict[str, Any] | None) -> None:
        """Publish what the device has plugged in, where that is other than before."""
        if claim != self._claim:
            self._claim = claim
            self.tell("claim", claim, retain=True)

    def _tell_move(self, event: LinkEvent, at: float) -> None:
        self._moves.append(
            {"state": self.state.value, "event": event.value, "cause": self.cause, "at": at}
        )
        body = {"moves": list(self._moves), "counts": dict(self._happened)}
        self.tell("moves", body, retain=True)

    def tell(self, topic: str, body: object, *, retain: bool = False) -> None:
        """Publish ``body`` under the device's topics; count it where it cannot be taken."""
        try:
            self._outside.publish(f"{self._topic}/{topic}", body, retain=retain)
        except GatewayError as error:
            self._counts.unheard += 1
            log.warning("%s: %s could not be published: %s", self._name, topic, error)
