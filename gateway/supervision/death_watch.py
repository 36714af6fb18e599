"""Tells at once of OS processes that begin to end, by the robust locks that they held.

A thread sleeps on all of those locks together (``futex_waitv(2)``, Linux 5.16), and makes a
descriptor readable when the kernel has let go of one. It begins with the first lock that is to
be watched, and is its maker's, who calls `close`.

Refused: nothing. Locks beyond `MOST`, and all of them on a kernel or a machine without the
call, go unwatched: of those processes the pidfd alone tells, which is a little later.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from time import monotonic

from gateway.supervision.robust_locks import LET_GO, RobustLocks, held_by

log = logging.getLogger(__name__)

MOST = 127
"""Locks at the most that are watched: what the kernel takes at once, less the bell."""

_FUTEX_WAITV = 449
"""The same number on every machine, as of all calls that are as new."""

_FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98}
_FUTEX_32 = {"armv7l": 240, "armv6l": 240, "aarch64": 240, "i686": 240, "x86_64": 240}
"""Where Python itself has 32 bits, as on many a Raspberry Pi whose kernel has 64."""

_WAKE = 1
_WORD_OF_32_BITS = 2
_GOES_ON = (errno.EAGAIN, errno.EINTR)

SOON = 0.02
"""Seconds within which nearly every OS process has ended that has begun to."""

PATIENCE = 1.0
"""Seconds that the rest is waited for: the machine is busy, or a device holds a thread up."""

_PF_EXITING = 4
_FLAGS = 6
"""Where they stand in ``/proc/<pid>/stat``, counted from behind the program's name (proc(5))."""


class _Waiter(ctypes.Structure):
    """``struct futex_waitv`` of ``linux/futex.h``."""

    _fields_ = (
        ("val", ctypes.c_uint64),
        ("uaddr", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    )


class DeathWatch:
    """`fileno` is readable when `take` has something to return; both are for one thread."""

    def __init__(
        self, locks: RobustLocks, *, make_thread: Callable[..., threading.Thread] = threading.Thread
    ) -> None:
        self._locks = locks
        self._rows: dict[int, int] = {}
        """Whom it watches: the row of the lock of each OS process, by its pid."""
        self._ending = deque[int]()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._bell = ctypes.c_uint32()
        """Rung where the thread is to look anew at whom it watches."""
        self._is_over = False
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = make_thread(target=self._run, name="death-watch", daemon=True)
        self._futex = _number_of_futex(os.uname().machine, sys.maxsize)

    def fileno(self) -> int:
        """The descriptor that is readable when somebody has begun to end."""
        return self._event

    def watch(self, pid: int, row: int) -> None:
        """Watch the OS process ``pid``, which held the lock of ``row`` as it began.

        Of one that holds none nothing is told.
        """
        if self._futex is None or self._is_over:
            return
        if self._locks.word(row) not in (held_by(pid), LET_GO):
            return
        self._rows[pid] = row
        if self._thread.ident is None:
            self._begin()
        self._ring()

    def forget(self, pid: int) -> None:
        """Watch it no longer: its row is somebody else's next. One that is not watched is fine."""
        if self._rows.pop(pid, None) is not None and len(self._rows) >= MOST:
            # There is room for one that was not watched so far.
            self._ring()
        with suppress(ValueError):
            self._ending.remove(pid)

    def take(self) -> list[int]:
        """Return who has begun to end since this was asked last, and was not forgotten."""
        if self._event < 0:
            return []
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
        taken = []
        while self._ending:
            taken.append(self._ending.popleft())
        return taken

    def close(self) -> None:
        """End the thread and give the descriptor back; twice is fine.

        A thread that does not end within `PATIENCE` keeps it, until this is called again.
        """
        if self._event < 0:
            return
        self._is_over = True
        if self._thread.ident is not None:
            self._ring()
            self._thread.join(PATIENCE)
            if self._thread.is_alive():
                # It may write to its descriptor yet, which has to be nobody else's by then.
                log.warning("the death watch does not end; its descriptor stays open")
                return
        event, self._event = self._event, -1
        os.close(event)

    def _begin(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as error:
            # A machine that has no thread left. The pidfds tell, as without this.
            log.warning("deaths are told of a little later: %s", error)
            self._futex = None

    def _ring(self) -> None:
        self._bell.value += 1
        if self._futex is not None:
            bell = ctypes.byref(self._bell)
            self._libc.syscall(self._futex, bell, _WAKE, 1, None, None, 0)

    # The thread

    def _run(self) -> None:
        while True:
            # First: who changes anything of what is read below rings afterwards.
            rung = self._bell.value
            if self._is_over:
                return
            watched = list(islice(self._rows.copy().items(), MOST))
            changed = [(pid, row) for pid, row in watched if self._locks.word(row) != held_by(pid)]
            if changed:
                self._tell(changed)
            else:
                error = self._sleep(rung, watched)
                if error and error not in _GOES_ON:
                    log.info("deaths are told of a little later: %s", os.strerror(error))
                    self._is_over = True

    def _tell(self, changed: list[tuple[int, int]]) -> None:
        """Tell of those who let go of their lock, each once and unless it was forgotten."""
        for pid, row in changed:
            # A word that makes no sense, as where somebody wrote over it, is watched no more.
            if self._rows.pop(pid, None) is not None and self._locks.word(row) == LET_GO:
                self._ending.append(pid)
        os.eventfd_write(self._event, 1)

    def _sleep(self, rung: int, watched: list[tuple[int, int]]) -> int:
        """Sleep until the bell rings or a lock is let go of; return the error's number, or 0."""
        waiters = (_Waiter * (1 + len(watched)))(
            _Waiter(rung, ctypes.addressof(self._bell), _WORD_OF_32_BITS, 0),
            *(
                _Waiter(held_by(pid), self._locks.address(row), _WORD_OF_32_BITS, 0)
                for pid, row in watched
            ),
        )
        found = self._libc.syscall(_FUTEX_WAITV, waiters, len(waiters), 0, None, 0)
        return ctypes.get_errno() if found < 0 else 0


def ends_of(pids: Mapping[int, int]) -> Iterator[int]:
    """Wait for OS processes that have let go of their locks; yield each that has ended.

    ``pids`` are theirs by their pidfds, and the pidfds are what is yielded. One that became
    another program is not waited for.
    """
    left = dict(pids)
    poller = select.poll()
    for pidfd in left:
        poller.register(pidfd, select.POLLIN)
    for seconds in (SOON, PATIENCE):
        deadline = monotonic() + seconds
        while left:
            ended = poller.poll(max(0.0, deadline - monotonic()) * 1000)
            for pidfd, _ in ended:
                poller.unregister(pidfd)
                del left[pidfd]
                yield pidfd
            if not ended:
                break
        for pidfd in [pidfd for pidfd, pid in left.items() if not _is_exiting(pid)]:
            poller.unregister(pidfd)
            del left[pidfd]


def _is_exiting(pid: int) -> bool:
    try:
        told = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        # It was reaped this very moment.
        return True
    return bool(int(told.rpartition(")")[2].split()[_FLAGS]) & _PF_EXITING)


def _number_of_futex(machine: str, largest: int) -> int | None:
    """Return the number of the call ``futex``, None where it is not known.

    ``machine`` is what the kernel runs on, and ``largest`` tells how many bits Python has.
    """
    return (_FUTEX if largest > 1 << 32 else _FUTEX_32).get(machine)
