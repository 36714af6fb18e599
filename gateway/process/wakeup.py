"""A flag that ends sleeps at once and may be set from a signal handler.

`threading.Event` takes a lock to be set, which a handler must not: the thread
that it interrupted may hold it. An eventfd takes none, and here it is closed by
nobody who would have to hold one for that: it goes with the last who uses it.
"""

from __future__ import annotations

import os
import select


class Wakeup:
    """Set once; from then on every `wait` returns at once. Thread-safe."""

    def __init__(self) -> None:
        self.is_set = False
        self._event: _Event | None = None
        self._event = _Event()

    def set(self) -> None:
        """Wake everybody who waits, now and later."""
        self.is_set = True
        event = self._event
        if event is not None:
            os.eventfd_write(event.fd, 1)

    def fileno(self) -> int:
        """The descriptor that is readable once it is set, for who watches it in a loop."""
        event = self._event
        return -1 if event is None else event.fd

    def wait(self, timeout: float) -> bool:
        """Sleep for ``timeout`` seconds, inf included, or until it is set; tell whether it is."""
        event = self._event
        if not self.is_set and timeout > 0 and event is not None:
            poller = select.poll()
            poller.register(event.fd, select.POLLIN)
            poller.poll(None if timeout == float("inf") else timeout * 1000)
        return self.is_set

    def close(self) -> None:
        """Give the descriptor back, as soon as nobody sleeps; waiting is no longer possible."""
        self.set()
        self._event = None


class _Event:
    """An eventfd, which is closed with its last reference."""

    __slots__ = ("fd",)

    def __init__(self) -> None:
        self.fd = -1
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
