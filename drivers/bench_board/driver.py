"""The driver of the bench board, firmware 1, at 115200 baud.

The words are those of `drivers.bench_board.protocol`; here is what they are
for. A request that reached the board damaged is sent once more, since every
request of this board may be repeated without harm. Refused, by the board and
passed on in its words: arguments out of range. Refused at the handshake: a
board of another model.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from drivers.bench_board import protocol
from drivers.bench_board.analogue import Analogue
from gateway.device import Driver, DriverHost, Heartbeat, Identity, Unit, command
from gateway.errors import ProtocolError, RefusedError
from gateway.framing import CheckedLine

log = logging.getLogger(__name__)

Hertz = Annotated[int, Unit("Hz"), msgspec.Meta(ge=0, le=protocol.MAX_HZ)]
Fault = Literal["none", "hang", "silence", "corrupt", "report"]

Seconds = Annotated[float, Unit("s"), msgspec.Meta(gt=0, le=60)]

ANSWER_SECONDS = 0.5
"""A hundred times what the longest answer takes; past it the board is not busy but gone."""


class BenchBoardSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``stream_hz``: readings a second that the board is told to send, 0 to 200.

    ``answer_within``: seconds after which a request is given up, 60 at the most. A board
    that is emulated on a busy machine may need more than a real one.
    """

    stream_hz: Hertz = 10
    answer_within: Seconds = ANSWER_SECONDS


class BenchBoard(Driver):
    """The bench board: an LED, and an analogue input that it streams.

    Publishes ``analogue``, a reading of 0 to 5 V, at the rate that is set.
    """

    framing = CheckedLine(limit=128)
    heartbeat: ClassVar[Heartbeat | None] = Heartbeat(ping=protocol.PING, every=1.0, patience=3.0)
    publications: ClassVar[Mapping[str, type]] = {"analogue": Analogue}
    simulator: ClassVar[str] = "drivers.bench_board.simulator:SimulatedBoard"
    # The Arduino Uno that its firmware is for.
    looks_like: ClassVar[Sequence[Mapping[str, str]]] = (
        {"@idVendor": "2341", "@idProduct": "0043"},
    )
    Settings: ClassVar[type[msgspec.Struct]] = BenchBoardSettings

    def __init__(
        self,
        name: str,
        host: DriverHost,
        settings: Mapping[str, Any] | msgspec.Struct | None = None,
    ) -> None:
        super().__init__(name, host, settings)
        self._stream_hz: int = self.settings.stream_hz
        self._tag = 0

    def handshake(self) -> Identity:
        """Ask who is there and set the stream's rate; `RefusedError` for another model."""
        model, firmware, serial_number = protocol.parse_identity(self._request(protocol.IDENTIFY))
        if model != protocol.MODEL:
            raise RefusedError(f"this is a {model}, and the driver is for a {protocol.MODEL}")
        self._request(protocol.set_stream(self._stream_hz))
        return Identity(firmware=firmware, model=model, serial_number=serial_number)

    def received(self, frame: bytes) -> None:
        """Publish a reading, report a fault, get over a restart."""
        letter = frame[:1]
        if letter == protocol.READING:
            self.publish("analogue", Analogue.of(protocol.parse_reading(frame[1:])))
        elif letter == protocol.FAULT:
            code, text = protocol.parse_fault(frame)
            self.fault(f"{text} (fault {code})")
        elif letter == protocol.BOOTED:
            # It restarted behind an open port, and has forgotten its rate. It
            # also says so when the opening of the port was what restarted it.
            log.info("%s has restarted; its stream is set to %d Hz", self.name, self._stream_hz)
            self.write(protocol.set_stream(self._stream_hz))
        else:
            # An answer that came too late, or the refusal of one that did.
            log.debug("%s said %r, and nothing was asked", self.name, frame)

    def answers(self, request: bytes, frame: bytes) -> bool:
        """Say whether ``frame`` answers ``request``, as the protocol has it."""
        return protocol.is_answer(request, frame)

    @command
    def led(self, on: bool) -> bool:
        """Light the LED, or put it out; returns what it is now."""
        self._request(protocol.set_led(on))
        return on

    @command
    def stream(self, hz: Hertz) -> Hertz:
        """Set how many readings a second the board sends, until the next connection."""
        self._request(protocol.set_stream(hz))
        self._stream_hz = hz
        return hz

    @command
    def read_analogue(self) -> Annotated[float, Unit("V")]:
        """Read the analogue input once, now."""
        self._tag = (self._tag + 1) % 1000
        reading = protocol.parse_reading(self._request(protocol.read_analogue(self._tag)))
        return protocol.volts(reading.raw)

    @command
    def counters(self) -> dict[str, int]:
        """Tell what the board has counted since its reset; each count wraps at 65536."""
        counters = protocol.parse_counters(self._request(protocol.COUNTERS))
        return counters._asdict()

    @command
    def inject_fault(
        self, kind: Fault, number: Annotated[int, Unit("1"), msgspec.Meta(ge=0, le=255)] = 1
    ) -> None:
        """Switch on a fault, to see what others make of it.

        ``none`` ends silence and corruption. ``hang`` lasts until the board
        loses power. ``silence`` listens and says nothing. ``corrupt`` spoils
        the checksum of every ``number``-th line. ``report`` has the board
        report the device fault ``number``, 1 to 3.
        """
        self._request(fault_request(kind, number))

    def _request(self, request: bytes) -> bytes:
        """Send ``request`` and return what its answer says; once more where it was damaged."""
        within = self.settings.answer_within
        try:
            return protocol.result(request, self.ask(request, timeout=within))
        except ProtocolError as error:
            log.info("%s: %s; sent once more", self.name, error)
            return protocol.result(request, self.ask(request, timeout=within))


def fault_request(kind: Fault, number: int) -> bytes:
    """Return the request that switches the fault ``kind``; `RefusedError` for a wrong number."""
    try:
        match kind:
            case "none":
                return protocol.FAULTS_OFF
            case "hang":
                return protocol.HANG
            case "silence":
                return protocol.SILENCE
            case "corrupt":
                return protocol.corrupt_every(number)
            case "report":
                return protocol.report_fault(number)
    except ValueError as error:
        raise RefusedError(str(error)) from error
