"""Locks in shared memory that the kernel lets go of as the first thing when their owner dies.

A forked life locks one as it begins and never lets go. When its OS process ends, however it
does, the kernel marks the lock before it takes the memory of that process apart, and wakes
whoever sleeps on it: a millisecond or more before a pidfd says so. It is POSIX's robust mutex
(``pthread_mutexattr_setrobust(3)``), of which glibc has the futex word come first, and what the
kernel does with that is in its ``robust-futex-ABI``: the word is the owner's thread id, with
`WAITERS` where it is to wake somebody, and `OWNER_DIED` afterwards.

The owner is a thread. That of a life is the main one of its OS process, so a lock is also let go
where that process becomes another program (``execve``), and somewhat before other threads of it
have ended.

Refused: nothing. Where the C library has no such mutex, or has it otherwise, nobody holds a lock.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from threading import get_native_id

SPACE = 64
"""Bytes for each, of which glibc's mutex has 24 to 48: whole lines of the cache."""

WAITERS = 0x80000000
OWNER_DIED = 0x40000000
LET_GO = OWNER_DIED | WAITERS
"""The word of a lock that was held, and whose owner died."""

_ROBUST = _SHARED = 1
_WORDS = SPACE // 4
_UNLOCKED = memoryview(bytes(SPACE)).cast("I")

MakeLocked = Callable[[int], bool]
"""Makes a mutex at an address and locks it; tells whether it could."""


class RobustLocks:
    """One lock for each row of the ledgers; made before the first fork.

    Whatever can be is made here, where it is shared: a child writes to few pages of its own.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._memory = mmap.mmap(-1, rows * SPACE)
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._words = memoryview(self._memory).cast("I")
        self._make_locked = _find_mutex()

    def hold(self, row: int) -> bool:
        """Lock that of ``row`` for as long as the calling thread is there; tell whether it is."""
        address, word = self.address(row), row * _WORDS
        self._words[word : word + _WORDS] = _UNLOCKED
        if not self._make_locked(address) or self._words[word] != get_native_id():
            return False
        # In this thread, so that its death comes before this or after it.
        self._words[word] |= WAITERS
        return True

    def word(self, row: int) -> int:
        """Return the futex word of ``row``."""
        return self._words[row * _WORDS]

    def address(self, row: int) -> int:
        """Return where the futex word of ``row`` lies in the memory of this OS process."""
        if not 0 <= row < self._rows:
            raise ValueError(f"there is no row {row}: the last one is {self._rows - 1}")
        return self._start + row * SPACE


def held_by(thread: int) -> int:
    """Return the futex word of a lock that the thread with that id holds."""
    return thread | WAITERS


def _find_mutex() -> MakeLocked:
    """Return what makes a robust mutex and locks it, as far as the C library has any."""
    libc = ctypes.CDLL(None)
    attributes, scratch = (ctypes.create_string_buffer(SPACE) for _ in range(2))
    try:
        make, lock, unlock = (
            libc.pthread_mutex_init,
            libc.pthread_mutex_lock,
            libc.pthread_mutex_unlock,
        )
        steps = (
            libc.pthread_mutexattr_init(attributes),
            libc.pthread_mutexattr_setrobust(attributes, _ROBUST),
            libc.pthread_mutexattr_setpshared(attributes, _SHARED),
        )
    except AttributeError:
        return lambda address: False
    make.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    lock.argtypes = unlock.argtypes = (ctypes.c_void_p,)
    kind = ctypes.addressof(attributes)

    def make_locked(address: int, keep: object = attributes) -> bool:
        return not make(address, kind) and not lock(address)

    # Once here: what the first use of all this takes is shared by whoever is forked.
    trial = ctypes.addressof(scratch)
    if any(steps) or not make_locked(trial):
        return lambda address: False
    owner = ctypes.c_uint32.from_buffer(scratch).value
    unlock(trial)
    # Another C library may have something else come first.
    return make_locked if owner == get_native_id() else lambda address: False
