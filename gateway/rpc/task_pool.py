"""Coroutines of one API that run beside the mail of their asyncio process.

Up to ``at_once`` run, and ``waiting`` others wait, in order.

Refused: one too many (`MailboxFullError`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

from gateway.errors import GatewayError, MailboxFullError, RecipientGoneError
from gateway.process.aio_process import AsyncProcess

Work = Callable[[], Coroutine[Any, Any, None]]
Drop = Callable[[GatewayError], None]
"""Is told why work was not begun."""


class TaskPool:
    """Runs coroutines as tasks of ``process``; used on its loop's thread alone."""

    def __init__(self, process: AsyncProcess, name: str, at_once: int, waiting: int) -> None:
        self._process = process
        self._name = name
        self._at_once = at_once
        self._most = waiting
        self._running = 0
        self._queue: deque[tuple[Work, Drop]] = deque()
        self._numbers = count(1)

    def run(self, work: Work, drop: Drop) -> None:
        """Await ``work()`` now, or when one of the others has ended; ``drop`` one too many."""
        if self._running >= self._at_once:
            if len(self._queue) >= self._most:
                drop(MailboxFullError(f"{self._most} calls wait for a task already"))
                return
            self._queue.append((work, drop))
            return
        self._running += 1
        self._process.add_child_task(f"{self._name}-{next(self._numbers)}", self._all(work))

    def close(self) -> None:
        """Drop what waits: its process ends."""
        while self._queue:
            _, drop = self._queue.popleft()
            drop(RecipientGoneError("its process ended before it was begun"))

    async def _all(self, work: Work | None) -> None:
        try:
            while work is not None:
                await work()
                work = self._queue.popleft()[0] if self._queue else None
        finally:
            self._running -= 1
