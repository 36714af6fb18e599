"""The child tasks of one asyncio process.

Each is named, started here, and cancelled here when the process ends. It works for
that process, whoever had it started, and for no letter. A task
that raises is a bug of its process, which is told. One that does not end when
it is cancelled is left to the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from gateway.process.whereabouts import within


class ChildTasks:
    """Tasks that belong to one process, on its loop."""

    def __init__(self, owner: str, on_error: Callable[[BaseException], None]) -> None:
        self._owner = owner
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    def start(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        """Start ``work`` as the task ``name``; raise `ValueError` where that one runs."""
        if name in self._tasks:
            work.close()
            raise ValueError(f"{self._owner!r} runs a task {name!r} already")
        task = self._tasks[name] = self._loop.create_task(
            work, name=f"{self._owner}/{name}", context=within(self._owner)
        )
        task.add_done_callback(partial(self._ended, name))

    def alive(self) -> list[str]:
        """Return the names of the tasks that run."""
        return list(self._tasks)

    async def end(self, seconds: float) -> None:
        """Cancel them all and wait ``seconds`` for them."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    def _ended(self, name: str, task: asyncio.Task[Any]) -> None:
        del self._tasks[name]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._on_error(error)
