"""The named locks that the threads of one process share.

Several are taken in one go in the order of their names, whatever order they
were asked for in, so that two threads that each want both never wait for each
other. A thread that holds a lock may take it again.

Refused: names that nobody added (`ValueError`), locks that stay taken past the
deadline (`CallTimeoutError`, which bounces to whoever wrote for it).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import Protocol

from gateway.errors import CallTimeoutError
from gateway.timeout import in_seconds


class Lock(Protocol):
    """What `threading.RLock` makes, or acts like it."""

    def acquire(self, *, timeout: float) -> bool:
        """Hold it; False where another one still does after ``timeout`` seconds."""
        ...

    def release(self) -> None:
        """Give it back once."""
        ...


class Locks:
    """Locks by name, made by ``make_lock``. Thread-safe.

    >>> locks = Locks()
    >>> locks.add("arm", "camera")
    >>> with locks.take("camera", "arm", timeout=1.0):
    ...     "both are ours"
    'both are ours'
    """

    def __init__(
        self,
        *,
        make_lock: Callable[[], Lock] = threading.RLock,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        self._make_lock = make_lock
        self._monotonic = monotonic
        self._locks: dict[str, Lock] = {}

    def add(self, *names: str) -> None:
        """Make a lock for each name that has none yet."""
        for name in names:
            self._locks.setdefault(name, self._make_lock())

    @contextmanager
    def take(self, *names: str, timeout: float) -> Iterator[None]:
        """Hold the locks ``names``, all where none is named; wait ``timeout`` seconds in all."""
        timeout = in_seconds(timeout)
        deadline = self._monotonic() + timeout
        with ExitStack() as held:
            for name, lock in self._in_order(names):
                if not lock.acquire(timeout=max(0.0, deadline - self._monotonic())):
                    raise CallTimeoutError(f"the lock {name!r} stayed taken for {timeout:g} s")
                held.callback(lock.release)
            yield

    def _in_order(self, names: tuple[str, ...]) -> list[tuple[str, Lock]]:
        """Return the locks ``names``, all where none is named, in the order of their names."""
        known = self._locks.copy()
        if unknown := sorted(set(names) - set(known)):
            there = ", ".join(sorted(known)) or "none"
            raise ValueError(f"nobody added the lock {unknown[0]!r}; there are {there}")
        return [(name, known[name]) for name in sorted(names or known)]
