"""The driver of an Arduino with StandardFirmata, protocol 2.2 or newer, at 57600 baud.

The board is asked what its pins can do; the declared ones are set up, and
reported from then on. A board that restarts behind an open port says so, and is
set up again, its outputs as they were.

Refused at the handshake: a declared pin that the board does not have, or that
cannot be what is declared. Refused as commands: names of other pins, and what
the named one cannot do.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from drivers.firmata import protocol
from drivers.firmata.framing import Messages
from drivers.firmata.layout import NAMES, PlacedPin, place
from drivers.firmata.protocol import Analog, Digital, Mode, Started, Text
from drivers.firmata.settings import FirmataPin, FirmataSettings
from gateway.device import Driver, DriverHost, Heartbeat, Identity, Unit, command
from gateway.errors import RefusedError
from gateway.framing import Framing

log = logging.getLogger(__name__)

Level = Annotated[float, Unit("1"), msgspec.Meta(ge=0, le=1)]
Degrees = Annotated[float, Unit("°"), msgspec.Meta(ge=0, le=180)]
PinValue = bool | float | None

_PING = protocol.query(protocol.PIN_STATE_QUERY, 0)
_PONG = protocol.answer(protocol.PIN_STATE, 0)


class Firmata(Driver):
    """An Arduino with StandardFirmata; its pins are declared in the configuration.

    Publishes each declared input, retained, as ``pins/<name>`` when it changes,
    and what the board says in words as ``message``.
    """

    framing: ClassVar[Framing] = Messages()
    heartbeat: ClassVar[Heartbeat | None] = Heartbeat(
        ping=_PING, pong=_PONG, every=2.0, patience=6.0
    )
    # An Uno restarts when its port is opened, and its bootloader takes two seconds.
    handshake_within: ClassVar[float] = 10.0
    publications: ClassVar[Mapping[str, Any]] = {"message": str}
    simulator: ClassVar[str] = "drivers.firmata.simulator:SimulatedArduino"
    Settings: ClassVar[type[msgspec.Struct]] = FirmataSettings

    @classmethod
    def configured(cls, settings: Mapping[str, Any] | msgspec.Struct | None = None) -> type[Driver]:
        """Return the class that publishes the declared pins."""
        typed: FirmataSettings = cls.typed(settings)
        heard = {f"pins/{name}": _body_of(pin) for name, pin in typed.pins.items() if pin.is_heard}
        return cls.variant(publications={**cls.publications, **heard})

    def __init__(
        self,
        name: str,
        host: DriverHost,
        settings: Mapping[str, Any] | msgspec.Struct | None = None,
    ) -> None:
        super().__init__(name, host, settings)
        self._pins: dict[str, PlacedPin] = {}
        self._capabilities: list[dict[int, int]] = []
        self._analog: dict[int, PlacedPin] = {}
        self._digital: dict[int, list[PlacedPin]] = {}
        self._values: dict[str, PinValue] = {}
        self._outputs: dict[int, int] = {}  # the levels of each port's output pins
        self._held: dict[int, int] = {}  # what PWM and servo pins are set to

    def handshake(self) -> Identity:
        """Ask who is there and what its pins can do; set up the declared ones."""
        who = protocol.firmware(self._query(protocol.FIRMWARE, protocol.FIRMWARE))
        able = self._query(protocol.CAPABILITY_QUERY, protocol.CAPABILITIES)
        channels = self._query(protocol.ANALOG_MAPPING_QUERY, protocol.ANALOG_MAPPING)
        self._capabilities = protocol.capabilities(able)
        self._pins = place(
            self.settings.pins, self._capabilities, protocol.analog_mapping(channels)
        )
        self._analog, self._digital = {}, {}
        for pin in self._pins.values():
            if pin.mode is Mode.ANALOG and pin.channel is not None:
                self._analog[pin.channel] = pin
            elif pin.declared.is_heard:
                self._digital.setdefault(pin.port, []).append(pin)
            if pin.declared.initial is not None:
                self._keep(pin, pin.declared.initial)
        self._set_up()
        return Identity(firmware=f"{who.major}.{who.minor}", model=who.name)

    def received(self, frame: bytes) -> None:
        """Publish what has changed; set a board up again that has restarted."""
        match protocol.parse(frame):
            case Digital(port, levels):
                for pin in self._digital.get(port, ()):
                    self._hear(pin, bool(levels & pin.mask))
            case Analog(channel, value):
                heard = self._analog.get(channel)
                if heard is not None:
                    self._hear_analog(heard, value)
            case Text(text):
                self.publish("message", text)
            case Started():
                log.info("%s has restarted; its pins are set up again", self.name)
                self._set_up()

    @command
    def set_pin(self, name: str, on: bool) -> None:
        """Set a pin that is declared as output."""
        self._hold(self._pin(name, Mode.OUTPUT), float(on))

    @command
    def set_level(self, name: str, level: Level) -> None:
        """Set a pin that is declared as PWM: 0 is off, 1 is full."""
        self._hold(self._pin(name, Mode.PWM), level)

    @command
    def set_angle(self, name: str, degrees: Degrees) -> None:
        """Turn the servo on a pin that is declared as one."""
        self._hold(self._pin(name, Mode.SERVO), degrees)

    @command
    def read_pin(self, name: str) -> bool | float | None:
        """Tell what an input was last heard to be; nothing where it was not heard yet."""
        return self._values.get(self._pin(name, Mode.INPUT, Mode.PULLUP, Mode.ANALOG).name)

    @command
    def describe_pins(self) -> dict[str, str]:
        """Tell what each pin of the board can be."""
        return {
            str(number): ", ".join(NAMES[mode] for mode in modes if mode in NAMES)
            for number, modes in enumerate(self._capabilities)
        }

    def _query(self, sub_command: int, answered_by: int) -> bytes:
        """Ask and return the data of the answer."""
        head = protocol.answer(answered_by)
        frame = self.ask(protocol.query(sub_command), answer=head)
        return frame[len(head) : -1]

    def _set_up(self) -> None:
        """Write all that makes the board's pins what they are declared to be."""
        for message in self._orders():
            self.write(message)

    def _orders(self) -> Iterator[bytes]:
        yield protocol.sampling_interval(self.settings.sampling)
        for pin in self._pins.values():
            yield protocol.set_pin_mode(pin.number, pin.mode)
        for port, levels in self._outputs.items():
            yield protocol.write_digital(port, levels | self._pull_ups(port))
        for number, value in self._held.items():
            yield protocol.write_analog(number, value)
        for port in self._digital:
            yield protocol.report_digital(port, True)
        for channel in self._analog:
            yield protocol.report_analog(channel, True)

    def _hold(self, pin: PlacedPin, value: float) -> None:
        """Set an output, PWM or servo, and remember it for a restart."""
        self._keep(pin, value)
        if pin.mode is Mode.OUTPUT:
            levels = self._outputs[pin.port] | self._pull_ups(pin.port)
            self.write(protocol.write_digital(pin.port, levels))
        else:
            self.write(protocol.write_analog(pin.number, self._held[pin.number]))

    def _keep(self, pin: PlacedPin, value: float) -> None:
        if pin.mode is Mode.OUTPUT:
            levels = self._outputs.get(pin.port, 0)
            self._outputs[pin.port] = levels | pin.mask if value else levels & ~pin.mask
        else:
            scale = pin.steps if pin.mode is Mode.PWM else 1
            self._held[pin.number] = round(value * scale)

    def _pull_ups(self, port: int) -> int:
        """Return the bits that keep the pull-ups of a port's inputs on.

        A level written to an input switches its pull-up, and all pins of a port
        are written together.
        """
        pins = self._digital.get(port, ())
        return sum(pin.mask for pin in pins if pin.mode is Mode.PULLUP)

    def _hear(self, pin: PlacedPin, value: bool | float) -> None:
        if self._values.get(pin.name) != value:
            self._values[pin.name] = value
            self.publish(f"pins/{pin.name}", value, retain=True)

    def _hear_analog(self, pin: PlacedPin, raw: int) -> None:
        value = round(min(raw, pin.steps) / pin.steps * pin.declared.full_scale, 6)
        before = self._values.get(pin.name)
        if before is None or abs(value - before) >= pin.declared.deadband:
            self._hear(pin, value)

    def _pin(self, name: str, *modes: Mode) -> PlacedPin:
        fitting = [each.name for each in self._pins.values() if each.mode in modes]
        pin = self._pins.get(name)
        if pin is not None and pin.mode in modes:
            return pin
        near = difflib.get_close_matches(name, fitting, n=1)
        known = (
            f"did you mean {near[0]!r}?" if near else f"there are {', '.join(fitting) or 'none'}"
        )
        wanted = " or ".join(NAMES[mode] for mode in modes)
        raise RefusedError(f"no pin {name!r} is declared as {wanted}; {known}")


def _body_of(pin: FirmataPin) -> Any:
    return Annotated[float, Unit(pin.unit)] if pin.mode == "analog" else bool
