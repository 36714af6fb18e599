"""Where the calls to one asyncio process are answered: its handlers may be coroutines.

A coroutine is awaited before the next letter is handled, or, where its API has
workers, beside the mail, so many at a time. One that is taken back is cancelled.
What is no coroutine runs as in every mode, on threads where there are workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from inspect import isasyncgen, iscoroutine
from typing import Any

from gateway.errors import CallCancelledError, GatewayError
from gateway.mail.message import Message
from gateway.process.aio_process import AsyncProcess
from gateway.process.process import Process
from gateway.process.whereabouts import handles_letters, tasks_for
from gateway.rpc.aio_stream_desk import AsyncStreamDesk, LoopStream, is_to_end
from gateway.rpc.api import Api
from gateway.rpc.call import doing
from gateway.rpc.catalogue import Served
from gateway.rpc.desk import WAITING, Desk
from gateway.rpc.failure import as_gateway_error
from gateway.rpc.handler import Handler
from gateway.rpc.stream_desk import StreamDesk
from gateway.rpc.task_pool import TaskPool


class AsyncDesk(Desk):
    """Answers the calls to one asyncio process."""

    def __init__(self, process: Process) -> None:
        assert isinstance(process, AsyncProcess)
        self._asyncio = process
        super().__init__(process)
        self._pools: dict[str, TaskPool] = {}
        self._tasks: dict[str, asyncio.Future[Any]] = {}
        self._unbegun: dict[str, Coroutine[Any, Any, Any]] = {}

    def _stream_desk(self) -> StreamDesk:
        process = self._asyncio
        return AsyncStreamDesk(process, self, self._in_hand, self._answers, self._execute)

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
        """Have ``result`` awaited on the loop; the call is in hand until it is answered."""
        if not self._asyncio.is_on_its_thread():
            # What is no coroutine runs on a worker's thread, and may return one.
            self._asyncio.call_on_loop(partial(self._await_there, result, message, served))
            return
        pool = self._pools.get(served.at) if served is not None else None
        if isasyncgen(result):
            self._streams.open(LoopStream(self._asyncio, message, result, pool))
            return
        if iscoroutine(result):
            self._unbegun[message.message_id] = result
        work = partial(self._answer_when_done, result, message)
        if pool is None:
            self._asyncio.await_later(message, work())
            return
        pool.run(work, partial(self._drop, result, message))

    def _await_there(self, result: Any, message: Message, served: Served | None) -> None:
        try:
            self._await(result, message, served)
        except GatewayError as error:
            self._drop(result, message, error)

    def _drop(self, result: Any, message: Message, error: GatewayError) -> None:
        """Say why ``result`` was not begun."""
        if iscoroutine(result):
            result.close()
        self._unbegun.pop(message.message_id, None)
        self._in_hand.end(message)
        self._answers.fail(message, error)

    async def _answer_when_done(self, result: Any, message: Message) -> None:
        self._unbegun.pop(message.message_id, None)
        try:
            self._in_hand.refuse_unwanted(message, self._asyncio._clock.monotonic())
        except GatewayError as error:
            self._drop(result, message, error)
            return
        id = message.message_id
        before = doing.set((self, message))
        task = self._tasks[id] = asyncio.ensure_future(_handled(result, message))
        if iscoroutine(result):
            # One that is taken back before its turn came has not begun.
            task.add_done_callback(lambda task: result.close())
        # Another thread may have read of that since.
        if self._in_hand.is_taken_back(message):
            task.cancel()
        try:
            answer = await task
        except asyncio.CancelledError as cancelled:
            if self._in_hand.is_taken_back(message):
                self._answers.fail(
                    message, CallCancelledError(f"{message.subject!r} was taken back")
                )
            elif is_to_end():
                task.cancel()
                raise
            else:
                # Something that the handler awaited was cancelled, and not the handler.
                self._answers.fail(message, as_gateway_error(cancelled))
        except GatewayError as error:
            self._answers.fail(message, error)
        except Exception as bug:  # noqa: BLE001 - it is the caller's affair
            self._answers.fail(message, as_gateway_error(bug))
        else:
            self._answers.give(message, answer)
        finally:
            doing.reset(before)
            del self._tasks[id]
            self._in_hand.end(message)

    def close(self) -> None:
        """End what is under way, and what waits for a task."""
        super().close()
        for pool in self._pools.values():
            pool.close()
        # Their tasks end before they have begun.
        for result in self._unbegun.values():
            result.close()
        self._unbegun.clear()

    def _taken_back(self, id: str) -> None:
        super()._taken_back(id)
        task = self._tasks.get(id)
        if task is not None:
            # Control mail may be read on another thread than the loop's.
            self._asyncio.call_on_loop(task.cancel)


@handles_letters
async def _handled(result: Awaitable[Any], message: Message) -> Any:
    """Return what a handler's coroutine does, on a task of its own."""
    # For good: the context is that of this task.
    tasks_for.set(message.thread_id)
    return await result
