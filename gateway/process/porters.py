"""Threads that wait so that an event loop need not: each carries one letter to a full mailbox.

They are child threads of their process, so that it ends with them. A letter
whose wait is cancelled is called off: its thread gives up where it waits for
room, and is under way until it has. Refused: more than `MOST` at a time, with
the error of a full mailbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TypeVar

from gateway.bus.carrying import Carried
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
        # Each thread takes itself out as its last step but one.
        self._under_way: set[str] = set()

    @property
    def under_way(self) -> int:
        """How many threads wait, or do what they waited for."""
        return len(self._under_way)

    async def carry(self, work: Callable[[], T], *, to_the_end: bool = False) -> T:
        """Have a thread do ``work``, which may wait; return what it returned, or raise.

        Where this is cancelled the work is called off, unless it is to be done ``to_the_end``.
        """
        if self.under_way >= MOST:
            raise MailboxFullError(f"{self._owner!r} waits before {MOST} full mailboxes already")
        done: asyncio.Future[T] = self._loop.create_future()
        carried, name = Carried(), f"porter-{next(self._numbers)}"

        def arrived(result: T) -> None:
            if not done.done():
                done.set_result(result)

        def failed(error: GatewayError) -> None:
            if not done.done():
                done.set_exception(error)

        def go() -> None:
            try:
                result = carried.do(work)
            except GatewayError as error:
                tell: Callable[[], None] = partial(failed, error)
            else:
                tell = partial(arrived, result)
            finally:
                self._under_way.discard(name)
            self._loop.call_soon_threadsafe(tell)

        self._threads.clear_ended()
        self._under_way.add(name)
        try:
            self._threads.start(name, go)
        except BaseException:
            self._under_way.discard(name)
            raise
        try:
            return await done
        except (asyncio.CancelledError, GeneratorExit):
            if not to_the_end:
                carried.call_off()
            raise
