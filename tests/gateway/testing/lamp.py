"""A driver that keeps its contract, its board, and the contract: for tests that break it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from gateway.clock import Clock
from gateway.device import Driver, Heartbeat, Identity, Unit, command
from gateway.errors import ProtocolError, RefusedError
from gateway.framing import Framing, Line
from gateway.testing.driver_contract import DriverContract

Percent = Annotated[int, Unit("%"), msgspec.Meta(ge=0, le=100)]


class LampSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``most``: what `Lamp.dim` takes at the most."""

    most: Percent = 100


class Lamp(Driver):
    """A lamp that can be dimmed, and says once a second how bright it is."""

    framing: ClassVar[Framing] = Line(limit=64)
    heartbeat: ClassVar[Heartbeat | None] = Heartbeat(ping=b"PING", every=1.0, patience=3.0)
    publications: ClassVar[Mapping[str, Any]] = {"brightness": Annotated[int, Unit("lx")]}
    Settings: ClassVar[type[msgspec.Struct]] = LampSettings

    def handshake(self) -> Identity:
        """Ask who is there."""
        words = self.ask(b"ID?", answer=b"ID ").decode("ascii", "replace").split()
        if words[1:2] != ["lamp"]:
            raise RefusedError(f"this is no lamp: {words}")
        return Identity(firmware=words[2] if words[2:] else "unknown", model="lamp")

    def received(self, frame: bytes) -> None:
        """Publish a reading."""
        kind, _, value = frame.partition(b" ")
        if kind == b"LUX":
            if not value.isdigit():
                raise ProtocolError(f"{frame!r} is no brightness")
            self.publish("brightness", int(value))

    @command
    def dim(self, percent: Percent) -> Percent:
        """Set how bright it is."""
        if percent > self.settings.most:
            raise RefusedError(f"this lamp takes {self.settings.most} % at the most")
        self.ask(b"DIM %d" % percent)
        return percent


class LampBoard:
    """The lamp itself."""

    def __init__(self, clock: Clock, model: bytes = b"lamp") -> None:
        self._clock = clock
        self._model = model
        self.reset()

    def reset(self) -> None:
        self.percent = 0
        self._line = b""
        self.wake: float | None = self._clock.monotonic() + 1.0

    def receive(self, data: bytes) -> bytes:
        *lines, self._line = (self._line + data).split(b"\n")
        return b"".join(map(self._answer, lines))

    def poll(self) -> bytes:
        assert self.wake is not None
        if self._clock.monotonic() < self.wake:
            return b""
        self.wake += 1.0
        return b"LUX %d\n" % (4 * self.percent)

    def _answer(self, request: bytes) -> bytes:
        word, _, value = request.partition(b" ")
        if word == b"ID?":
            return b"ID " + self._model + b" 1.0\n"
        if word == b"PING":
            return b"PING\n"
        if word == b"DIM" and value.isdigit():
            self.percent = int(value)
            return request + b"\n"
        return b""


class LampContract(DriverContract):
    """The contract of the lamp; a test puts a worse driver in."""

    driver: ClassVar[type[Driver]] = Lamp
    settings: ClassVar[Mapping[str, Any]] = {"most": 90}

    def make_board(self, clock: Clock) -> LampBoard:
        return LampBoard(clock)

    def make_stranger(self, clock: Clock) -> LampBoard:
        return LampBoard(clock, b"toaster")


class HoardingLamp(Lamp):
    """Never lets go of what it has heard."""

    heard: ClassVar[list[bytes]] = []

    def received(self, frame: bytes) -> None:
        """Keep the frame, and a good deal of air."""
        self.heard.append(frame.ljust(2000))


class HoardingLampContract(LampContract):
    """The contract of a lamp that a soak must complain of."""

    driver: ClassVar[type[Driver]] = HoardingLamp
