"""Where the calls to one asyncio process are answered: its handlers may be coroutines.

A coroutine is awaited before the next letter is handled, or, where its API has
workers, beside the mail, so many at a time. One that is taken back is cancelled.
What is no coroutine runs as in every mode, on threads where there are workers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from inspect import isasyncgen
from typing import Any

from gateway.errors import CallCancelledError, GatewayError
from gateway.mail.body import checked
from gateway.mail.message import Message
from gateway.process.aio_process import AsyncProcess
from gateway.process.process import Process
from gateway.rpc.api import Api
from gateway.rpc.call import doing
from gateway.rpc.desk import WAITING, Desk, Served
from gateway.rpc.failure import as_gateway_error
from gateway.rpc.handler import Handler
from gateway.rpc.streams import OpenStream
from gateway.rpc.task_pool import TaskPool


class AsyncDesk(Desk):
    """Answers the calls to one asyncio process."""

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        assert isinstance(process, AsyncProcess)
        self._asyncio = process
        self._pools: dict[str, TaskPool] = {}
        self._tasks: dict[str, asyncio.Future[Any]] = {}

    def serve(self, api: Api, at: str = "", *, workers: int = 0, waiting: int = WAITING) -> None:
        """Answer calls of what ``api`` has, under the path ``at``; see `Desk.serve`."""
        super().serve(api, at, workers=workers, waiting=waiting)
        if workers:
            self._pools[at] = TaskPool(self._asyncio, at or "call", workers, waiting)

    def _execute(
        self,
        served: Served | None,
        work: Callable[[Message], Any],
        message: Message,
        handlers: tuple[Handler, ...] = (),
    ) -> None:
        awaited = any(handler.is_coroutine for handler in handlers)
        # A coroutine is made on the loop; what awaits it keeps to the workers.
        super()._execute(None if awaited else served, work, message)

    def _await(self, result: Any, message: Message, served: Served | None) -> None:
        pool = self._pools.get(served.at) if served is not None else None
        if isasyncgen(result):
            self._begin_stream(LoopStream(self._asyncio, message, result, pool), message)
            return
        self._in_hand.begin(message)
        work = partial(self._answer_when_done, result, message)
        if pool is None:
            self._asyncio.await_later(message, work())
            return
        try:
            pool.run(work)
        except GatewayError:
            result.close()
            raise

    async def _answer_when_done(self, result: Any, message: Message) -> None:
        id = message.message_id
        self._in_hand.begin(message)
        before = doing.set((self, message))
        task = self._tasks[id] = asyncio.ensure_future(result)
        if self._in_hand.is_taken_back(message):
            task.cancel()
        try:
            answer = await task
        except asyncio.CancelledError:
            if not self._in_hand.is_taken_back(message):
                task.cancel()
                raise
            self._fail(message, CallCancelledError(f"{message.subject!r} was taken back"))
        except GatewayError as error:
            self._fail(message, error)
        except Exception as bug:  # noqa: BLE001 - it is the caller's affair
            self._fail(message, as_gateway_error(bug))
        else:
            self._answer(message, answer)
        finally:
            doing.reset(before)
            del self._tasks[id]
            self._in_hand.end(message)

    def _step(self, stream: OpenStream, most: int, message: Message) -> None:
        if not isinstance(stream, LoopStream):
            super()._step(stream, most, message)
        elif stream.pool is None:
            self._asyncio.await_later(message, self._step_later(stream, most, message))
        else:
            stream.pool.run(partial(self._step_later, stream, most, message))

    async def _step_later(self, stream: LoopStream, most: int, message: Message) -> None:
        told: dict[str, Any] = {}
        try:
            self._streams.begin_step(stream)
            try:
                told = await stream.batch_later(most, self._process._clock.monotonic)
            finally:
                self._streams.end_step(stream, told)
        except GatewayError as error:
            self._fail(message, error)
        else:
            self._tell(stream, told, message)

    def _soon(self, callback: Callable[[], None]) -> None:
        """Have ``callback()`` called on the loop."""
        self._asyncio.call_on_loop(callback)

    def _taken_back(self, id: str) -> None:
        super()._taken_back(id)
        task = self._tasks.get(id)
        if task is not None:
            # Control mail may be read on another thread than the loop's.
            self._asyncio.call_on_loop(task.cancel)


class LoopStream(OpenStream):
    """One asynchronous generator that is open."""

    def __init__(
        self, process: AsyncProcess, message: Message, generator: Any, pool: TaskPool | None
    ) -> None:
        # It is stepped on the loop, and not by the threads of its API.
        super().__init__(message, generator, served=None)
        self._process = process
        self.pool = pool

    async def batch_later(self, most: int, now: Callable[[], float]) -> dict[str, Any]:
        """Step the generator for up to ``most`` parts; return what is written of them."""
        told = self.begun()
        began = now()
        try:
            while self.wants_more(told, most, now() - began):
                told["parts"].append(checked(await anext(self.generator))[0])
        except StopAsyncIteration:
            told["more"] = False
        except Exception as bug:  # noqa: BLE001 - it is the caller's
            self.tell_of(bug, told)
        return self.ended(told)

    def shut(self) -> None:
        """Close the generator soon, on the loop."""
        self._process.call_on_loop(self._shut)

    def _shut(self) -> None:
        self._process.add_child_task(f"close {self.id}", self._close())

    async def _close(self) -> None:
        # What it raises then is nobody's; one that is being stepped is closed by who steps it.
        with contextlib.suppress(Exception):
            await self.generator.aclose()
