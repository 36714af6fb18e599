"""A flag that ends sleeps at once and may be set from a signal handler.

`threading.Event` takes a lock to be set, which a handler must not: the thread
that it interrupted may hold it. An eventfd takes none.
"""

from __future__ import annotations

import os
import select
import threading


class Wakeup:
    """Set once; from then on every `wait` returns at once. Thread-safe."""

    def __init__(self) -> None:
        self.is_set = False
        # Held by whoever sets or closes; a setter never waits for it: who holds it
        # sets it too, or closes it, and then nobody needs to be woken any more.
        self._busy = threading.Lock()
        self._fd = -1
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def set(self) -> None:
        """Wake everybody who waits, now and later."""
        self.is_set = True
        if self._busy.acquire(blocking=False):
            try:
                if self._fd >= 0:
                    os.eventfd_write(self._fd, 1)
            finally:
                self._busy.release()

    def fileno(self) -> int:
        """The descriptor that is readable once it is set, for who watches it in a loop."""
        return self._fd

    def wait(self, timeout: float) -> bool:
        """Sleep for ``timeout`` seconds, inf included, or until it is set; tell whether it is."""
        fd = self._fd
        if not self.is_set and timeout > 0 and fd >= 0:
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            poller.poll(None if timeout == float("inf") else timeout * 1000)
        return self.is_set

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back; waiting is no longer possible."""
        self.set()
        with self._busy:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)
