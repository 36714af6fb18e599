"""What an asyncio process gets from a call that would block a thread: something to await.

On the loop's thread it is awaited, on any other `Pending.result` waits for it::

    going_on = await self.light_sleep(0.5)

Refused by name, with a `RuntimeError`: to take it for the result itself
(``while self.light_sleep(1):``, ``for name in self.process_names():``),
`Pending.result` on the loop's thread, which would block everybody there, to
await it on a loop of another thread, and to have it twice. One that is dropped
without having been awaited is reported to its process, which dies of it:
nothing is skipped silently.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from threading import get_ident
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from gateway.process.whereabouts import within
from gateway.timeout import in_seconds

T = TypeVar("T")


class Home(NamedTuple):
    """Where the calls of one process are awaited."""

    owner: str
    loop: asyncio.AbstractEventLoop
    thread: int
    """The loop's."""
    on_dropped: Callable[[BaseException], None] | None
    """Is told of one that nobody awaited; None where that is fine."""


class Pending(Coroutine[Any, Any, T]):
    """A call that begins when it is awaited, or when its task has its first turn."""

    __slots__ = ("_begin", "_begun", "_home", "_name", "_taken")

    def __init__(self, name: str, begin: Callable[[], Coroutine[Any, Any, T]], home: Home) -> None:
        """Stand for ``begin()``, called ``name``, of the process at ``home``."""
        self._name = name
        self._begin = begin
        self._home = home
        self._taken = False
        self._begun: Coroutine[Any, Any, T] | None = None

    def __await__(self) -> Generator[Any, None, T]:
        """Begin it and wait, while the loop goes on."""
        if self._begun is None and get_ident() == self._home.thread:
            # What is usual, without a call more than it needs.
            self._taken = True
            begun = self._begun = self._begin()
            return begun.__await__()
        return self._begin_here().__await__()

    # As a coroutine: one that merely awaited it would never begin where its task is cancelled
    # before its first turn, and a Pending that nobody began is one that was dropped.

    def send(self, value: Any) -> Any:
        """Go on until it waits again, as a task has it do."""
        begun = self._begun
        return (self._begin_here() if begun is None else begun).send(value)

    def throw(self, *raised: Any) -> Any:
        """Raise in it what its task is to raise, as a cancellation."""
        return self._coroutine().throw(*raised)

    def close(self) -> None:
        """End it; one that was not begun never is."""
        self._coroutine().close()

    def _begin_here(self) -> Coroutine[Any, Any, T]:
        """Begin it, on its own loop and for the first time, or refuse to."""
        self._taken = True
        if get_ident() != self._home.thread:
            # Begun on another loop it would bind to that what all of its process share.
            self._refuse()
        return self._begin_once()

    def _begin_once(self) -> Coroutine[Any, Any, T]:
        if self._begun is not None:
            raise RuntimeError(
                f"{self._name} was begun already: write `{self._name}(...)` again for another one"
            )
        self._begun = self._begin()
        return self._begun

    def _coroutine(self) -> Coroutine[Any, Any, T]:
        self._taken = True
        if self._begun is None:
            self._begun = self._begin()
        return self._begun

    def result(self, timeout: float = 60.0) -> T:
        """Wait for it on another thread than the loop's, ``timeout`` seconds at the most.

        Raises `TimeoutError` then, as where the loop itself is stuck. With a ``timeout``
        that is refused it is not begun.
        """
        if get_ident() == self._home.thread:
            self._refuse()
        self._taken = True
        timeout = in_seconds(timeout)
        # Whoever asks: what it calls, and logs, is its process's.
        context = within(self._home.owner)
        begun = self._begin_once()
        future = context.run(asyncio.run_coroutine_threadsafe, begun, self._home.loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise

    def __bool__(self) -> bool:
        """Refuse to be taken for an answer; True where a task has it.

        To show a task, asyncio asks whether it still has a coroutine (from Python 3.13 on).
        """
        if self._begun is None and not self._has_a_task():
            self._refuse()
        return True

    def _has_a_task(self) -> bool:
        return any(task.get_coro() is self for task in asyncio.all_tasks(self._home.loop))

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith(("cr_", "gi_", "ag_")):
                # Of its task asyncio tells where it stands.
                return getattr(self._begun, name)
            if not name.startswith("__"):
                self._refuse()
            raise AttributeError(name)

        def __iter__(self) -> NoReturn:
            self._refuse()

        def __contains__(self, item: object) -> NoReturn:
            self._refuse()

        def __getitem__(self, key: object) -> NoReturn:
            self._refuse()

        def __len__(self) -> NoReturn:  # noqa: PLE0303 - it only ever raises
            self._refuse()

    def __del__(self) -> None:
        """Report that nobody awaited it."""
        if not self._taken and self._home.on_dropped is not None:
            self._home.on_dropped(RuntimeError(self._why()))

    def _refuse(self) -> NoReturn:
        self._taken = True
        raise RuntimeError(self._why())

    def _why(self) -> str:
        if get_ident() != self._home.thread:
            return (
                f"{self._name} waits for the loop that an asyncio process shares:"
                f" on another thread write `self.{self._name}(...).result()`"
            )
        return (
            f"{self._name} must not block the loop that an asyncio process shares:"
            f" write `await self.{self._name}(...)`"
        )
