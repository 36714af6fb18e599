"""A signal that comes just before the main thread sleeps wakes it all the same.

The interpreter runs handlers on the main thread, between two instructions. A signal that
arrives between the last of those and the system call that sleeps, or on another thread,
interrupts nothing: its handler would run when that sleep ends. So the interpreter writes a
byte for each signal (`signal.set_wakeup_fd`, the self-pipe trick), and whoever may sleep
on the main thread watches this beside what it waits for.

Every leader of a mailbox watches it, edge-triggered (`gateway.bus.leading`): where one of another
thread hears it, the main thread may wait behind it. The main thread alone empties it.

Refused: nothing; off the main thread, where no signal is handled, none is heard.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from _thread import get_ident


class SelfPipe:
    """Readable once a signal has come, while the ``with`` lasts; one for each OS process."""

    def __init__(self) -> None:
        self._ends: tuple[socket.socket, socket.socket] | None = None
        self._before = -1
        self._owner = 0

    def __enter__(self) -> SelfPipe:
        if threading.current_thread() is threading.main_thread():
            self._ends = socket.socketpair()
            for end in self._ends:
                end.setblocking(False)
            self._owner = get_ident()
            # One that is full has told already.
            written = self._ends[1].fileno()
            self._before = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        if self._ends is not None:
            signal.set_wakeup_fd(self._before)
            for end in self._ends:
                end.close()
            self._ends = None

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
