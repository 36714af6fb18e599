"""The wire between a simulated USB device and its host: packets, and a control endpoint.

A `BoardWire` for a driver of a USB device. Each read brings one packet, whole, as
the board said it. Where the board is a `gateway.device.simulated_usb.UsbBoard`, the
link is a `ControlLink`; another board has no control endpoint, as a serial port has
none. Control transfers count among the bytes that the board says, so that the cable
is pulled and the board hangs in the middle of them as well; one without an answer
is acknowledged, which counts as one.

Refused, as by the usb route: what the board stalls (`RefusedError`), what a hung
board does not answer (`CallTimeoutError`, once the time has passed), and every
transfer after the cable was pulled (`LinkLostError`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.clock import Clock
from gateway.device.link import Link
from gateway.device.simulated_port import Board
from gateway.device.simulated_usb import Setup, UsbBoard
from gateway.device.usb import IN, ControlLink, ControlRequest, UsbIdentity
from gateway.errors import CallTimeoutError, RefusedError
from gateway.testing.board_wire import BoardWire, WiredLink

_ACKNOWLEDGED: Final = b"\0"


class UsbWire(BoardWire):
    """One USB cable and the board at its end."""

    def __init__(self, board: Board, clock: Clock, sleep: Callable[[float], None]) -> None:
        """Lay the cable; ``sleep`` lets time pass until a moment of ``clock``, or less."""
        super().__init__(board, clock)
        self._sleep = sleep
        self._sizes: deque[int] = deque()
        self.slices = iter(self._sizes.popleft, None)

    def __call__(self) -> Link:
        """Open the device."""
        link = super().__call__()
        self._sizes.clear()
        return WiredUsbLink(self, self.board) if isinstance(self.board, UsbBoard) else link

    def plug(self) -> None:
        """Plug the board in: it starts anew."""
        self._sizes.clear()
        super().plug()

    def say(self, data: bytes) -> None:
        """Put ``data`` on the wire as one packet."""
        before = len(self.incoming)
        super().say(data)
        if len(self.incoming) > before:
            self._sizes.append(len(self.incoming) - before)

    def wait(self, seconds: float) -> None:
        """Let ``seconds`` pass, as long as the cable is plugged in."""
        end = self._clock.monotonic() + seconds
        while self.plugged and self._clock.monotonic() < end:
            self._sleep(end)


class WiredUsbLink(WiredLink, ControlLink):
    """One opening of a `UsbWire`."""

    def __init__(self, wire: UsbWire, board: UsbBoard) -> None:
        super().__init__(wire)
        self._usb = wire
        self._board = board

    def control_in(self, request: ControlRequest, length: int, timeout: float) -> bytes:
        """Return what the board answers."""
        return self._transfer(request, IN, length, b"", timeout)

    def control_out(self, request: ControlRequest, data: bytes, timeout: float) -> None:
        """Tell the board."""
        self._transfer(request, 0, len(data), data, timeout)

    def identity(self) -> UsbIdentity:
        """Return what the descriptors say; a board that hangs has been read before."""
        self._check()
        if not self._usb.plugged:
            raise self._pulled()
        return self._board.identity

    def _transfer(
        self, request: ControlRequest, direction: int, length: int, data: bytes, timeout: float
    ) -> bytes:
        self._check()
        setup = Setup(
            request.type | direction, request.request, request.value, request.index or 0, length
        )
        answer, told, arrived = None, _ACKNOWLEDGED, b""
        if self._usb.plugged and not self._usb.mute:
            answer = self._board.control(setup, data)
            told = answer or _ACKNOWLEDGED
            arrived = self._usb.befall(told)
        if len(arrived) < len(told):
            if self._usb.mute:
                self._usb.wait(timeout)
            if not self._usb.plugged:
                raise self._pulled()
            if self._usb.mute:
                raise CallTimeoutError(f"no answer to the {request} within {timeout:g} s")
        if answer is None:
            raise RefusedError(f"the board refuses the {request}: it answered STALL")
        return arrived[:length] if answer else b""
