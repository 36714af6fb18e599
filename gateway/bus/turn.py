"""Locks on which the threads of a simulation sleep in virtual time."""

from __future__ import annotations

from math import inf

from gateway.bus.baton import Baton, Strand


class Turn:
    """A lock as a mailbox uses it, held from the start, on which a strand sleeps."""

    __slots__ = ("_baton", "_released", "_strand")

    def __init__(self, baton: Baton) -> None:
        self._baton = baton
        self._released = False
        self._strand: Strand | None = None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Sleep until it is released; tell whether it was within ``timeout`` seconds."""
        baton = self._baton
        deadline = inf if timeout < 0 else baton.after(timeout)
        while not self._released and deadline > baton.clock.now:
            self._strand = baton.me("wait")
            try:
                baton.wait(deadline)
            finally:
                self._strand = None
        was, self._released = self._released, False
        return was

    def release(self) -> None:
        """Wake who sleeps on it; raise `RuntimeError` where that was done already."""
        if self._released:
            raise RuntimeError("it was released already")
        self._released = True
        if self._strand is not None:
            self._baton.wake(self._strand)


class VirtualLock:
    """A lock that is free from the start, as threads take it in turns."""

    __slots__ = ("_baton", "_held", "_strands")

    def __init__(self, baton: Baton) -> None:
        self._baton = baton
        self._held = False
        self._strands: list[Strand] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Sleep until it is free, and take it; tell whether it was within ``timeout`` seconds."""
        baton = self._baton
        deadline = inf if timeout < 0 else baton.after(timeout)
        while self._held and blocking and deadline > baton.clock.now:
            me = baton.me("wait")
            self._strands.append(me)
            try:
                baton.wait(deadline)
            finally:
                self._strands.remove(me)
        if self._held:
            return False
        self._held = True
        return True

    def release(self) -> None:
        """Let the next one have it."""
        self._held = False
        if self._strands:
            self._baton.wake(self._strands[0])
