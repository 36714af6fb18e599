"""A flag that ends sleeps at once and may be set from a signal handler.

`threading.Event` takes a lock to be set, which a handler must not: the thread
that it interrupted may hold it. An eventfd takes none; the lock here, which keeps
it from being closed meanwhile, may be taken twice by one thread. A signal that comes just
before the main thread sleeps is heard by the self-pipe (`gateway.bus.self_pipe`).
"""

from __future__ import annotations

import os
import select
import threading
from math import inf
from time import monotonic

from gateway.bus.self_pipe import SelfPipe
from gateway.timeout import MOST


class Wakeup:
    """Set once; from then on every `wait` returns at once. Thread-safe.

    With the ``self_pipe`` of this OS process signals are handled during every sleep.
    """

    _fd = -1

    def __init__(self, self_pipe: SelfPipe | None = None) -> None:
        self._self_pipe = self_pipe or SelfPipe()
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
        fd, self_pipe = self._fd, self._self_pipe
        if not self.is_set and timeout > 0 and fd >= 0:
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            end = monotonic() + timeout
            if self_pipe.is_mine:
                poller.register(self_pipe, select.POLLIN)
            while True:
                found = poller.poll(None if timeout == inf else min(timeout, MOST) * 1000)
                if self.is_set or (fd, select.POLLIN) in found:
                    break
                if found:
                    # Its handler has run.
                    self_pipe.empty()
                elif timeout <= MOST:
                    break
                timeout = max(0.0, end - monotonic())
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
