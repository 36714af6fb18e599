"""Calls that were sent to their devices and have no answer yet.

Pure and without a lock: whoever owns it brings both lock and time. Bounded in
number; every call has a deadline of its own, so that a device that never
answers costs its caller an error and us nothing. Refused by `add`: one call
too many.
"""

from __future__ import annotations

from routes.mqtt.commands import Call


class PendingCalls:
    """Calls by the thread id of the letter that carries them.

    >>> pending = PendingCalls(limit=100)
    >>> pending.next_deadline is None
    True
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"at least one call must be able to wait, not {limit}")
        self._limit = limit
        self._calls: dict[str, tuple[Call, float]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def is_full(self) -> bool:
        """Tell whether `add` would refuse."""
        return len(self._calls) >= self._limit

    @property
    def next_deadline(self) -> float | None:
        """The earliest deadline (monotonic seconds), or None."""
        return min((deadline for _, deadline in self._calls.values()), default=None)

    def add(self, thread_id: str, call: Call, deadline: float) -> bool:
        """Remember ``call`` until ``deadline`` (monotonic seconds); False where it is full."""
        if self.is_full:
            return False
        self._calls[thread_id] = (call, deadline)
        return True

    def take(self, thread_id: str) -> Call | None:
        """Return the call that an answer in ``thread_id`` belongs to, and forget it.

        None for an answer that came too late, or was never asked for.
        """
        call, _ = self._calls.pop(thread_id, (None, 0.0))
        return call

    def expire(self, now: float) -> list[Call]:
        """Forget and return the calls whose deadline has come, in the order of arrival."""
        late = [thread for thread, (_, deadline) in self._calls.items() if deadline <= now]
        return [self._calls.pop(thread)[0] for thread in late]

    def clear(self) -> list[Call]:
        """Forget and return all calls."""
        return self.expire(float("inf"))
