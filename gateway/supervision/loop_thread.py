"""One event loop on one thread, for the lives that share it.

It begins with the first life and ends with the application. A coroutine that
never yields blocks the loop and everybody on it, and cannot be ended: the
thread is left behind then, and the log shows where it stands.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

log = logging.getLogger(__name__)

GRACE = 1.0
"""Seconds that tasks which nobody owns have to end, once the loop is to end."""


class LoopThread:
    """A loop that is started when it is first wanted. Thread-safe."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ended = False

    def start(self, name: str, begin: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``begin()`` as the task ``name`` on the loop.

        Raises `OSError` or `RuntimeError` where this machine has no descriptor
        or no thread left for it.
        """
        with self._lock:
            loop = self._loop or self._begin()
        keep: set[asyncio.Task[None]] = set()

        def create() -> None:
            # A loop knows its tasks only weakly.
            task = loop.create_task(begin(), name=name)
            keep.add(task)
            task.add_done_callback(keep.discard)

        loop.call_soon_threadsafe(create)

    def _begin(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._run, args=(loop,), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # No thread is left on this machine; whoever comes next tries again.
            loop.close()
            raise
        self._loop, self._thread = loop, thread
        return loop

    def call(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` on the loop's thread, soon; nothing happens where the loop is over."""
        with self._lock:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(callback)

    def stop(self, timeout: float) -> bool:
        """End the loop within ``timeout`` seconds; tell whether it has ended."""
        with self._lock:
            loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return True
        self._ended = True
        if thread.is_alive():
            loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout)
        if thread.is_alive():
            log.error("%s is blocked and left behind; it stands here:\n%s", self._name, _at(thread))
            return False
        return True

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        # Of our own, since that of asyncio cannot be left behind.
        executor = ThreadPoolExecutor(thread_name_prefix=self._name)
        loop.set_default_executor(executor)
        try:
            while not self._ended:
                try:
                    loop.run_forever()
                except (SystemExit, KeyboardInterrupt):
                    # asyncio lets these out of whatever task raised them; the others go on.
                    log.exception("a task on %s wanted to end it all", self._name)
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=GRACE))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
            with self._lock:
                loop.close()


def _at(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else "nowhere"
