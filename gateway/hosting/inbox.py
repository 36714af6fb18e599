"""The bounded queue of commands for one device, and the promise that none is forgotten.

It takes letters only while the device is connected. Taking one and ceasing to
take any are decided under one lock: when the link dies, `Inbox.shut` hands
back everything that was accepted and not yet taken, and nothing comes after.

Refused: a letter for a device that is not connected (`RefusedError`, with its
cause), one more than the limit (`MailboxFullError`, at once: a device is slow
for reasons that waiting does not cure).
"""

from __future__ import annotations

import threading
from collections import deque

from gateway.errors import MailboxFullError, RefusedError
from gateway.hosting.doorbell import Doorbell
from gateway.mail.message import Message


class Inbox:
    """Letters from many threads for the one that serves the device."""

    def __init__(self, name: str, limit: int) -> None:
        """Hold up to ``limit`` letters for the device ``name``."""
        self.accepted = 0
        self.refused = 0
        self._name = name
        self._limit = limit
        self._letters: deque[Message] = deque()
        self._lock = threading.Lock()
        self._doorbell: Doorbell | None = None
        self._why_shut: str | None = "it has not been started"

    def __len__(self) -> int:
        return len(self._letters)

    def attach(self, doorbell: Doorbell) -> None:
        """Ring ``doorbell`` from now on, and close it in `detach`."""
        with self._lock:
            self._doorbell = doorbell

    def detach(self) -> None:
        """Close the doorbell: its thread has ended and nobody sleeps there any more."""
        with self._lock:
            if self._doorbell is not None:
                self._doorbell.close()
                self._doorbell = None

    def post(self, message: Message) -> None:
        """Accept ``message``, or raise `RefusedError` or `MailboxFullError`."""
        with self._lock:
            if self._why_shut is not None:
                self.refused += 1
                raise RefusedError(f"{self._name} is not connected: {self._why_shut}")
            if len(self._letters) >= self._limit:
                self.refused += 1
                raise MailboxFullError(
                    f"{self._name} has {self._limit} commands waiting; it is behind"
                )
            self.accepted += 1
            self._letters.append(message)
            if self._doorbell is not None:
                self._doorbell.ring_if_asleep()

    def take(self) -> Message | None:
        """Return the next letter, or None; only the device's own thread takes."""
        return self._letters.popleft() if self._letters else None

    def open(self) -> None:
        """Take letters from now on."""
        with self._lock:
            self._why_shut = None

    def shut(self, why: str) -> list[Message]:
        """Take no more, and return what was accepted and not taken, in order."""
        with self._lock:
            self._why_shut = why
            left = list(self._letters)
            self._letters.clear()
            return left

    def wake(self) -> None:
        """Wake the device's thread, whatever it waits for."""
        with self._lock:
            if self._doorbell is not None:
                self._doorbell.ring()
