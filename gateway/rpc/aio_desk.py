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
from gateway.mail.message import Message
from gateway.process.aio_process import AsyncProcess
from gateway.process.process import Process
from gateway.rpc.api import Api
from gateway.rpc.call import doing
from gateway.rpc.desk import WAITING, Desk, Served, Stepped
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
        if not self._asyncio.is_on_its_thread():
            # What is no coroutine runs on a worker's thread, and may return one.
            self._asyncio.call_on_loop(partial(self._await_there, result, message, served))
            return
        pool = self._pools.get(served.at) if served is not None else None
        if isasyncgen(result):
            self._begin_stream(LoopStream(self._asyncio, message, result, pool), message)
            return
        self._in_hand.begin(message)
        work = partial(self._answer_when_done, result, message)
        if pool is None:
            self._asyncio.await_later(message, work())
            return
        pool.run(work, partial(self._drop, result, message))

    def _await_there(self, result: Any, message: Message, served: Served | None) -> None:
        try:
            self._await(result, message, served)
        except GatewayError as error:
            self._fail(message, error)

    def _drop(self, result: Any, message: Message, error: GatewayError) -> None:
        """Say why the coroutine ``result``, or None, was not begun."""
        if result is not None:
            result.close()
        self._in_hand.end(message)
        self._fail(message, error)

    async def _answer_when_done(self, result: Any, message: Message) -> None:
        id = message.message_id
        self._in_hand.begin(message)
        before = doing.set((self, message))
        task = self._tasks[id] = asyncio.ensure_future(result)
        if self._in_hand.is_taken_back(message):
            task.cancel()
        try:
            answer = await task
        except asyncio.CancelledError as cancelled:
            if self._in_hand.is_taken_back(message):
                self._fail(message, CallCancelledError(f"{message.subject!r} was taken back"))
            elif _is_to_end():
                task.cancel()
                raise
            else:
                # Something that the handler awaited was cancelled, and not the handler.
                self._fail(message, as_gateway_error(cancelled))
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
            work = partial(self._step_later, stream, most, message)
            stream.pool.run(work, partial(self._drop, None, message))

    async def _step_later(self, stream: LoopStream, most: int, message: Message) -> None:
        told: dict[str, Any] = {}
        before = doing.set((Stepped(self, stream), message))
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
        finally:
            doing.reset(before)

    def close(self) -> None:
        """End what is under way, and what waits for a task."""
        super().close()
        for pool in self._pools.values():
            pool.close()

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
                self.add(await anext(self.generator), told)
        except StopAsyncIteration:
            told["more"] = False
        except asyncio.CancelledError as cancelled:
            if _is_to_end():
                raise
            self.tell_of(cancelled, told)
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


def _is_to_end() -> bool:
    """Whether the task that runs here was cancelled itself, and not what it awaited."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
