"""Threads that wait so that an event loop need not: each carries one letter to a full mailbox.

They are child threads of their process, so that it ends with them. Refused:
more than `MOST` at a time, with the error of a full mailbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import TypeVar

from gateway.errors import GatewayError, MailboxFullError
from gateway.process.threads import ChildThreads

MOST = 64
"""Porters of one process that are under way at the most."""

T = TypeVar("T")


class Porters:
    """The porters of one process; belongs to its loop's thread."""

    def __init__(self, owner: str, threads: ChildThreads) -> None:
        self._owner = owner
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._numbers = count(1)
        self.under_way = 0

    async def carry(self, work: Callable[[], T]) -> T:
        """Have a thread do ``work``, which may wait; return what it returned, or raise."""
        if self.under_way >= MOST:
            raise MailboxFullError(f"{self._owner!r} waits before {MOST} full mailboxes already")
        done: asyncio.Future[T] = self._loop.create_future()

        def arrived(result: T) -> None:
            if not done.done():
                done.set_result(result)

        def failed(error: GatewayError) -> None:
            if not done.done():
                done.set_exception(error)

        def go() -> None:
            try:
                result = work()
            except GatewayError as error:
                self._loop.call_soon_threadsafe(failed, error)
            else:
                self._loop.call_soon_threadsafe(arrived, result)

        self._threads.clear_ended()
        self.under_way += 1
        try:
            self._threads.start(f"porter-{next(self._numbers)}", go)
            return await done
        finally:
            self.under_way -= 1
