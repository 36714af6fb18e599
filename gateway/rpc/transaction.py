"""A call whose answer nobody waits for yet: a future.

It ends once: with a result, with the error that came instead, at its deadline,
where the other side dies, or when it is cancelled.

Refused: to be waited for without a deadline; every transaction has one.
"""

from __future__ import annotations

from _thread import allocate_lock
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from typing import Any, Generic, NamedTuple, TypeVar

from gateway.errors import CallCancelledError

T = TypeVar("T")


class TransactionId(NamedTuple):
    """Who started a call, in which of its lives, and the id of the letter.

    >>> print(TransactionId("main", 2, "5f-17"))
    main.2/5f-17
    """

    caller: str
    incarnation: int
    letter: str

    def __str__(self) -> str:
        return f"{self.caller}.{self.incarnation}/{self.letter}"


class Transaction(ABC, Generic[T]):
    """One call under way; whoever makes it says how to wait and how to take it back."""

    def __init__(
        self, id: TransactionId, path: str, deadline: float, now: Callable[[], float]
    ) -> None:
        """Stand for the call ``id`` of ``path`` until ``deadline`` on the clock ``now``, in s."""
        self.id = id
        self.path = path
        self.deadline = deadline
        self._now = now
        self._lock = allocate_lock()
        self._is_done = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Transaction[T]], object]] = []

    # What each kind says

    @abstractmethod
    def _wait(self, timeout: float | None) -> None:
        """Return once it has ended; raise `CallTimeoutError` after ``timeout`` s, None for all."""

    @abstractmethod
    def _take_back(self) -> None:
        """Tell the other side that no answer is wanted."""

    def _call_back(self, callback: Callable[[Transaction[T]], object]) -> None:
        """Have ``callback(self)`` called where this kind calls back."""
        callback(self)

    # What everybody reads

    def done(self) -> bool:
        """Whether it has ended."""
        return self._is_done

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return isinstance(self._error, CallCancelledError)

    def result(self, timeout: float | None = None) -> T:
        """Return the result, waiting until the deadline, or ``timeout`` seconds; or raise.

        Raises the error that came instead, `CallTimeoutError` where none came
        in time; after ``timeout`` the call itself goes on.
        """
        self._wait(timeout)
        if self._error is not None:
            raise self._error
        result: T = self._result
        return result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error that came instead of a result, None for none; waits as `result`."""
        self._wait(timeout)
        return self._error

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for it on the loop of an asyncio process; `RuntimeError` where it has none."""
        raise RuntimeError(f"{self.path!r} was not called by an asyncio process: use result()")

    def add_done_callback(self, callback: Callable[[Transaction[T]], object]) -> None:
        """Have ``callback(self)`` called when it has ended, on the process's own thread."""
        with self._lock:
            if not self._is_done:
                self._callbacks.append(callback)
                return
        self._call_back(callback)

    def cancel(self) -> bool:
        """End it now, here and over there; tell whether it had not ended yet."""
        if not self._end(None, CallCancelledError(f"{self.path!r} was cancelled")):
            return False
        self._take_back()
        return True

    def _end(self, result: Any, error: BaseException | None) -> bool:
        """End it, once; tell whether this was the end."""
        with self._lock:
            if self._is_done:
                return False
            self._result, self._error = result, error
            self._is_done = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            self._call_back(callback)
        return True

    def __repr__(self) -> str:
        how = "under way" if not self._is_done else repr(self._error) if self._error else "answered"
        return f"<{self.path} {self.id}: {how}>"


def releasing(target: Any) -> Callable[[Transaction[Any]], object]:
    """Return the callback that releases a semaphore, or sets an event.

    Raises `ValueError` for what can do neither.
    """
    found = getattr(target, "release", None) or getattr(target, "set", None)
    if not callable(found):
        raise ValueError(f"{target!r} has neither release() nor set()")
    freed: Callable[[], object] = found
    return lambda transaction: freed()
