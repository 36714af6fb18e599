"""A USB device that answers control transfers with nearly the right thing.

What comes over the control endpoint passes no driver's framing: an answer may be
longer or shorter than it should be, a text may hold anything, and one in four
transfers is stalled or not answered at all. See `gateway.testing.nonsense_host`.

Refused: those, with `RefusedError` and `CallTimeoutError`.
"""

from __future__ import annotations

from random import Random
from typing import Final

import msgspec

from gateway.clock import VirtualClock
from gateway.device.simulated_usb import UsbBoard
from gateway.device.usb import ControlRequest, UsbIdentity
from gateway.errors import CallTimeoutError, RefusedError
from gateway.testing.mutated import mutated_frames
from gateway.testing.usb_wire import UsbWire, WiredUsbLink

_TEXTS: Final = ("release", "manufacturer", "name", "serial_number")


class NonsenseLink(WiredUsbLink):
    """A `ControlLink` to a board that means well."""

    def __init__(self, board: UsbBoard, random: Random) -> None:
        wire = UsbWire(board, VirtualClock(), lambda until: None)
        wire.plugged = True
        super().__init__(wire, board)
        self._random = random

    def control_in(self, request: ControlRequest, length: int, timeout: float) -> bytes:
        """Return what is nearly the board's answer."""
        self._trouble(request, timeout)
        return self._spoilt(super().control_in(request, length, timeout))[:length]

    def control_out(self, request: ControlRequest, data: bytes, timeout: float) -> None:
        """Tell the board, or not."""
        self._trouble(request, timeout)
        super().control_out(request, data, timeout)

    def identity(self) -> UsbIdentity:
        """Return what the descriptors nearly say."""
        right = super().identity()
        spoilt = {
            each: self._spoilt(getattr(right, each).encode()).decode("utf-8", "replace")
            for each in _TEXTS
        }
        numbers = {each: self._random.randrange(0x10000) for each in ("vendor", "product")}
        return msgspec.structs.replace(right, **spoilt, **numbers)

    def _spoilt(self, answer: bytes) -> bytes:
        # The first is noise, the second has something of the answer.
        return self._random.choice([*mutated_frames(self._random, [answer], 2)])

    def _trouble(self, request: ControlRequest, timeout: float) -> None:
        match self._random.randrange(8):
            case 0:
                raise RefusedError(f"the board refuses the {request}: it answered STALL")
            case 1:
                raise CallTimeoutError(f"no answer to the {request} within {timeout:g} s")
