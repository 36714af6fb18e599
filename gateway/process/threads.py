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


class Child:
    """One thread, under its name."""

    __slots__ = ("_is_done", "name", "thread")

    def __init__(self, name: str) -> None:
        self.name = name
        self.thread: threading.Thread | None = None
        self._is_done = False

    @property
    def runs(self) -> bool:
        """Whether it is at work; what is left of it then is nothing to wait for."""
        return not self._is_done and self.thread is not None and self.thread.is_alive()

    def has_done(self) -> None:
        """Note that it has done its work."""
        self._is_done = True


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
        self._children: dict[str, Child] = {}
        self._listeners: tuple[Callable[[], object], ...] = ()
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
        known = self._children.get(name)
        return known is not None and known.runs

    def _begin(self, name: str, target: Callable[[], object]) -> threading.Thread:
        child = Child(name)
        thread = child.thread = self._make_thread(
            target=self._run, args=(child, target), name=f"{self._owner}/{name}", daemon=True
        )
        # Within the lock: until it runs its name would be free for somebody else.
        thread.start()
        self._children[name] = child
        return thread

    def alive(self) -> list[str]:
        """Return the names of the threads that run."""
        return [child.name for child in self.children() if child.runs]

    def children(self) -> list[Child]:
        """Return those that are known, for who waits for them otherwise than by `join`."""
        with self._lock:
            return list(self._children.values())

    def clear_ended(self) -> int:
        """Forget the threads that have ended; return how many."""
        with self._lock:
            ended = [name for name, child in self._children.items() if not child.runs]
            for name in ended:
                del self._children[name]
        return len(ended)

    def remove(self, *names: str) -> list[str]:
        """Forget the threads ``names`` that have ended; return which those were."""
        with self._lock:
            known = {name: self._children.get(name) for name in names}
            ended = [name for name, child in known.items() if child and not child.runs]
            for name in ended:
                del self._children[name]
        return ended

    def on_end(self, listener: Callable[[], object]) -> None:
        """Have ``listener()`` called after the end of each thread, on that thread."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def forget(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` no more."""
        with self._lock:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

    def join(self, timeout: float) -> list[str]:
        """Wait ``timeout`` seconds in all; return the names of those that still run."""
        deadline = self._monotonic() + timeout
        children = self.children()
        for child in children:
            if child.thread is not None and child.thread is not threading.current_thread():
                child.thread.join(max(0.0, deadline - self._monotonic()))
        return [child.name for child in children if child.runs]

    def _run(self, child: Child, target: Callable[[], object]) -> None:
        enter(self._owner)
        try:
            target()
        except BaseException as error:  # noqa: BLE001 - handed to the process, which dies of it
            self._on_error(error)
        finally:
            child.has_done()
            for listener in self._listeners:
                listener()
