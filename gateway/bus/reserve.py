"""A descriptor that is kept for who finds that there is none left.

A body that comes beside its letter takes one for a moment, and the kernel drops it where there
is none. So one is kept for that alone, and given up for as long as it takes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from itertools import repeat

log = logging.getLogger(__name__)

PATIENCE = 1.0
"""Seconds that one reader waits for another that has borrowed it."""


class Reserve:
    """One descriptor of an OS process, for one borrower at a time. Thread-safe."""

    def __init__(self) -> None:
        # A signal's handler may read while its thread is in here.
        self._lock = threading.RLock()
        self._tries = map(self._lock.acquire, repeat(True), repeat(PATIENCE))
        self._descriptor = -1
        self._is_closed = self._is_said = False

    def keep(self) -> None:
        """Take a descriptor, unless one is kept; where there is none it is tried again later."""
        if self._descriptor < 0 and not self._is_closed:
            with contextlib.suppress(OSError):
                # No handler gets in between what this calls and where it is stored.
                for self._descriptor in map(os.eventfd, (0,), (os.EFD_CLOEXEC,)):
                    break

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Give up what is kept, and take another one afterwards.

        Other threads may be faster to take it, and another borrower may keep it for too long:
        whoever borrows looks whether there is one.
        """
        is_ours = False
        try:
            # After os.fork() it may be held by a thread that is not there. No handler gets in
            # between what this calls and where it is stored.
            for taken in self._tries:
                is_ours = taken
                break
            if not self._is_said:
                self._is_said = True
                log.warning(
                    "no descriptor is left, and large bodies come one at a time:"
                    " raise LimitNOFILE= in the unit (ulimit -n)"
                )
            if is_ours:
                self._give_up()
            yield
        finally:
            if is_ours:
                try:
                    self.keep()
                finally:
                    self._lock.release()

    def close(self) -> None:
        """Give it back for good; twice is fine."""
        self._is_closed = True
        self._give_up()

    def _give_up(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
