"""Where the pulls of asynchronous generators are answered, on the loop of their process.

Refused: what `gateway.rpc.stream_desk` refuses.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from gateway.errors import GatewayError
from gateway.mail.message import Message
from gateway.process.aio_process import AsyncProcess
from gateway.process.whereabouts import handles_letters, tasks_for
from gateway.rpc.answers import Answers
from gateway.rpc.call import Desk, doing
from gateway.rpc.in_hand import InHand
from gateway.rpc.open_stream import OpenStream
from gateway.rpc.stream_desk import Execute, Stepped, StreamDesk
from gateway.rpc.task_pool import TaskPool


class AsyncStreamDesk(StreamDesk):
    """Opens, steps and closes the streams of one asyncio process."""

    def __init__(
        self,
        process: AsyncProcess,
        desk: Desk,
        in_hand: InHand,
        answers: Answers,
        execute: Execute,
    ) -> None:
        super().__init__(process, desk, in_hand, answers, execute)
        self._asyncio = process

    def _step(self, stream: OpenStream, most: int, message: Message) -> None:
        if not isinstance(stream, LoopStream):
            super()._step(stream, most, message)
            return
        # From here on, and as long as it waits, it can be taken back.
        self._in_hand.begin(message)
        work = partial(self._step_later, stream, most, message)
        if stream.pool is None:
            self._asyncio.await_later(message, work())
        else:
            stream.pool.run(work, partial(self._drop, stream, message))

    def _drop(self, stream: OpenStream, message: Message, error: GatewayError) -> None:
        """Say why ``stream`` was not stepped, and close it: nobody asks for more."""
        self._in_hand.end(message)
        self._answers.fail(message, error)
        self.close(stream.id, stream.owner)

    @handles_letters
    async def _step_later(self, stream: LoopStream, most: int, message: Message) -> None:
        try:
            self._in_hand.refuse_unwanted(message, self._process._clock.monotonic())
        except GatewayError as error:
            self._drop(stream, message, error)
            return
        told: dict[str, Any] = {}
        did = doing.set((Stepped(self._desk, stream), message))
        were_for = tasks_for.set(message.thread_id)
        try:
            self._streams.begin_step(stream)
            try:
                told = await stream.batch_later(most, self._process._clock.monotonic)
            finally:
                self._streams.end_step(stream, told)
        except GatewayError as error:
            self._answers.fail(message, error)
        else:
            self._tell(stream, told, message)
        finally:
            tasks_for.reset(were_for)
            doing.reset(did)
            self._in_hand.end(message)

    def _soon(self, callback: Callable[[], None]) -> None:
        """Have ``callback()`` called on the loop."""
        self._asyncio.call_on_loop(callback)


class LoopStream(OpenStream):
    """One asynchronous generator that is open."""

    def __init__(
        self, process: AsyncProcess, message: Message, generator: Any, pool: TaskPool | None
    ) -> None:
        # It is stepped on the loop, and not by the threads of its API.
        super().__init__(message, generator, served=None)
        self._process = process
        self.pool = pool
        self._is_shut = False

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
            if is_to_end():
                raise
            self.tell_of(cancelled, told)
        except Exception as bug:  # noqa: BLE001 - it is the caller's
            self.tell_of(bug, told)
        return self.ended(told)

    def shut(self) -> None:
        """Close the generator soon, on the loop. Twice is fine."""
        self._process.call_on_loop(self._shut)

    def _shut(self) -> None:
        # One that is closed while it is stepped is shut by who steps it, and by who gives it back.
        if self._is_shut:
            return
        self._is_shut = True
        self._process.add_child_task(f"close {self.id}", self._close())

    async def _close(self) -> None:
        # What it raises then is nobody's; one that is being stepped is closed by who steps it.
        with contextlib.suppress(Exception):
            await self.generator.aclose()


def is_to_end() -> bool:
    """Whether the task that runs here was cancelled itself, and not what it awaited."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
