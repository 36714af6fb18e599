"""Letters that find no room at their recipients, each recipient by itself.

What waits for one is written in the order in which it came, at every answer of that
recipient and now and then besides, ever more rarely where nothing moves. It counts
among its client's calls, which bounds it.

Refused: nothing here; whether the time of a letter is over, who writes it says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from gateway.errors import GatewayError
from routes.unix_socket.connection import Connection
from routes.unix_socket.protocol import Send

AGAIN_FIRST, AGAIN_CEILING = 0.002, 0.05
"""Seconds between two tries; each time twice as many."""


class Waiting(NamedTuple):
    """A letter that is to be written, and its deadline in monotonic seconds."""

    client: Connection
    request: Send
    deadline: float


class Held:
    """The letters that wait for room.

    ``write`` writes one, and says False where there is still none; what it raises is
    told to ``fail``. ``later`` has something called in so many seconds.
    """

    def __init__(
        self,
        write: Callable[[Waiting], bool],
        fail: Callable[[Waiting, GatewayError], None],
        later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        self._write = write
        self._fail = fail
        self._later = later
        self._queues: dict[str, deque[Waiting]] = {}

    def __contains__(self, to: str) -> bool:
        return to in self._queues

    def add(self, waits: Waiting) -> None:
        """Have a letter wait behind the others for its recipient."""
        to = waits.request.to
        queue = self._queues.get(to)
        if queue is None:
            queue = self._queues[to] = deque()
            self._try_later(to, queue, AGAIN_FIRST)
        queue.append(waits)
        waits.client.calls += 1

    def let_out(self, to: str) -> None:
        """Write what waits for ``to``, as far as there is room now."""
        queue = self._queues.get(to)
        while queue:
            waits = queue.popleft()
            waits.client.calls -= 1
            try:
                is_written = self._write(waits)
            except GatewayError as error:
                self._fail(waits, error)
                continue
            if not is_written:
                queue.appendleft(waits)
                waits.client.calls += 1
                return
        self._queues.pop(to, None)

    def take_out(self, wanted: Callable[[Waiting], bool]) -> list[Waiting]:
        """Take out, and return, what is ``wanted``: it is not to be written."""
        found = []
        for queue in self._queues.values():
            for waits in [each for each in queue if wanted(each)]:
                queue.remove(waits)
                waits.client.calls -= 1
                found.append(waits)
        return found

    def _try_later(self, to: str, queue: deque[Waiting], pause: float) -> None:
        self._later(pause, partial(self._try_again, to, queue, pause))

    def _try_again(self, to: str, queue: deque[Waiting], pause: float) -> None:
        if self._queues.get(to) is not queue:
            return
        before = len(queue)
        self.let_out(to)
        if self._queues.get(to) is queue:
            moved = len(queue) < before
            self._try_later(to, queue, AGAIN_FIRST if moved else min(2 * pause, AGAIN_CEILING))
