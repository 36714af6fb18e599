"""A transaction whose answer is read by whoever asks for its result.

Asking on the process's own thread is fine: it reads the mail meanwhile. Of
several threads that ask one reads, and the next takes over should it give up.

Refused (`CallTimeoutError`): to ask on after one's own time, or that of the call.
"""

from __future__ import annotations

from _thread import LockType, allocate_lock
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from gateway.errors import CallTimeoutError
from gateway.rpc.transaction import Transaction, TransactionId

T = TypeVar("T")


class Attended(Transaction[T]):
    """One call under way; whoever makes it says how to read, and how it ends."""

    def __init__(
        self,
        id: TransactionId,
        path: str,
        deadline: float,
        now: Callable[[], float],
        make_lock: Callable[[], LockType] = allocate_lock,
    ) -> None:
        """Stand for a call as `Transaction` does; ``make_lock`` is for threads that wait."""
        super().__init__(id, path, deadline, now)
        self.combine: Callable[[Any], Any] | None = None
        """What makes one result of a stream, as soon as somebody asks for it."""
        self._attending = make_lock()

    @abstractmethod
    def _attend(self, timeout: float) -> None:
        """Wait, reading, until it has ended, or for ``timeout`` seconds."""

    @abstractmethod
    def finish(self) -> None:
        """End it if there is an answer, an error, or no time left."""

    def result(self, timeout: float | None = None) -> T:
        """Return the result as `Transaction.result` does, the parts of a stream joined."""
        super().result(timeout)
        if self.combine is not None:
            self._combine(self._until(timeout))
        # Read again: another thread may have joined them meanwhile.
        return super().result(timeout)

    def _combine(self, until: float) -> None:
        """Have the stream read by who asks first; who asks meanwhile waits ``until`` then."""
        if not self._attending.acquire(timeout=max(0.0, until - self._now())):
            raise CallTimeoutError(f"another thread still reads what {self.path!r} yields")
        try:
            if self.combine is not None:
                self._result = self.combine(self._result)
        except BaseException as error:
            # Half of it is read: whoever asks again is told the same.
            self._error = error
            raise
        finally:
            self.combine = None
            self._attending.release()

    def _wait(self, timeout: float | None) -> None:
        if self._is_done:
            return
        until = self._until(timeout)
        if self._attending.acquire(timeout=max(0.0, until - self._now())):
            try:
                if not self._is_done:
                    self._attend(max(0.0, until - self._now()))
            finally:
                self._attending.release()
        if not self._is_done and self._now() >= self.deadline:
            self.finish()
        if not self._is_done:
            raise CallTimeoutError(f"{self.path!r} has not been answered yet; its call goes on")

    def _until(self, timeout: float | None) -> float:
        return self.deadline if timeout is None else min(self.deadline, self._now() + timeout)
