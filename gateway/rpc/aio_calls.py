"""The calls that an asyncio process makes: what waits is awaited.

``await robot.arm.grip(force=3)`` for a call, ``async for part in await
robot.lidar.scan()`` for a stream, and `later` gives a transaction that is
awaited as well. Whoever is cancelled while it awaits takes its call back.

Refused (`RuntimeError`): to ask a transaction for a result that it does not
have yet, which would hold up the loop: await it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable
from functools import partial
from inspect import isawaitable
from itertools import count
from typing import Any, ClassVar, NoReturn, TypeVar

from gateway.errors import CallTimeoutError, ExpiredError, GatewayError
from gateway.mail.message import Message
from gateway.process.aio_process import AsyncProcess
from gateway.process.process import Process
from gateway.rpc.calls import Calls
from gateway.rpc.stream import Answer, Batch, Parts, Stream
from gateway.rpc.terms import Terms
from gateway.rpc.transaction import Transaction, TransactionId, releasing
from gateway.rpc.under_way import late

T = TypeVar("T")


class AsyncCalls(Calls):
    """The client's side of one asyncio process; see the module's head."""

    is_awaited: ClassVar[bool] = True

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        assert isinstance(process, AsyncProcess)
        self._asyncio = process
        self._callbacks = count(1)

    def call(  # type: ignore[override]  # it is awaited
        self, address: str, path: str, body: Any, terms: Terms, take: Callable[[Answer], T]
    ) -> Awaitable[T | None]:
        """Await the answer; raises the error that came instead of it."""
        return self._asyncio.pending(path, partial(self._ask, address, path, body, terms, take))

    async def _ask(
        self,
        address: str,
        path: str,
        body: Any,
        terms: Terms,
        take: Callable[[Answer], T],
        sent: Callable[[Message], object] = lambda letter: None,
    ) -> Any:
        try:
            result = await self._taken(address, path, body, terms, take, sent)
            return result if terms.combine is None else await _combined(result, terms.combine)
        except GatewayError:
            if terms.ignore_errors and terms.sync:
                return None
            raise

    async def _taken(
        self,
        address: str,
        path: str,
        body: Any,
        terms: Terms,
        take: Callable[[Answer], T],
        sent: Callable[[Message], object],
    ) -> T:
        process, timeout = self._asyncio, terms.timeout
        deadline = self._now() + timeout
        try:
            letter = await process.send_patiently(
                address, path, body, expires_in=timeout, timeout=timeout, receipt=True
            )
            sent(letter)
            try:
                answer = await process.letters.wait_for(letter, deadline - self._now())
            except (CallTimeoutError, asyncio.CancelledError):
                self.take_back(letter)
                raise
            except ExpiredError as error:
                raise late(address, path) from error
        except GatewayError as error:
            self._count(error.code)
            raise
        with self._lock:
            self._answered += 1
        return take(answer)

    def begin(
        self, address: str, path: str, body: Any, terms: Terms, take: Callable[[Answer], T]
    ) -> Transaction[T]:
        """Call, and return at once the transaction that is awaited; on the loop's thread."""
        if not self._asyncio.is_on_its_thread():
            raise RuntimeError(
                f"{path!r} is called later on the loop's thread alone: on another one write"
                f" {path}(...).result()"
            )
        release = None if terms.release is None else releasing(terms.release)
        id = TransactionId(self._process.name, self._box.incarnation, "")
        made: LoopTransaction[T] = LoopTransaction(self, id, path, self._now() + terms.timeout)
        for callback in (terms.callback, release):
            if callback is not None:
                made.add_done_callback(callback)
        made.run(self._ask(address, path, body, terms, take, made.was_sent))
        return made

    def stream(self, address: str, terms: Terms, answer: Answer) -> Any:
        """Return what follows after ``answer``, the first batch of a stream."""
        # Who is to be told of the call, and what joins its parts, is none of a pull's.
        pulls = Terms(timeout=terms.timeout)

        def pull(stream: str) -> Transaction[Batch]:
            asked = {"stream": stream, "most": terms.window}
            return self.begin(address, Stream.NEXT, asked, pulls, Batch.of)

        cancel, abandon = partial(self._tell_cancel, address), partial(self._abandon, address)
        return AsyncStream(Batch.of(answer), pull, cancel, abandon)

    def _abandon(self, address: str, stream: str) -> None:
        self._asyncio.call_on_loop(partial(self._tell_cancel, address, stream))

    def call_back(
        self, callback: Callable[[Transaction[Any]], object], made: Transaction[Any]
    ) -> None:
        """Call ``callback(made)``, and have it awaited where it is a coroutine."""
        try:
            due = callback(made)
        except GatewayError as error:
            self.note_failed_callback(made, error)
        except Exception as bug:  # noqa: BLE001 - the process dies of it, and not this call
            self._asyncio._child_failed(bug)
        else:
            if isawaitable(due):
                name = f"callback of {made.path} ({next(self._callbacks)})"
                self._asyncio.add_child_task(name, self._await_callback(due, made))

    async def _await_callback(self, due: Awaitable[object], made: Transaction[Any]) -> None:
        try:
            await due
        except GatewayError as error:
            self.note_failed_callback(made, error)


class LoopTransaction(Transaction[T]):
    """One call of an asyncio process under way; await it."""

    def __init__(self, calls: AsyncCalls, id: TransactionId, path: str, deadline: float) -> None:
        super().__init__(id, path, deadline, calls._now)
        self._calls = calls

    def run(self, ask: Coroutine[Any, Any, Any]) -> None:
        """Run the coroutine ``ask``, which says how it ends."""
        self._task = asyncio.get_running_loop().create_task(self._ended_by(ask))
        # One that is cancelled before its turn came has not begun it.
        self._task.add_done_callback(lambda task: ask.close())

    def was_sent(self, letter: Message) -> None:
        """Note which letter it is."""
        self.id = self.id._replace(letter=letter.message_id)

    async def _ended_by(self, ask: Awaitable[Any]) -> None:
        try:
            result = await ask
        except asyncio.CancelledError:
            # Whoever cancelled has ended it; where the loop did, nobody asks any more.
            super().cancel()
        except Exception as error:  # noqa: BLE001 - whoever awaits it is told
            self._end(None, error)
        else:
            self._end(result, None)

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for it, while the loop goes on."""
        yield from asyncio.shield(self._task).__await__()
        return self.result()

    def _wait(self, timeout: float | None) -> None:
        if not self._is_done:
            self._refuse()

    def _refuse(self) -> NoReturn:
        raise RuntimeError(f"{self.path!r} has not been answered yet: await it")

    def _take_back(self) -> None:
        self._task.cancel()

    def _call_back(self, callback: Callable[[Transaction[T]], object]) -> None:
        self._calls.call_back(callback, self)


class AsyncStream(Parts, AsyncIterator[Any]):
    """The parts of one call of an asyncio process; ``async for``, and `close` to leave it."""

    async def __anext__(self) -> Any:
        while True:
            for part in self._parts:
                return part
            coming = self._awaited()
            if coming is None:
                raise StopAsyncIteration
            self._is_read = True
            try:
                self._take(await coming)
            except BaseException:
                self.close()
                raise
            finally:
                self._is_read = False

    def close(self) -> None:
        """Read no more; the function over there is closed. Twice is fine."""
        coming = self._coming
        super().close()
        if coming is not None:
            coming.cancel()


async def _combined(result: Any, combine: Callable[[Iterable[Any]], Any]) -> Any:
    """Return what ``combine`` makes of the parts of a stream, or of what came instead of one."""
    if isinstance(result, AsyncStream):
        return combine([part async for part in result])
    return combine(result)
