"""A wire of the test's own with a bench board in Python at its end, to babble on.

`Wire` is the far end of one open line, a pseudo-terminal or an accepted TCP
connection. A thread plays the board; the test may write whatever it likes
between the board's answers. Nothing that the test writes is lost: `write`
waits, with a deadline, until the other side takes it.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drivers.bench_board.board import Board
from gateway.clock import RealClock

DEADLINE = 20.0


class Wire:
    """One line; ``descriptor`` is non-blocking and stays its maker's to close."""

    def __init__(self, descriptor: int) -> None:
        self.board = Board(clock=RealClock())
        self._descriptor = descriptor
        self._writing = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ending = False
        self._thread = threading.Thread(target=self._serve, name="wire")
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Put ``data`` on the wire; `TimeoutError` where nobody takes it."""
        deadline = time.monotonic() + DEADLINE
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        rest = memoryview(data)
        # Whole: a line of the board's own in the middle would be damage nobody ordered.
        with self._writing:
            while rest and not self._ending:
                try:
                    rest = rest[os.write(self._descriptor, rest[:4096]) :]
                except BlockingIOError:
                    left = deadline - time.monotonic()
                    if left <= 0 or not poll.poll(left * 1000):
                        raise TimeoutError(f"{len(rest)} of {len(data)} bytes are left") from None

    def close(self) -> None:
        """End the board's thread."""
        self._ending = True
        os.eventfd_write(self._wake, 1)
        self._thread.join(DEADLINE)
        os.close(self._wake)

    def _serve(self) -> None:
        with select.epoll() as epoll:
            epoll.register(self._wake, select.EPOLLIN)
            epoll.register(self._descriptor, select.EPOLLIN)
            while not self._ending:
                wake = self.board.wake
                seconds = None if wake is None else max(0.0, wake - time.monotonic())
                for descriptor, events in epoll.poll(seconds):
                    if descriptor == self._descriptor and not self._hear(events):
                        epoll.unregister(self._descriptor)
                self._say(self.board.poll())

    def _hear(self, events: int) -> bool:
        """Take what came; False where the line has ended."""
        try:
            data = os.read(self._descriptor, 4096)
        except OSError:
            return False
        self._say(self.board.receive(data))
        return bool(data) and not events & select.EPOLLHUP

    def _say(self, data: bytes) -> None:
        try:
            self.write(data)
        except OSError:
            return  # nobody reads any more; a board would not know either


@contextmanager
def terminal(link: Path) -> Iterator[Wire]:
    """Put a wire behind ``link``, as a serial port."""
    ours, theirs = os.openpty()
    try:
        tty.setraw(theirs)
        os.set_blocking(ours, False)
        link.symlink_to(os.ttyname(theirs))
        wire = Wire(ours)
        try:
            yield wire
        finally:
            wire.close()
    finally:
        link.unlink(missing_ok=True)
        os.close(theirs)
        os.close(ours)


@contextmanager
def accepted(server: socket.socket) -> Iterator[Wire]:
    """Accept the next connection of a listening socket, as a serial port server."""
    server.settimeout(DEADLINE)
    connection, _ = server.accept()
    with connection:
        connection.setblocking(False)
        wire = Wire(connection.fileno())
        try:
            yield wire
        finally:
            wire.close()
