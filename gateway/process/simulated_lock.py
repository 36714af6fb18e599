"""A lock for which the threads of a simulation wait in virtual time, first come first served.

Who waits hands on the baton, so that the others go on and time passes. A thread
that holds it may take it again.

Refused: threads that are not in the baton (`SimulationError`), giving back what
another one holds (`RuntimeError`).
"""

from __future__ import annotations

from _thread import get_ident
from collections import deque
from math import inf

from gateway.bus.baton import Baton, Driver, Strand


class SimulatedLock:
    """Free from the start."""

    __slots__ = ("_baton", "_depth", "_holder", "_waiting")

    def __init__(self, baton: Baton) -> None:
        self._baton = baton
        self._holder: Strand | Driver | None = None
        self._depth = 0
        self._waiting: deque[Strand] = deque()

    def acquire(self, *, timeout: float) -> bool:
        """Hold it; False where another one still does after ``timeout`` virtual seconds."""
        baton = self._baton
        baton.check("take a lock")
        if self._holder is not None and self._holder is not baton.holder:
            return self._wait(timeout)
        self._holder = baton.holder
        self._depth += 1
        return True

    def _wait(self, timeout: float) -> bool:
        baton = self._baton
        me = baton.me("wait for a lock")
        deadline = baton.after(timeout) if timeout < inf else inf
        if deadline <= baton.clock.now:
            # Who tries again and again without ever waiting is found out.
            baton.count()
        self._waiting.append(me)
        try:
            while self._holder is not me and deadline > baton.clock.now:
                baton.wait(deadline)
        except BaseException:
            if self._holder is me:
                self.release()
            raise
        finally:
            if me in self._waiting:
                self._waiting.remove(me)
        return self._holder is me

    def release(self) -> None:
        """Give it back; once it was given back as often as taken it is whose turn comes next."""
        if self._holder is None or self._holder.number != get_ident():
            raise RuntimeError("the lock is not this thread's to give back")
        self._depth -= 1
        if self._depth:
            return
        self._holder = None
        if self._waiting:
            # Handed over here: nobody gets in between who comes later.
            self._holder, self._depth = self._waiting.popleft(), 1
            self._baton.wake(self._holder)
