"""What lies unread in this OS process while one of its writers waits for room elsewhere.

Were it to wait for nothing else, two who write to each other, and find each other
full, would wait until the deadline. So it also waits for the replies, bounces and
control of every mailbox that lives here, and reads them. All of these are one
descriptor, which each writer's own wait contains.

Refused: nothing. Where no descriptor is to be had it is asked from time to time.
"""

from __future__ import annotations

import contextlib
import select
import threading

from gateway.bus.reply_waits import ReplyWaits


class Unread:
    """The urgent sockets of the mailboxes of one OS process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._boxes: dict[int, ReplyWaits] = {}
        # Made by the first who waits: most never do.
        self._epoll: select.epoll | None = None

    def add(self, box: ReplyWaits) -> None:
        """Have the replies of ``box`` read from now on; one without sockets has none."""
        with self._lock:
            if box.urgent_fd >= 0:
                self._boxes[box.urgent_fd] = box
                if self._epoll is not None:
                    self._epoll.register(box.urgent_fd, select.EPOLLIN)

    def remove(self, box: ReplyWaits) -> None:
        """Leave ``box`` alone, before its descriptors are closed."""
        with self._lock:
            if self._boxes.get(box.urgent_fd) is box:
                del self._boxes[box.urgent_fd]
                if self._epoll is not None:
                    # It may have closed itself.
                    with contextlib.suppress(OSError):
                        self._epoll.unregister(box.urgent_fd)

    def fileno(self) -> int:
        """Return the descriptor that is readable while something is unread."""
        with self._lock:
            if self._epoll is None:
                self._epoll = select.epoll()
                for fd in self._boxes:
                    self._epoll.register(fd, select.EPOLLIN)
            return self._epoll.fileno()

    def read(self) -> bool:
        """Read what lies there; tell whether all of it could be: else another thread does."""
        with self._lock:
            boxes = list(self._boxes.values())
        done = [box.read_replies() for box in boxes]
        return all(done)

    def close(self) -> None:
        """Give the descriptor back."""
        with self._lock:
            self._boxes = {}
            if self._epoll is not None:
                self._epoll.close()
                self._epoll = None
