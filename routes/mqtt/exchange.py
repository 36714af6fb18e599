"""What the callers of a session and its network thread hand each other.

Everything that two threads touch is here, behind one lock that nobody holds
while waiting for the network: the outbox, the connection state, the counts,
and the descriptor that wakes the network thread. Refused by `put`: what comes
after `leave`, and payloads that are too large.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Callable, Iterator

import msgspec

from routes.mqtt.connection_state import ConnectionState
from routes.mqtt.letter import Letter
from routes.mqtt.outbox import Outbox, OutboxStatistics


class SessionStatistics(msgspec.Struct, frozen=True):
    """Counts since the start.

    ``faults`` are exceptions that came out of callbacks or paho; ``denied``
    are messages and subscriptions that the broker's access list forbids, as
    far as it says so (MQTT 5 only, and not for QoS 0). ``refusals`` are
    attempts that the broker refused; ``takeovers`` connections that another
    client under our id ended, as far as can be told; ``violations`` those on
    which the broker broke the protocol, ``floods`` those on which it sent far
    too much; ``throttled`` letters that it had no room for, then.
    """

    attempts: int
    connections: int
    faults: int
    received: int
    too_large: int
    denied: int
    refusals: int
    takeovers: int
    violations: int
    floods: int
    throttled: int
    outbox: OutboxStatistics


class Exchange:
    """The only state that a session shares between threads."""

    def __init__(self, outbox: Outbox, state: ConnectionState, *, max_payload: int) -> None:
        self.stopping = threading.Event()
        self._outbox = outbox
        self._state = state
        self._max_payload = max_payload
        self._changed = threading.Condition()
        self._wake = -1
        self._nudged = False
        self._gathering = 0
        self._leaving = False
        fields = (name for name in SessionStatistics.__struct_fields__ if name != "outbox")
        self._counts = dict.fromkeys(fields, 0)

    # For callers, from any thread.

    @property
    def state(self) -> ConnectionState:
        """How things stand with the broker now."""
        return self._state

    @property
    def leaving(self) -> bool:
        """Tell whether the session is on its way out."""
        return self._leaving

    def put(self, letter: Letter) -> bool:
        """Queue ``letter`` and wake the network thread; False where it was refused."""
        with self._changed:
            if len(letter.payload) > self._max_payload:
                self._counts["too_large"] += 1
                return False
            if self._leaving:
                return False
            taken = self._outbox.put(letter)
            self._nudge()
        return taken

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Have the network thread woken once for all that is put inside."""
        with self._changed:
            self._gathering += 1
        try:
            yield
        finally:
            with self._changed:
                self._gathering -= 1
                self._nudge()

    def recorded(self, letters: int) -> None:
        """So many letters that were spooled elsewhere, and settled, are known there as such."""
        with self._changed:
            self._outbox.recorded(letters)
            self._nudge()

    def statistics(self) -> SessionStatistics:
        """Return the counts, as one consistent picture."""
        with self._changed:
            return SessionStatistics(outbox=self._outbox.statistics(), **self._counts)

    def wait_for_state(
        self, accepts: Callable[[ConnectionState], bool], timeout: float
    ) -> ConnectionState | None:
        """Wait up to ``timeout`` s for a state that ``accepts`` takes; None if none came."""
        with self._changed:
            found = self._changed.wait_for(lambda: accepts(self._state), timeout)
            return self._state if found else None

    def wait_until_empty(self, timeout: float) -> bool:
        """Wait up to ``timeout`` s until everything is sent and acknowledged."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._outbox, timeout)

    def leave(self, farewell: Letter, flush: float, left: Callable[[], float]) -> None:
        """Take nothing more; wait for the queue to empty, then for ``farewell`` to go.

        The first wait takes ``flush`` seconds at the most, the second what is ``left`` then.
        Both end at once where there is no connection.
        """
        with self._changed:
            self._leaving = True
            self._outbox.spooled_window = math.inf  # nobody records any more
            self._nudge()
            self._changed.wait_for(self._is_flushed, flush)
            if self._state.is_connected:
                self._outbox.put(farewell)
                self._nudge()
                self._changed.wait_for(self._is_flushed, left())
            self.stopping.set()
            self._nudge()

    # For the network thread.

    @property
    def wake(self) -> int:
        """The descriptor that becomes readable when there is something to do."""
        return self._wake

    @property
    def is_empty(self) -> bool:
        """Tell whether everything is sent and acknowledged."""
        with self._changed:
            return not self._outbox

    def open(self) -> None:
        """Make the descriptor."""
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def close(self) -> None:
        """Close the descriptor; a later `put` finds none, never somebody else's."""
        with self._changed:
            wake, self._wake = self._wake, -1
        if wake >= 0:
            os.close(wake)

    def awake(self) -> None:
        """Take note of having been woken."""
        if self._nudged:
            with self._changed:
                self._nudged = False
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)

    def count(self, what: str) -> None:
        """Count one of the fields of `SessionStatistics`."""
        with self._changed:
            self._counts[what] += 1

    def take(self, now: float) -> Letter | None:
        """Hand out the next letter that is not too late at ``now`` (monotonic s), or None."""
        with self._changed:
            letter = self._outbox.take(now)
            if not self._outbox:  # the last were too late
                self._changed.notify_all()
            return letter

    def settle(self, letter: Letter, *, denied: bool) -> None:
        """The broker took ``letter``, or denied it."""
        with self._changed:
            if denied:
                self._outbox.deny(letter)
                self._counts["denied"] += 1
            else:
                self._outbox.sent(letter)
            if not self._outbox:
                self._changed.notify_all()

    def postpone(self, letter: Letter) -> None:
        """The broker has no room for ``letter`` now."""
        with self._changed:
            self._outbox.postpone(letter)
            self._counts["throttled"] += 1

    def lost(self) -> None:
        """The connection is gone: what was in flight waits for the next."""
        with self._changed:
            self._outbox.lost()

    def change_state(self, state: ConnectionState) -> bool:
        """Show ``state``; False where it is no news but for its time."""
        with self._changed:
            if state == msgspec.structs.replace(self._state, since=state.since):
                return False
            self._state = state
            self._changed.notify_all()
            return True

    def _is_flushed(self) -> bool:
        return not self._state.is_connected or not self._outbox

    def _nudge(self) -> None:
        if self._wake >= 0 and not self._nudged and (not self._gathering or self._leaving):
            self._nudged = True
            os.eventfd_write(self._wake, 1)
