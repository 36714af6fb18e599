"""The ground under a driver whose board answers every question with nearly the right thing.

A checksum keeps damage from a driver; it does not keep from it a firmware that
is newer, older or wrong. Here each question reaches the driver's own simulated
board, and what it answers is spoilt behind the checksum, as long as the driver
still takes it for the answer. No thread, no link, no time that passes.

Refused: as by `gateway.testing.received_host`; a question to which the board
says nothing at once (`CallTimeoutError`); control transfers with a board that is not
on USB (`RefusedError`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from gateway.device.driver import Driver
from gateway.device.simulated_port import Board
from gateway.device.simulated_usb import UsbBoard
from gateway.device.usb import ControlLink
from gateway.errors import CallTimeoutError, RefusedError
from gateway.framing.frame import Frame
from gateway.testing.mutated import mutated_frames
from gateway.testing.nonsense_link import NonsenseLink
from gateway.testing.received_host import ReceivedHost

_TRIES = 8
"""Spoilt answers that are offered for one question, before the right one is given."""


class NonsenseHost(ReceivedHost):
    """A `DriverHost` in front of a board that means well."""

    def __init__(self, board: Board, random: Random) -> None:
        super().__init__()
        self._board = board
        self._random = random

    def ask(self, request: bytes, answers: Callable[[bytes], bool], timeout: float) -> bytes:
        """Answer with what is nearly right."""
        self.asked += 1
        right = [frame for frame in self._exchange(request) if answers(frame)]
        for frame in mutated_frames(self._random, right, _TRIES if right else 0):
            if answers(frame):
                return frame
        if right:
            return right[0]
        raise CallTimeoutError(f"no answer to {request[:40]!r} within {timeout:g} s")

    def ask_many(
        self,
        requests: Sequence[bytes],
        answers: Callable[[bytes, bytes], bool],
        timeout: float,
        in_flight: int,
    ) -> list[bytes]:
        """Answer each with what is nearly right."""
        return [self.ask(each, partial(answers, each), timeout) for each in requests]

    def write(self, payload: bytes) -> None:
        """Give it to the board; what that says to it is not heard."""
        super().write(payload)
        self._exchange(payload)

    def control_link(self) -> ControlLink:
        """Return a link over which control transfers are answered as badly."""
        if not isinstance(self._board, UsbBoard):
            raise RefusedError("this board has no control endpoint")
        return NonsenseLink(self._board, self._random)

    def _exchange(self, payload: bytes) -> list[bytes]:
        driver = self.driver
        assert isinstance(driver, Driver)
        decoder = driver.framing.decoder()
        expire = getattr(decoder, "expire", list)
        said = self._board.receive(driver.framing.encode(payload)) + self._board.poll()
        events = [*decoder.feed(said), *expire()]
        return [event.payload for event in events if isinstance(event, Frame)]
