"""Callbacks that run on threads of their process, so that it can go on with its mail.

A letter is handed to a thread if fewer than ``at_once`` run, else it waits, with
at most ``waiting`` others. A thread lives while something waits. Order is not
kept between letters. What a callback raises is treated as everywhere: a
`GatewayError` bounces, anything else kills the process.

Refused: letters that find the queue full (`MailboxFullError`), letters that
still wait when the process ends (`RecipientGoneError`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from gateway.bus.lanes import NO_RECEIPTS, Receipts
from gateway.errors import MailboxFullError, RecipientGoneError
from gateway.mail.filters import Callback
from gateway.mail.message import Message
from gateway.process.threads import ChildThreads

AT_ONCE = 4
"""Callbacks of one process that run on threads at the same time, at the most."""

WAITING = 64
"""Letters that wait for such a thread at the most."""


class CallbackThreads:
    """Runs callbacks on child threads of one process."""

    def __init__(
        self,
        threads: ChildThreads,
        call: Callable[[Callback, Message], None],
        *,
        name: str = "callback",
        at_once: int = AT_ONCE,
        waiting: int = WAITING,
        receipts: Receipts = NO_RECEIPTS,
    ) -> None:
        """Run each callback by ``call``, on a thread among ``threads`` that is called ``name``.

        In ``receipts`` is noted what waits, for who takes stock should the process be killed.
        """
        if at_once < 1 or waiting < 0:
            raise ValueError(f"{at_once} threads and {waiting} that wait: use 1 and 0 or more")
        self._threads = threads
        self._call = call
        self._name = name
        self._at_once = at_once
        self._waiting = waiting
        self._receipts = receipts
        self._lock = threading.Lock()
        self._queue: deque[tuple[Callback, Message]] = deque()
        self._running = 0
        self._closed = False

    def wrap(self, callback: Callback) -> Callback:
        """Return what a filter calls so that ``callback`` runs on a thread."""

        def hand_over(message: Message) -> None:
            self._hand_over(callback, message)

        return hand_over

    def _hand_over(self, callback: Callback, message: Message) -> None:
        if message.receipt:
            # Until it is begun, or its bounce has left.
            self._receipts.note(message)
        with self._lock:
            if self._closed:
                raise RecipientGoneError("its process ended before a thread was free for it")
            if self._running >= self._at_once and len(self._queue) >= self._waiting:
                raise MailboxFullError(f"{len(self._queue)} letters wait for a thread already")
            self._queue.append((callback, message))
            if self._running >= self._at_once:
                return
            self._running += 1
        self._threads.start_another(self._name, self._work)

    def close(self) -> list[Message]:
        """Begin nothing more; return the letters that waited."""
        with self._lock:
            self._closed = True
            left = [message for _, message in self._queue]
            self._queue.clear()
        return left

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._running -= 1
                    return
                callback, message = self._queue.popleft()
            if message.receipt:
                self._receipts.strike(message.message_id)
            self._call(callback, message)
