"""What a process is to do on its own thread, between letters: soon, or at a time.

Any thread adds to it, also one that holds a lock of the bus; the process's own
takes out what is due. Pure but for its lock; time is handed in, in seconds on
the process's monotonic clock.

Refused: nothing; what a callback raises is its own business.
"""

from __future__ import annotations

import heapq
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable
from itertools import count

from gateway.timeout import MOST

Callback = Callable[[], object]


class Alarm:
    """One callback that is due at a time, until it is cancelled."""

    __slots__ = ("_agenda", "callback", "when")

    def __init__(self, agenda: Agenda, when: float, callback: Callback) -> None:
        self._agenda = agenda
        self.when = when
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Have it not called; after that it is fine to cancel it again."""
        if self.callback is not None:
            self.callback = None
            self._agenda.note_cancelled()


class Agenda:
    """Callbacks that wait for their process.

    >>> agenda = Agenda()
    >>> late, soon = agenda.add(5.0, print), agenda.add_soon(list)
    >>> agenda.left(now=4.0), agenda.take(now=4.0) is list, agenda.left(now=4.0)
    (0.0, True, 1.0)
    """

    __slots__ = ("_alarms", "_cancelled", "_lock", "_numbers", "_soon", "is_busy")

    def __init__(self) -> None:
        self.is_busy = False
        """Whether there may be anything at all; read by who has no time to ask more."""
        self._soon: deque[Callback] = deque()
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._numbers = count()
        self._cancelled = 0
        self._lock = allocate_lock()

    def add_soon(self, callback: Callback) -> None:
        """Have ``callback()`` called next; waits for no lock."""
        self._soon.append(callback)
        self.is_busy = True

    def add(self, when: float, callback: Callback) -> Alarm:
        """Have ``callback()`` called at ``when``."""
        alarm = Alarm(self, when, callback)
        with self._lock:
            heapq.heappush(self._alarms, (when, next(self._numbers), alarm))
            self.is_busy = True
        return alarm

    def take(self, now: float) -> Callback | None:
        """Take out what is due, the soonest first; None where nothing is."""
        if self._soon:
            return self._soon.popleft()
        with self._lock:
            self._sweep()
            if not self._alarms:
                # Whoever adds sets it again, after its callback is in.
                self.is_busy = False
                if self._soon:
                    self.is_busy = True
                    return self._soon.popleft()
                return None
            if self._alarms[0][0] > now:
                return None
            alarm = heapq.heappop(self._alarms)[2]
            callback, alarm.callback = alarm.callback, None
            return callback

    def left(self, now: float) -> float | None:
        """Return the seconds until something is due, None where nothing will be.

        No more than anybody can wait at once: then it is asked again.
        """
        if self._soon:
            return 0.0
        with self._lock:
            self._sweep()
            return min(MOST, max(0.0, self._alarms[0][0] - now)) if self._alarms else None

    def note_cancelled(self) -> None:
        """Count an alarm that nobody wants; where half are, they are thrown out."""
        with self._lock:
            self._cancelled += 1
            if self._cancelled > 64 and self._cancelled * 2 > len(self._alarms):
                self._alarms = [entry for entry in self._alarms if entry[2].callback is not None]
                heapq.heapify(self._alarms)
                self._cancelled = 0

    def __len__(self) -> int:
        with self._lock:
            wanted = sum(entry[2].callback is not None for entry in self._alarms)
            return wanted + len(self._soon)

    def most_due(self) -> int:
        """Return how many may be due at the most; unlike the length it is there at once."""
        return len(self._soon) + len(self._alarms)

    def _sweep(self) -> None:
        while self._alarms and self._alarms[0][2].callback is None:
            heapq.heappop(self._alarms)
            self._cancelled = max(0, self._cancelled - 1)
