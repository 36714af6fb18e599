"""What the session's thread hands to the route's: a bounded row of things to do, and a bell.

What comes from the broker is judged on the session's thread, which must not
wait; only what may become a letter is put here. Refused by `put`: one thing too
many, since a broker may bring more than a bus can take, and all after `close`.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable


class InTray:
    """Filled from any thread, emptied by the route's own; `close` gives the bell back."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._things: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Return the descriptor that is readable once something lies here, or `ring` was called."""
        return self._bell

    def put(self, thing: Callable[[], None]) -> bool:
        """Leave ``thing`` to be called by `empty`; False where there is no room."""
        with self._lock:
            if self._bell < 0 or len(self._things) >= self._size:
                return False
            self._things.append(thing)
        self.ring()
        return True

    def ring(self) -> None:
        """Have the route's thread look here; after `close` nobody is rung."""
        # A session's thread that outlives the route must not ring at somebody else's.
        with self._lock, contextlib.suppress(BlockingIOError):  # it rings already
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def empty(self) -> None:
        """Do what lies here, oldest first."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        while self._things:
            self._things.popleft()()

    def close(self) -> None:
        """Give the bell back; what still lies here is not done."""
        with self._lock:
            bell, self._bell = self._bell, -1
            self._things.clear()
        os.close(bell)
