"""The child threads of one process.

Each is named, started here, watched and joined here. A child thread that
raises is a bug of its process: the error is kept, the process is woken, and
dies of it. Threads cannot be killed: one that does not end in time is left
behind, counted, and ends with its OS process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from time import monotonic

from gateway.process.whereabouts import enter


class ChildThreads:
    """Threads that belong to one process. Thread-safe."""

    def __init__(
        self,
        owner: str,
        on_error: Callable[[BaseException], None],
        *,
        monotonic: Callable[[], float] = monotonic,
        make_thread: Callable[..., threading.Thread] = threading.Thread,
    ) -> None:
        self._monotonic = monotonic
        self._make_thread = make_thread
        self._owner = owner
        self._on_error = on_error
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()

    def start(self, name: str, target: Callable[[], object]) -> threading.Thread:
        """Start ``target`` as the thread ``name``; raise `ValueError` where that one runs."""
        with self._lock:
            if self._is_taken(name):
                raise ValueError(f"{self._owner!r} runs a thread {name!r} already")
            return self._begin(name, target)

    def start_another(self, name: str, target: Callable[[], object]) -> threading.Thread:
        """Start ``target`` as ``name-1``, or with the next number that nobody has."""
        with self._lock:
            numbered = (f"{name}-{number}" for number in count(1))
            free = next(each for each in numbered if not self._is_taken(each))
            return self._begin(free, target)

    def _is_taken(self, name: str) -> bool:
        known = self._threads.get(name)
        return known is not None and known.is_alive()

    def _begin(self, name: str, target: Callable[[], object]) -> threading.Thread:
        thread = self._make_thread(
            target=self._run, args=(target,), name=f"{self._owner}/{name}", daemon=True
        )
        # Within the lock: until it runs its name would be free for somebody else.
        thread.start()
        self._threads[name] = thread
        return thread

    def alive(self) -> list[str]:
        """Return the names of the threads that run."""
        with self._lock:
            return [name for name, thread in self._threads.items() if thread.is_alive()]

    def clear_ended(self) -> int:
        """Forget the threads that have ended; return how many."""
        with self._lock:
            ended = [name for name, thread in self._threads.items() if not thread.is_alive()]
            for name in ended:
                del self._threads[name]
        return len(ended)

    def remove(self, *names: str) -> list[str]:
        """Forget the threads ``names`` that have ended; return which those were."""
        with self._lock:
            known = {name: self._threads.get(name) for name in names}
            ended = [name for name, thread in known.items() if thread and not thread.is_alive()]
            for name in ended:
                del self._threads[name]
        return ended

    def join(self, timeout: float) -> list[str]:
        """Wait ``timeout`` seconds in all; return the names of those that still run."""
        deadline = self._monotonic() + timeout
        with self._lock:
            threads = dict(self._threads)
        for thread in threads.values():
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - self._monotonic()))
        return [name for name, thread in threads.items() if thread.is_alive()]

    def _run(self, target: Callable[[], object]) -> None:
        enter(self._owner)
        try:
            target()
        except BaseException as error:  # noqa: BLE001 - handed to the process, which dies of it
            self._on_error(error)
