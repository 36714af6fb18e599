"""What goes wrong with a board, put between a simulated one and its wire.

It hangs: it hears nothing and says nothing, until its time is over, it is mended or
its power goes. The wire is noisy: bytes are changed on the way, either way. Its
clock drifts, or stands still and is stepped (`gateway.device.board_clock`). The
board itself is the driver's own and knows of none of this.

A `Board` in front of a `Board`: any thread may call it, and whoever changes something
has the port look again (`SimulatedPort.nudge`). Refused (`ValueError`): rates and times
that are none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf, isfinite
from random import Random
from threading import Lock
from typing import Any

from gateway.clock import Clock
from gateway.device.board_clock import BoardClock
from gateway.device.simulated_port import Board
from gateway.device.simulated_usb import Setup, UsbBoard
from gateway.device.usb import UsbIdentity

LONGEST_STEP = 3600.0
"""Seconds that one step may take a board ahead."""

MOST_SAID = 10_000
"""Times that a board may speak within one step; what is beyond is left out."""


class BoardFaults:
    """A board with its faults; see the module's head. What it does not know it asks the board."""

    def __init__(self, board: Board, clock: BoardClock, *, base: Clock, random: Random) -> None:
        """``clock`` is the one that ``board`` reads, ``base`` that of the wire."""
        self.clock = clock
        self.board = board
        self._base = base
        self._random = random
        self._lock = Lock()
        self._hangs_until = -inf
        self._noise = 0.0
        self._said: deque[bytes] = deque()
        self.garbled = 0
        """Bytes that the noise has changed."""
        self.unheard = 0
        """Bytes that came while it hung."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.board, name)

    # What goes wrong

    @property
    def is_hung(self) -> bool:
        """Whether it hears nothing."""
        return self._base.monotonic() < self._hangs_until

    @property
    def noise(self) -> float:
        """How many bytes of one are changed on the wire."""
        return self._noise

    def hang(self, seconds: float | None = None) -> None:
        """Hear and say nothing for ``seconds``, or until it is mended or loses its power."""
        if seconds is not None and not (isfinite(seconds) and seconds > 0):
            raise ValueError(f"it cannot hang for {seconds!r} s: give more than 0, or none")
        self._hangs_until = inf if seconds is None else self._base.monotonic() + seconds

    def make_noise(self, part: float) -> None:
        """Change each byte with the chance ``part``, 0 to 1, from now on."""
        if not 0 <= part <= 1:
            raise ValueError(f"noise of {part!r}: give the part of the bytes, 0 to 1")
        self._noise = part

    def mend(self) -> None:
        """Be well again."""
        self._hangs_until = -inf
        self._noise = 0.0
        self.clock.drift(0.0)

    def step(self, seconds: float) -> None:
        """Take the board ahead by ``seconds`` of its clock; what is due on the way is said."""
        if not 0 <= seconds <= LONGEST_STEP:
            raise ValueError(f"a step of {seconds!r} s: give 0 to {LONGEST_STEP:.0f}")
        with self._lock:
            end = self.clock.monotonic() + seconds
            for _ in range(MOST_SAID):
                wake = self.board.wake
                if wake is None or wake > end:
                    break
                self.clock.step(max(0.0, wake - self.clock.monotonic()))
                self._say(self.board.poll())
            self.clock.step(max(0.0, end - self.clock.monotonic()))

    # The board, as its wire sees it

    def reset(self) -> None:
        """Do what power off and on does, which mends what hangs."""
        with self._lock:
            self._hangs_until = -inf
            self._said.clear()
            self.board.reset()

    def receive(self, data: bytes) -> bytes:
        """Take what came over the wire; return what the board says to it."""
        with self._lock:
            if self.is_hung:
                self.unheard += len(data)
                return b""
            return self._garble(self.board.receive(self._garble(data)))

    def poll(self) -> bytes:
        """Return what is due by now without being asked."""
        with self._lock:
            if self.is_hung:
                return b""
            if self._said:
                return self._said.popleft()
            return self._garble(self.board.poll())

    @property
    def wake(self) -> float | None:
        """When `poll` has something next, on the base clock; None for never."""
        with self._lock:
            if self.is_hung:
                return None if self._hangs_until == inf else self._hangs_until
            if self._said:
                return self._base.monotonic()
            due = self.board.wake
            return None if due is None else self.clock.base_of(due)

    def _say(self, data: bytes) -> None:
        if data and not self.is_hung:
            self._said.append(self._garble(data))

    def _garble(self, data: bytes) -> bytes:
        if not self._noise or not data:
            return data
        found = bytearray(data)
        for place in range(len(found)):
            if self._random.random() < self._noise:
                # Always another byte.
                found[place] ^= self._random.randrange(1, 256)
                self.garbled += 1
        return bytes(found)


class UsbBoardFaults(BoardFaults):
    """A USB device with its faults; one that hangs stalls every request."""

    board: UsbBoard

    @property
    def identity(self) -> UsbIdentity:
        """What its descriptors say."""
        return self.board.identity

    def control(self, setup: Setup, data: bytes) -> bytes | None:
        """Obey a control request; None for a STALL."""
        with self._lock:
            return None if self.is_hung else self.board.control(setup, data)


def with_faults(
    make_board: Callable[..., Any], *, clock: Clock, random: Random, held: bool = False
) -> BoardFaults:
    """Return the board that ``make_board(clock=…)`` makes, of whichever kind, with its faults.

    Where its clock is ``held`` it only moves by `BoardFaults.step`.

    >>> from gateway.clock import VirtualClock
    >>> class Parrot:
    ...     wake = None
    ...     def __init__(self, clock): pass
    ...     def reset(self): pass
    ...     def receive(self, data): return data
    ...     def poll(self): return b""
    >>> parrot = with_faults(Parrot, clock=VirtualClock(), random=Random(1))
    >>> parrot.receive(b"hello")
    b'hello'
    >>> parrot.hang()
    >>> parrot.receive(b"hello"), parrot.unheard
    (b'', 5)
    """
    own = BoardClock(clock, held=held)
    board: Board = make_board(clock=own)
    kind = UsbBoardFaults if isinstance(board, UsbBoard) else BoardFaults
    return kind(board, own, base=clock, random=random)
