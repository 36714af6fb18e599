"""To end a function that runs on another thread: an exception is raised in the midst of it.

Python does so between two of its instructions; what runs in C (a wait of the
operating system, a library's loop) is ended when it comes back. It is a
`BaseException`, so that a function's own ``except Exception`` does not swallow it.

Outside the function nothing is ever raised: an interruption that comes too late
is taken back. What the function holds it gives back where it says ``with`` or
``finally``; a lock that it was just taking it may keep.

Refused: two functions at once in one `Interruptible` (`ValueError`).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Interruption(BaseException):
    """Raised in what is to end at once."""


class Interruptible:
    """Runs one function at a time, which any other thread may `interrupt`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._is_asked = False

    def run(self, function: Callable[[], T]) -> T:
        """Return what ``function()`` returns; raise `Interruption` where it was interrupted."""
        if self._thread is not None:
            raise ValueError("something runs in it already")
        self._is_asked = False
        try:
            with self._lock:
                self._thread = threading.get_ident()
            return function()
        finally:
            # Nothing may be called before this `try`: it may come at any call.
            while True:
                try:
                    with self._lock:
                        thread, self._thread = self._thread, None
                        if thread is not None:
                            # What was asked for and has not been raised yet is taken back.
                            _raise_in(thread, None)
                    break
                except Interruption:
                    # It came on the way out, where the function's own end counts.
                    continue

    def interrupt(self) -> bool:
        """Have what runs end; tell whether something runs. The second time changes nothing."""
        with self._lock:
            if self._thread is None:
                return False
            if not self._is_asked:
                self._is_asked = True
                _raise_in(self._thread, Interruption)
            return True


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    exception = ctypes.py_object() if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), exception)
