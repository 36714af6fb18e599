"""A signal that comes just before the main thread sleeps wakes it all the same.

The interpreter runs handlers on the main thread, between two instructions. A signal that
arrives between the last of those and the system call that sleeps, or on another thread,
interrupts nothing: its handler would run when that sleep ends. So the interpreter writes a
byte for each signal (`signal.set_wakeup_fd`, the self-pipe trick), and whoever may sleep
on the main thread watches this beside what it waits for.

Every leader of a mailbox watches it, edge-triggered (`gateway.bus.leading`): where one of another
thread hears it, the main thread may wait behind it. The main thread alone empties it.

A child of `os.fork()` has none: what it hears is not its parent's business.

Refused: nothing; off the main thread, where no signal is handled, none is heard.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from _thread import get_ident
from functools import cache
from weakref import WeakSet

MANY = 64
"""Bytes with which it is thinned out; some 278 fit."""

_open: WeakSet[SelfPipe] = WeakSet()


class SelfPipe:
    """Readable once a signal has come, while the ``with`` lasts; one for each OS process."""

    def __init__(self) -> None:
        self._ends: tuple[socket.socket, socket.socket] | None = None
        self._before = -1
        self._owner = 0

    def __enter__(self) -> SelfPipe:
        if threading.current_thread() is threading.main_thread():
            _heed_forks()
            self._ends = socket.socketpair()
            for end in self._ends:
                end.setblocking(False)
            _open.add(self)
            self._owner = get_ident()
            self._before = self.take()
        return self

    def __exit__(self, *_: object) -> None:
        if self._ends is not None:
            signal.set_wakeup_fd(self._before)
            self._close()

    def take(self) -> int:
        """Have the interpreter write here, also where others had it write elsewhere meanwhile.

        Returns where it wrote before: `asyncio` leaves none (-1) when it has handled signals.
        """
        if not self.is_mine:
            return -1
        assert self._ends is not None
        # One that is full has told already.
        return signal.set_wakeup_fd(self._ends[1].fileno(), warn_on_full_buffer=False)

    def fileno(self) -> int:
        """The descriptor to be watched; -1 where nothing is heard."""
        return -1 if self._ends is None else self._ends[0].fileno()

    @property
    def is_mine(self) -> bool:
        """Whether signals are handled on the thread that asks, and it is to empty this."""
        return self._ends is not None and self._owner == get_ident()

    def empty(self) -> None:
        """Have it readable no more; the handlers ran when its thread woke up."""
        if self._ends is not None:
            with contextlib.suppress(BlockingIOError):
                self._ends[0].recv(4096)

    def thin_out(self) -> None:
        """Have it not fill up, on a thread that may not empty it: it stays readable.

        A full one would never be written to again, and its edge is told of once.
        """
        if self._ends is not None:
            with contextlib.suppress(BlockingIOError):
                many = len(self._ends[0].recv(4096, socket.MSG_PEEK))
                if many >= MANY:
                    self._ends[0].recv(many - 1)

    def lapse(self) -> None:
        """Hear nothing any more, in a child of `os.fork()`: it is the parent's."""
        if self._ends is not None:
            # Another one's, as of a program that has a loop of its own, stays.
            before = signal.set_wakeup_fd(-1)
            if before != self._ends[1].fileno():
                signal.set_wakeup_fd(before)
            self._close()

    def _close(self) -> None:
        _open.discard(self)
        ends, self._ends = self._ends, None
        for end in ends or ():
            end.close()


@cache
def _heed_forks() -> None:
    os.register_at_fork(after_in_child=_lapse_all)


def _lapse_all() -> None:
    for each in list(_open):
        each.lapse()
