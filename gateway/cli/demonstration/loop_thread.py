"""An asyncio loop on a thread of its own, for libraries that want one.

The rest of the gateway is not asyncio: it hands a coroutine in and gets a
future. Refused: a coroutine for a loop that does not run (`RuntimeError`).
What is left over when the thread is stopped is cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that the loop gets to come up, and to end."""


class LoopThread:
    """One loop; `start` and `stop` it once each."""

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave: asyncio.Event | None = None

    def start(self) -> None:
        """Start the thread and wait until its loop takes coroutines."""
        self._thread.start()
        if not self._ready.wait(PATIENCE):
            raise RuntimeError(f"the loop of {self._thread.name} did not start")

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run ``coroutine`` on the loop; from any thread."""
        if self._loop is None:
            coroutine.close()
            raise RuntimeError(f"the loop of {self._thread.name} does not run")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def stop(self, timeout: float = PATIENCE) -> bool:
        """Cancel what runs and end the thread; tell whether it ended within ``timeout`` s."""
        loop, self._loop = self._loop, None
        if loop is None or self._leave is None:
            return True
        loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        # What a library forgot to await concerns nobody but its authors.
        loop.set_exception_handler(lambda _, context: log.debug("asyncio: %s", context))
        self._leave = asyncio.Event()
        self._loop = loop
        self._ready.set()
        await self._leave.wait()
