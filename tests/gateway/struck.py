"""A sleep that a signal precedes by nothing: noted by the interpreter, it wakes no system call."""

from __future__ import annotations

import _thread
import signal
from collections.abc import Callable
from itertools import repeat
from typing import Any


class Struck:
    """Sleeps as ``slept`` does, a lock or a poller; signal ``number`` comes right before, once.

    That is in the first sleep, or in the next after ``skip`` of them.
    """

    def __init__(self, slept: Any, number: signal.Signals, *, skip: int = 0) -> None:
        self._slept = slept
        # A `for` looks for no signals when it has called this, nor does what it calls then.
        self._arrives = map(_thread.interrupt_main, [number])
        self._skip = repeat(None, skip)

    def _sleep(self, how: Callable[..., Any], *arguments: Any) -> Any:
        for _ in self._skip:
            return how(*arguments)
        for _ in self._arrives:
            return how(*arguments)
        return how(*arguments)

    def poll(self, *arguments: Any) -> Any:
        return self._sleep(self._slept.poll, *arguments)

    def acquire(self, *arguments: Any) -> Any:
        return self._sleep(self._slept.acquire, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._slept, name)
