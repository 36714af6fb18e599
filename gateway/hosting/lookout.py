"""How a device's thread waits for its link alone, and is still let go when told to stop.

An epoll over the link's descriptor and an eventfd that is struck by `let_go`
and not read: from then on every `poll` ends at once, until `stay`. Mail is not
seen here, so that a question which waits for its answer takes none; between
questions the thread waits in its mailbox, which watches the link as well.

Refused: more than one sleeper, and watching two links at a time.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable


class Lookout:
    """Owns an epoll and an eventfd; `close` gives both back.

    `let_go` may be called from any thread, at any time; the rest belongs to
    the device's own.
    """

    is_let_go = False
    """Whether every `poll` ends at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epoll = select.epoll()
        self._end = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._end, select.EPOLLIN)
        self._watched = -1
        self.poll: Callable[[float, int], list[tuple[int, int]]] = self._epoll.poll
        """Sleep for so many seconds, a millisecond more at the most; return what is ready.

        The epoll's own method, since every answer of every board comes by here:
        ``poll(seconds, 2)`` has room for the link and for `let_go`.
        """

    def watch(self, descriptor: int) -> None:
        """Wait for ``descriptor``, until `unwatch`."""
        if self._watched >= 0:
            raise ValueError("a lookout watches one link at a time")
        self._epoll.register(descriptor, select.EPOLLIN)
        self._watched = descriptor

    def unwatch(self) -> None:
        """Forget the link; call it before the link is closed."""
        if self._watched >= 0:
            # A descriptor that died under us has left the epoll by itself.
            with contextlib.suppress(OSError):
                self._epoll.unregister(self._watched)
            self._watched = -1

    def let_go(self) -> None:
        """End the wait, and every later one at once, until `stay`."""
        self.is_let_go = True
        with self._lock:
            if self._end >= 0:
                os.eventfd_write(self._end, 1)

    def stay(self) -> None:
        """Forget that it was let go: the next link is waited for again."""
        self.is_let_go = False
        with self._lock, contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._end)

    def close(self) -> None:
        """Give both descriptors back; twice is fine."""
        with self._lock:
            if self._end < 0:
                return
            self._epoll.close()
            os.close(self._end)
            self._end = -1
