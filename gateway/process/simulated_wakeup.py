"""A wake-up whose sleepers hand on the baton; it has no descriptor."""

from __future__ import annotations

from math import inf

from gateway.bus.baton import Baton, Strand
from gateway.process.wakeup import Wakeup


class SimulatedWakeup(Wakeup):
    """Set once; from then on every `wait` returns at once."""

    def __init__(self, baton: Baton) -> None:
        # Not the real one's beginning: that opens a descriptor.
        self.is_set = False
        self._baton = baton
        self._sleepers: list[Strand] = []

    def set(self) -> None:
        """Wake everybody who waits, now and later."""
        if self.is_set:
            return
        self._baton.check("wake anybody")
        self.is_set = True
        for strand in self._sleepers:
            self._baton.wake(strand)

    def wait(self, timeout: float) -> bool:
        """Sleep for ``timeout`` virtual seconds, or until it is set; tell whether it is."""
        baton = self._baton
        if self.is_set:
            return True
        deadline = baton.after(timeout) if timeout < inf else inf
        if deadline <= baton.clock.now:
            baton.count()
        while not self.is_set and deadline > baton.clock.now:
            me = baton.me("sleep")
            self._sleepers.append(me)
            try:
                baton.wait(deadline)
            finally:
                self._sleepers.remove(me)
        return self.is_set

    def __del__(self) -> None:
        """Leave nothing behind: there is no descriptor."""

    def close(self) -> None:
        """Wake everybody who still waits."""
        if not self._baton.over:
            self.set()
