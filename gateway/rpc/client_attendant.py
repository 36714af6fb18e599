"""The thread of a program outside that reads for who is to be told and reads nothing.

It begins with the first call that has a callback, or a semaphore to be released, and
ends with the last; callbacks run on it. Whoever else reads only rings for it, so that
no callback runs on a thread that waits for something of its own.

Refused: nothing; a callback that does not return keeps the others waiting.
"""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import Any, Protocol

LAST = 1.0
"""Seconds in which a callback that runs when the client is closed is to return."""


class Begun(Protocol):
    """One call under way."""

    deadline: float

    def is_due(self, now: float) -> bool:
        """Tell whether it has ended, or is to end now."""
        ...

    def finish(self) -> None:
        """End it, and call back."""
        ...


class Attendant:
    """Reads over ``exchange``, a `gateway.client_exchange.Exchange`."""

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange
        self._lock = threading.Lock()
        self._attended: set[Begun] = set()
        self._ended: deque[Begun] = deque()
        self._bell: Any = None
        self._thread: threading.Thread | None = None

    def attend(self, made: Begun) -> None:
        """Have somebody read until ``made`` has ended."""
        with self._lock:
            self._attended.add(made)
            bell = self._bell
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._attend_all, name="client-calls", daemon=True
                )
                self._thread.start()
        self._ring(bell)

    def leave(self, made: Begun) -> None:
        """Have nobody read for ``made``, which has ended, any longer."""
        with self._lock:
            self._attended.discard(made)
            bell = self._bell
        self._ring(bell)

    def note_end(self, made: Begun) -> None:
        """Have ``made`` finished, where it is attended; called by whoever read of its end."""
        with self._lock:
            if made not in self._attended:
                return
            self._ended.append(made)
            bell = self._bell
        self._ring(bell)

    def close(self) -> None:
        """Wait until all that has ended is finished; on the thread itself, do nothing."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(LAST)

    def _ring(self, bell: Any) -> None:
        if bell is not None:
            self._exchange.ring(bell)

    def _attend_all(self) -> None:
        while True:
            with self._lock:
                now = monotonic()
                due = {*self._ended, *(each for each in self._attended if each.is_due(now))}
                self._ended.clear()
                self._attended.difference_update(due)
                if not due and not self._attended:
                    self._thread = self._bell = None
                    return
                bell = self._bell = self._exchange.token()
                deadline = min((each.deadline for each in self._attended), default=now)
            for each in due:
                each.finish()
            if not due:
                self._exchange.wait(bell, deadline)
