"""A flag that ends sleeps at once and may be set from a signal handler.

`threading.Event` takes a lock to be set, which a handler must not: the thread
that it interrupted may hold it. An eventfd takes none; the lock here, which keeps
it from being closed meanwhile, may be taken twice by one thread.
"""

from __future__ import annotations

import os
import select
import threading


class Wakeup:
    """Set once; from then on every `wait` returns at once. Thread-safe."""

    _fd = -1

    def __init__(self) -> None:
        self.is_set = False
        self._using = threading.RLock()
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def set(self) -> None:
        """Wake everybody who waits, now and later."""
        self.is_set = True
        with self._using:
            if self._fd >= 0:
                os.eventfd_write(self._fd, 1)

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
        if self._fd >= 0:
            self.close()

    def close(self) -> None:
        """Give the descriptor back; waiting is no longer possible."""
        self.set()
        with self._using:
            # Nothing is called in between: a handler may raise there.
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)
