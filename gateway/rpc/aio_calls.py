"""The calls that an asyncio process makes: what waits is awaited.

``await robot.arm.grip(force=3)`` for a call, ``async for part in await
robot.lidar.scan()`` for a stream, and `later` gives a transaction that is
awaited as well. Whoever is cancelled while it awaits takes its call back.

Refused (`RuntimeError`): to ask a transaction for a result that it does not
have yet, which would hold up the loop: await it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any, NoReturn, TypeVar

from gateway.errors import CallTimeoutError, ExpiredError, GatewayError
from gateway.mail.message import Message
from gateway.process.aio_process import AsyncProcess
from gateway.process.process import Process
from gateway.rpc.calls import Calls, late
from gateway.rpc.stream import Answer, Batch, Parts, Stream
from gateway.rpc.terms import Terms
from gateway.rpc.transaction import Transaction, TransactionId, releasing

T = TypeVar("T")


class AsyncCalls(Calls):
    """The client's side of one asyncio process; see the module's head."""

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        assert isinstance(process, AsyncProcess)
        self._asyncio = process

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
    ) -> T | None:
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
            if terms.ignore_errors and terms.sync:
                return None
            raise
        with self._lock:
            self._answered += 1
        return take(answer)

    def begin(
        self, address: str, path: str, body: Any, terms: Terms, take: Callable[[Answer], T]
    ) -> Transaction[T]:
        """Call, and return at once the transaction that is awaited; on the loop's thread."""
        release = None if terms.release is None else releasing(terms.release)
        id = TransactionId(self._process.name, self._box.incarnation, "")
        made: LoopTransaction[T] = LoopTransaction(id, path, self._now() + terms.timeout, self._now)
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

        return AsyncStream(Batch.of(answer), pull, partial(self._tell_cancel, address))


class LoopTransaction(Transaction[T]):
    """One call of an asyncio process under way; await it."""

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
