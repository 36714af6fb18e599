"""Boards that are not the one which the driver is for.

A port may have anything behind it: nothing that speaks, a loop-back plug, a
modem at another rate, or a board whose answers come one question too late.
Each is a `gateway.device.simulated_port.Board`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from gateway.clock import Clock
from gateway.device.simulated_port import Board

_NOISE = 64 * 1024
"""Bytes that the babbler says before it has had enough."""

_PORTION = 512


class Mute:
    """Takes everything and says nothing."""

    wake: float | None = None

    def reset(self) -> None:
        """Start anew."""

    def receive(self, data: bytes) -> bytes:
        """Say nothing to ``data``."""
        return b""

    def poll(self) -> bytes:
        """Say nothing."""
        return b""


class Echo(Mute):
    """A plug that leads back what is written."""

    def receive(self, data: bytes) -> bytes:
        """Say ``data`` back."""
        return data


class Babbler(Mute):
    """Says 64 kB of noise from the moment it has power, and more to all that is asked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Start anew, with the same noise."""
        self._random = Random(64)
        self._left = _NOISE
        self.wake = self._clock.monotonic()

    def receive(self, data: bytes) -> bytes:
        """Say something; it has nothing to do with ``data``."""
        return self._random.randbytes(_PORTION)

    def poll(self) -> bytes:
        """Say the next portion."""
        self._left -= _PORTION
        self.wake = self._clock.monotonic() + 0.01 if self._left > 0 else None
        return self._random.randbytes(_PORTION)


class OneLate:
    """The right board, but what it says to one write comes with the next: wrong answers."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._kept = b""

    @property
    def wake(self) -> float | None:
        """When the board has something to say by itself."""
        return self._board.wake

    def reset(self) -> None:
        """Start anew."""
        self._kept = b""
        self._board.reset()

    def receive(self, data: bytes) -> bytes:
        """Say what belongs to the last write."""
        said, self._kept = self._kept, self._board.receive(data)
        return said

    def poll(self) -> bytes:
        """Say what is due."""
        return self._board.poll()


def strangers(right: Callable[[Clock], Board]) -> dict[str, Callable[[Clock], Board]]:
    """Return every stranger by what it is called; ``right`` makes the board that is expected."""
    return {
        "a board that says nothing": lambda clock: Mute(),
        "a loop-back plug": lambda clock: Echo(),
        "64 kB of noise": Babbler,
        "a board that answers to the question before": lambda clock: OneLate(right(clock)),
    }
