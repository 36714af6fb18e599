"""A USB driver that keeps its contract, its board, and the contract: for tests that break it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from gateway.clock import Clock
from gateway.device import Identity, Unit, command
from gateway.device.driver import Driver
from gateway.device.simulated_usb import Setup
from gateway.device.usb import IN, Endpoint, UsbDriver, UsbIdentity, UsbInterface
from gateway.errors import ProtocolError
from gateway.framing import Raw
from gateway.testing.driver_contract import DriverContract

RANGE = 1
LEVEL = 2


class Meter(UsbDriver):
    """A meter that tells what it reads in two packets: how many digits, and those, two or more."""

    framing = Raw(limit=64)
    interface = UsbInterface(number=0, read=Endpoint())
    publications: ClassVar[Mapping[str, Any]] = {"reading": Annotated[int, Unit("mV")]}
    expected = 0

    def handshake(self) -> Identity:
        """Say what the descriptors say, and choose a range."""
        identity = super().handshake()
        self.control_out(RANGE, b"\x05")
        return identity

    def received(self, frame: bytes) -> None:
        """Publish a reading once its digits are there."""
        if len(frame) == 1:
            self.expected = frame[0]
            return
        expected, self.expected = self.expected, 0
        if len(frame) != expected or not frame.isdigit():
            raise ProtocolError(f"{frame!r} are no {expected} digits")
        self.publish("reading", int(frame[:18]))

    @command
    def level(self) -> Annotated[int, Unit("%")]:
        """Ask how full the battery is."""
        answer = self.control_in(LEVEL, 1)
        if len(answer) != 1:
            raise ProtocolError(f"{answer!r} is no level")
        return answer[0]


class MeterBoard:
    """The meter itself: a reading a second."""

    identity = UsbIdentity(0x1209, 0x0003, "1.00", name="meter", serial_number="M-1")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        self.range = b""
        self.asked: list[Setup] = []
        self._due = [b"\x03", b"230"]
        self.wake: float | None = self._clock.monotonic() + 1.0

    def receive(self, data: bytes) -> bytes:
        return b""

    def poll(self) -> bytes:
        assert self.wake is not None
        if self._clock.monotonic() < self.wake:
            return b""
        said, *self._due = self._due
        if not self._due:
            self._due = [b"\x03", b"230"]
            self.wake += 1.0
        return said

    def control(self, setup: Setup, data: bytes) -> bytes | None:
        self.asked.append(setup)
        if setup.request == RANGE:
            self.range = data
            return b""
        return b"\x63" if setup.request == LEVEL and setup.type & IN else None


class MeterContract(DriverContract):
    """The contract of the meter; a test puts a worse driver in."""

    driver: ClassVar[type[Driver]] = Meter
    packets = True
    gathers = True

    def make_board(self, clock: Clock) -> MeterBoard:
        return MeterBoard(clock)
