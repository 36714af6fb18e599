"""The wire between a simulated board and its port, with everything that befalls wires.

A `BoardWire` is an `Opener`: the links that it opens have no descriptor and
lead straight into a `gateway.device.simulated_port.Board`. It counts the bytes
that the board says from the moment it is plugged in, and at a byte of the
test's choice it loses or damages it, falls silent, or is pulled. What a host
reads at a time is the test's choice too. ``bursts`` keeps what was said.

Used by the one thread that reads the link, and by a test while that is parked.
Refused: nothing; a wire does what is done to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf

from gateway.clock import Clock
from gateway.device.link import Link
from gateway.device.simulated_port import Board
from gateway.errors import LinkAbsentError, LinkLostError

Damage = Callable[[bytes], bytes]
"""What becomes of one byte: it, another one, several, or none."""

_GRAIN = 0.001
"""Seconds until a board is asked again that says it is due and has nothing to say."""


class BoardWire:
    """One cable and the board at its end."""

    def __init__(self, board: Board, clock: Clock) -> None:
        """Lay the cable; `plug` it in."""
        self.board = board
        self.plugged = False
        self.mute = False
        """The board hangs: it hears nothing and says nothing."""
        self.pulled_at: float = inf
        """The cable is pulled before the byte of this number, once."""
        self.mute_at: float = inf
        """The board hangs before the byte of this number, once."""
        self.damage: tuple[int, Damage] | None = None
        """A byte's number, and what becomes of it."""
        self.slices: Iterator[int] | None = None
        """How many bytes each read brings at the most; None for all there are."""
        self.bursts: list[bytes] = []
        """What the board has said since it was plugged in, one entry for each time."""
        self.written: list[bytes] = []
        """What the host has written since then, one entry a write."""
        self.said = 0
        """Bytes that the board has said since then."""
        self.incoming = bytearray()
        """What lies in the port, unread."""
        self._clock = clock
        self._not_before = -inf

    def __call__(self) -> Link:
        """Open the port."""
        if not self.plugged:
            raise LinkAbsentError("nothing is plugged in")
        self.incoming.clear()
        return WiredLink(self)

    def plug(self) -> None:
        """Plug the board in: it starts anew."""
        self.said = 0
        self.bursts.clear()
        self.written.clear()
        self.incoming.clear()
        self.mute = False
        self.board.reset()
        self.plugged = True

    def pull(self) -> None:
        """Pull the cable; what lies in the port can still be read."""
        self.plugged = False

    @property
    def wake(self) -> float:
        """When the board has something to say next, in monotonic seconds."""
        wake = self.board.wake
        if wake is None or self.mute or not self.plugged:
            return inf
        return max(wake, self._not_before)

    def let_speak(self) -> None:
        """Let the board say what is due by now."""
        if self.wake <= self._clock.monotonic():
            said = self.board.poll()
            if not said:
                self._not_before = self._clock.monotonic() + _GRAIN
            self.say(said)

    def hear(self, data: bytes) -> None:
        """Give the board what the host has written."""
        self.written.append(data)
        if not self.mute:
            self.say(self.board.receive(data))

    def say(self, data: bytes) -> None:
        """Put ``data`` on the wire, as the board does, and let happen what is to."""
        if not data or self.mute or not self.plugged:
            return
        self.bursts.append(data)
        self.incoming += self.befall(data)

    def befall(self, data: bytes) -> bytes:
        """Count ``data``, which the board says; return what is left of it after what happens."""
        end = self.said + len(data)
        if self.pulled_at <= end:
            data = data[: max(0, int(self.pulled_at) - self.said)]
            self.pulled_at = inf
            self.plugged = False
        elif self.mute_at <= end:
            data = data[: max(0, int(self.mute_at) - self.said)]
            self.mute_at = inf
            self.mute = True
        if self.damage is not None and self.said <= self.damage[0] < self.said + len(data):
            at = self.damage[0] - self.said
            data = data[:at] + self.damage[1](data[at : at + 1]) + data[at + 1 :]
            self.damage = None
        self.said = end
        return data


class WiredLink(Link):
    """One opening of a `BoardWire`; it is dead once the cable was pulled."""

    def __init__(self, wire: BoardWire) -> None:
        self._wire = wire
        self._closed = False
        self._dead = False

    @property
    def readable(self) -> bool:
        """Whether a read brings something, were it only bad news."""
        return bool(self._wire.incoming) or not self._wire.plugged

    def fileno(self) -> int:
        """Return a number; nothing can be waited for on it."""
        return 0

    def read(self) -> bytes:
        """Return what has come, at most what the wire's slices allow."""
        self._check()
        incoming = self._wire.incoming
        if not incoming and not self._wire.plugged:
            raise self._pulled()
        count = len(incoming)
        if self._wire.slices is not None and incoming:
            count = next(self._wire.slices)
        data = bytes(incoming[:count])
        del incoming[:count]
        return data

    def write(self, data: bytes) -> None:
        """Give ``data`` to the board."""
        self._check()
        if not self._wire.plugged:
            raise self._pulled()
        self._wire.hear(data)

    def close(self) -> None:
        """Use it no more."""
        self._closed = True

    def _pulled(self) -> LinkLostError:
        self._dead = True
        return LinkLostError("the cable was pulled")

    def _check(self) -> None:
        if self._closed or self._dead:
            raise LinkLostError("the link is closed" if self._closed else "the cable was pulled")
