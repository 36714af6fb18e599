"""Watching the mail of the whole gateway, from within one process.

The copies come to a mailbox of their own and are read by a thread of their
own, so that a flood of them displaces neither the mail nor the publications
of the process that watches. What it is too slow for is dropped, the oldest
first, and counted.

The boss holds a lease on every tap: a process that does not `renew` in time,
or dies, watches no longer, and the others stop copying.

Refused by the boss: more taps than it cares for (`RefusedError`).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from typing import Any, NamedTuple

import msgspec

from gateway.bus.tapping import Tap
from gateway.errors import GatewayError
from gateway.mail.message import Message
from gateway.process.neighbour import Neighbour
from gateway.process.whereabouts import enter

SIZE = 1024
"""Copies that wait for the process at the most, and as many in the mailbox before it."""

RENEW_EVERY = 4.0
"""Seconds after which a lease is to be renewed."""


class Copy(NamedTuple):
    """A copy for the tap ``id``, and how many of its copies were lost before this one."""

    id: str
    missed: int
    content: dict[str, Any]


class MailTap:
    """What ``owner`` watches: `Process.watch` its `fileno`, and `take` what there is.

    All methods are for the owner's thread; `follow` waits for the boss.
    """

    def __init__(self, owner: Neighbour, *, timeout: float = 1.0) -> None:
        self._owner = owner
        self._timeout = timeout
        self._copies: deque[Copy] = deque()
        self._displaced: dict[str, int] = {}
        self._last: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()
        self._prefix = f"{owner.name}/"
        """What the boss writes before our ids, since others have theirs."""
        self._box = owner.open_mailbox("tap", size=SIZE, timeout=timeout)
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._over = False
        self._thread = threading.Thread(target=self._read, name=f"{owner.name}/tap", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is something to `take`."""
        return self._event

    def follow(
        self,
        id: str,
        *,
        sender: str = "*",
        recipient: str = "*",
        subject: str = "*",
        kinds: tuple[str, ...] = (),
    ) -> None:
        """Watch the mail that the globs match, as ``id``, which must be new."""
        tap = Tap(self._box.name, sender, recipient, subject, kinds)
        asked = {"id": id, "tap": msgspec.to_builtins(tap)}
        self._owner._box.wait_for(self._owner._tell_boss("tap", asked), self._timeout)

    def forget(self, id: str) -> None:
        """Watch no longer as ``id``."""
        with contextlib.suppress(GatewayError):  # a boss that is gone asks for nothing
            self._owner._tell_boss("untap", id)
        with self._lock:
            self._displaced.pop(id, None)
            self._last = {key: last for key, last in self._last.items() if key[0] != id}

    def renew(self) -> None:
        """Tell the boss that somebody still watches."""
        with contextlib.suppress(GatewayError):
            self._owner._tell_boss("renew", None)

    def take(self) -> list[Copy]:
        """Return what has come since, in its order."""
        try:
            os.eventfd_read(self._event)
        except BlockingIOError:
            return []
        with self._lock:
            copies, self._copies = list(self._copies), deque()
            displaced, self._displaced = self._displaced, {}
        # The oldest were displaced: they are missing before the first that is left.
        for index, copy in enumerate(copies):
            if (lost := displaced.pop(copy.id, 0)) > 0:
                copies[index] = copy._replace(missed=copy.missed + lost)
            if not displaced:
                break
        with self._lock:
            for id, lost in displaced.items():
                self._displaced[id] = self._displaced.get(id, 0) + lost
        return copies

    def close(self) -> None:
        """Watch nothing any more, and give everything back."""
        self._over = True
        self._box.wake()
        self._thread.join(2.0)
        if not self._thread.is_alive():
            # It may write to its descriptor yet otherwise, which is to be nobody else's by then.
            os.close(self._event)
        with contextlib.suppress(GatewayError):
            self._owner.close_mailbox(self._box)

    def _read(self) -> None:
        enter(self._owner.name)
        while not self._over:
            message = self._box.get(RENEW_EVERY)
            if message is not None and message.kind == "publication":
                self._sort(message)
            elif self._box.closed:
                return

    def _sort(self, message: Message) -> None:
        # Ids begin with what only one OS process uses, and each numbers its own.
        id = message.subject.removeprefix(self._prefix)
        key = (id, message.message_id.partition("-")[0])
        with self._lock:
            number = message.thread_index
            missed = max(0, number - self._last.get(key, 0) - 1)
            self._last[key] = number
            if len(self._copies) >= SIZE:
                oldest = self._copies.popleft()
                lost = self._displaced.get(oldest.id, 0) + oldest.missed + 1
                self._displaced[oldest.id] = lost
            self._copies.append(Copy(id, missed, message.body))
        os.eventfd_write(self._event, 1)
