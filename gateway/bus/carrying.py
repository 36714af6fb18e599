"""A letter that one thread carries for somebody else, who may call it off while it waits for room.

Who waits on an event loop has a thread wait for room in its place, and may be cancelled
meanwhile: then the letter is not to go any more, and nobody wants the thread. Whatever
waits for room asks `carried` what its own thread is at, and looks up every `LOOK` seconds,
or is told. For all other threads nothing changes.

Refused: nothing. One that is in, or in a writer's hands that very moment, is delivered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import inf
from typing import TypeVar

LOOK = 0.05
"""Seconds after which a thread looks up that waits where nobody can wake it."""

T = TypeVar("T")

_here = threading.local()


class Carried:
    """One letter under way; `call_off` is for any thread, the rest for who carries it."""

    __slots__ = ("_lock", "_withdraw", "is_off", "longest")

    def __init__(self, longest: float = LOOK) -> None:
        self.is_off = False
        """Whether nobody wants it delivered any more."""
        self.longest = longest
        """Seconds to wait at the most before the next look at `is_off`."""
        self._lock = threading.Lock()
        self._withdraw: Callable[[], object] | None = None

    def do(self, work: Callable[[], T]) -> T:
        """Return what ``work()`` returns, in which this is what the thread carries."""
        _here.carried = self
        try:
            return work()
        finally:
            del _here.carried

    def when_off(self, withdraw: Callable[[], object]) -> None:
        """Have ``withdraw()`` called, once, by who calls it off, or now where that was before."""
        with self._lock:
            self._withdraw = withdraw
            is_off = self.is_off
        if is_off:
            withdraw()

    def call_off(self) -> None:
        """Have it wait no longer; returns at once."""
        with self._lock:
            self.is_off = True
            withdraw = self._withdraw
        if withdraw is not None:
            withdraw()


class _OnesOwn(Carried):
    """What a thread writes for itself, which nobody calls off."""

    __slots__ = ()

    def when_off(self, withdraw: Callable[[], object]) -> None:
        """Keep nothing: all threads share this one."""


_ONES_OWN = _OnesOwn(inf)


def carried() -> Carried:
    """Return what this thread carries; for a thread that writes for itself it is never called off.

    >>> letter = Carried()
    >>> letter.do(carried) is letter, carried() is letter, carried().is_off
    (True, False, False)
    """
    found: Carried = getattr(_here, "carried", _ONES_OWN)
    return found
