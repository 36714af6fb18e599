"""A bench board that speaks at one rate: at any other it hears noise, and says noise.

A pty carries bytes at any rate, but it remembers the rate that was set.
"""

from __future__ import annotations

import os
import random
import termios
from typing import Any

from drivers.bench_board.board import Board
from drivers.bench_board.simulator import SimulatedBoard
from gateway.clock import RealClock


class RatedBoard:
    """A board behind a UART that is set to ``baud``; `SimulatedPort`'s kind of board."""

    def __init__(self, baud: int) -> None:
        self._board = Board(clock=RealClock())
        self._constant = getattr(termios, f"B{baud}")
        self._noise = random.Random(baud)
        self.terminal = -1
        """The far end of the wire; whoever plugs the board in sets it."""
        self.misheard = 0
        """Bytes that came at another rate."""
        self.rates: list[int] = []
        """The rates at which something came, each time that it changed (as termios has them)."""

    @property
    def wake(self) -> float | None:
        """When the board has something to say by itself."""
        return self._board.wake

    def reset(self) -> None:
        """Do what power off and on does."""
        self._board.reset()

    def receive(self, data: bytes) -> bytes:
        """Take ``data``, or what becomes of it at the wrong rate."""
        rate = termios.tcgetattr(self.terminal)[4]
        if self.rates[-1:] != [rate]:
            self.rates.append(rate)
        if rate != self._constant:
            self.misheard += len(data)
            return self._garbled(data)
        return self._board.receive(data)

    def poll(self) -> bytes:
        """Return what is due, as it is heard at the rate that is set."""
        said = self._board.poll()
        if said and termios.tcgetattr(self.terminal)[4] != self._constant:
            return self._garbled(said)
        return said

    def _garbled(self, data: bytes) -> bytes:
        return self._noise.randbytes(len(data))


class SimulatedRatedBoard(SimulatedBoard):
    """A `RatedBoard` on a pty."""

    def __init__(self, link: str | os.PathLike[str], baud: int) -> None:
        self.rated = RatedBoard(baud)
        stand_in: Any = self.rated
        super().__init__(link, board=stand_in)

    def _appear(self, epoll: Any) -> None:
        # The banner is due as soon as it is there, and is looked at.
        self.rated.terminal = -1
        super()._appear(epoll)
        self.rated.terminal = self._master
