"""The named locks of an asyncio process: its tasks and its threads take turns.

On the loop's thread they are taken by ``async with``, so that whoever waits
lets the others on the loop go on; on any other thread by ``with``. First come,
first served. A task or a thread that holds a lock may take it again.

Refused, with a `RuntimeError`: ``with`` on the loop's thread, which would hold
up everybody there, and ``async with`` on any other one. Otherwise as `Locks`.
"""

from __future__ import annotations

import asyncio
from _thread import allocate_lock, get_ident
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    suppress,
)
from typing import Any

from gateway.errors import CallTimeoutError
from gateway.process.locks import Locks
from gateway.timeout import in_seconds

Owner = int | asyncio.Task[Any]
"""The identifier of a thread, or a task."""


class _Waiter:
    """One that waits; ``tell`` wakes it once the lock is its own."""

    __slots__ = ("has_it", "owner", "tell")

    def __init__(self, owner: Owner, tell: Callable[[], object]) -> None:
        self.owner = owner
        self.tell = tell
        self.has_it = False


class SharedLock:
    """A lock for which threads wait by `acquire` and tasks by `acquire_on_loop`."""

    __slots__ = ("_depth", "_guard", "_owner", "_waiting")

    def __init__(self) -> None:
        self._guard = allocate_lock()
        self._owner: Owner | None = None
        self._depth = 0
        self._waiting: deque[_Waiter] = deque()

    def acquire(self, *, timeout: float) -> bool:
        """Hold it on this thread; False where another one still does after ``timeout`` seconds."""
        turn = allocate_lock()
        turn.acquire()
        waiter = self._line_up(get_ident(), turn.release)
        if waiter is None:
            return True
        try:
            turn.acquire(True, timeout)
        except BaseException:
            self._leave(waiter)
            raise
        return self._step_out(waiter)

    def release(self) -> None:
        """Give it back once, on the thread that holds it."""
        self.release_of(get_ident())

    async def acquire_on_loop(self, task: asyncio.Task[Any], timeout: float) -> bool:
        """Hold it in ``task``, the present one; False where another one still does at the end."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()

        def come() -> None:
            if not turn.done():
                turn.set_result(None)

        def tell() -> None:
            # A loop that is closed by now has nobody left who waits.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(come)

        waiter = self._line_up(task, tell)
        if waiter is None:
            return True
        try:
            async with asyncio.timeout(timeout):
                await turn
        except TimeoutError:
            pass
        except BaseException:
            # It may have been handed over in the moment in which the task was cancelled.
            self._leave(waiter)
            raise
        return self._step_out(waiter)

    def release_of(self, owner: Owner) -> None:
        """Give it back once; it is whose turn comes next when that was as often as it was taken."""
        heir: _Waiter | None = None
        with self._guard:
            if self._owner != owner:
                raise RuntimeError("the lock is another one's to give back")
            self._depth -= 1
            if not self._depth:
                self._owner = None
                if self._waiting:
                    # Handed over here: nobody gets in between who comes later.
                    heir = self._waiting.popleft()
                    self._owner, self._depth, heir.has_it = heir.owner, 1, True
        if heir is not None:
            heir.tell()

    def _line_up(self, owner: Owner, tell: Callable[[], object]) -> _Waiter | None:
        """Have ``owner`` wait for its turn; None where it has the lock at once."""
        with self._guard:
            if self._owner is not None and self._owner != owner:
                waiter = _Waiter(owner, tell)
                self._waiting.append(waiter)
                return waiter
            self._owner = owner
            self._depth += 1
        return None

    def _step_out(self, waiter: _Waiter) -> bool:
        """Wait no more; tell whether the lock is its own."""
        with self._guard:
            if not waiter.has_it:
                self._waiting.remove(waiter)
            return waiter.has_it

    def _leave(self, waiter: _Waiter) -> None:
        """Wait no more, and want no lock."""
        if self._step_out(waiter):
            self.release_of(waiter.owner)


class LoopLocks(Locks):
    """Locks by name, for threads by `take` and for tasks by `take_on_loop`. Thread-safe."""

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        super().__init__(make_lock=SharedLock, monotonic=monotonic)

    @asynccontextmanager
    async def take_on_loop(self, *names: str, timeout: float) -> AsyncIterator[None]:
        """Hold the locks ``names`` in the present task, as `take` does on a thread."""
        task = asyncio.current_task()
        assert task is not None
        timeout = in_seconds(timeout)
        deadline = self._monotonic() + timeout
        with ExitStack() as held:
            for name, lock in self._in_order(names):
                assert isinstance(lock, SharedLock)
                if not await lock.acquire_on_loop(task, max(0.0, deadline - self._monotonic())):
                    raise CallTimeoutError(f"the lock {name!r} stayed taken for {timeout:g} s")
                held.callback(lock.release_of, task)
            yield


class PendingLocks(AbstractContextManager[None], AbstractAsyncContextManager[None]):
    """Stands for the locks ``names`` until they are taken, once."""

    def __init__(
        self, locks: LoopLocks, names: tuple[str, ...], timeout: float, loop_thread: int
    ) -> None:
        self._on_thread = locks.take(*names, timeout=timeout)
        self._on_loop = locks.take_on_loop(*names, timeout=timeout)
        self._loop_thread = loop_thread

    def __enter__(self) -> None:
        """Take them on a thread that may wait."""
        if get_ident() == self._loop_thread:
            raise RuntimeError(
                "get_locks must not block the loop that an asyncio process shares:"
                " write `async with self.get_locks(...)`"
            )
        self._on_thread.__enter__()

    def __exit__(self, *raised: Any) -> None:
        """Give them back."""
        self._on_thread.__exit__(*raised)

    async def __aenter__(self) -> None:
        """Take them in a task, while the loop goes on."""
        if get_ident() != self._loop_thread:
            raise RuntimeError(
                "async with self.get_locks(...) is for the loop of its process:"
                " on another thread write `with self.get_locks(...)`"
            )
        await self._on_loop.__aenter__()

    async def __aexit__(self, *raised: Any) -> None:
        """Give them back."""
        await self._on_loop.__aexit__(*raised)
