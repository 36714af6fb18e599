"""What can be called from elsewhere, and what became of it: for whoever calls through a door."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from gateway.mail.signature import command
from gateway.rpc import current_call


class CalledArm:
    """Notes that a call was begun, that it was taken back, that a stream was closed."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.cancelled = threading.Semaphore(0)
        self.closed = threading.Semaphore(0)
        self.told: list[Any] = []

    @command
    def crush(self) -> None:
        """Break."""
        raise ZeroDivisionError("the egg is broken")

    @command
    def sweep(self) -> None:
        """Go on until nobody wants it any more."""
        self.begun.release()
        waited = threading.Event()
        while not current_call().is_cancelled:
            waited.wait(0.005)
        self.cancelled.release()

    @command
    def scan(self, most: int = 100_000) -> Iterator[int]:
        """Count."""
        try:
            yield from range(most)
        finally:
            self.closed.release()
