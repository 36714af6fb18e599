"""An Arduino Uno with StandardFirmata, in Python: bytes in, bytes out, the clock handed in.

It is written after the protocol and the sketch's behaviour and not upon the
driver's codec, so that each can show the other's mistakes. Pins 2 to 13 are
digital, some with PWM, A0 to A5 analogue; 0 and 1 are the serial line's. What is
wired to an input is the test's choice: `Arduino.levels` and `Arduino.volts`.

Left out: I2C, one-wire, steppers, and the time that a bootloader takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gateway.clock import Clock

INPUT, OUTPUT, ANALOG, PWM, SERVO, PULLUP = 0, 1, 2, 3, 4, 11
PINS = 20
FIRST_ANALOG = 14
_PWM_PINS = {3, 5, 6, 9, 10, 11}
_FULL_SCALE = 5.0
_LONGEST = 64
"""Bytes of the sketch's sysex buffer."""


def slow_wave(seconds: float) -> float:
    """Return volts that swing around 2.5 in 20 s: something to look at."""
    return 2.5 + 2.0 * math.sin(2 * math.pi * seconds / 20.0)


class Arduino:
    """One board. Reset it, and it says its version and name, as after power-up."""

    def __init__(
        self,
        *,
        clock: Clock,
        volts: Callable[[float], float] = slow_wave,
        name: str = "StandardFirmata.ino",
        version: tuple[int, int] = (2, 5),
    ) -> None:
        """``volts`` maps seconds since the reset to what all analogue inputs see."""
        self._clock = clock
        self._name, self._version = name, version
        self.volts = volts
        self.levels: dict[int, bool] = {}
        """What is wired to digital inputs; a pull-up is high where nothing is."""
        self._begun = bytearray()
        self.reset()

    def reset(self) -> None:
        """Do what power off and on does."""
        self._since = self._clock.monotonic()
        self._begun.clear()
        self.modes = {pin: ANALOG if pin >= FIRST_ANALOG else OUTPUT for pin in range(2, PINS)}
        self.outputs: dict[int, int] = dict.fromkeys(range(2, PINS), 0)
        self._reported: dict[int, int] = {}
        self._channels: set[int] = set()
        self._interval = 0.019
        self._sampled = 0
        self._outbox = bytearray([0xF9, *self._version]) + self._firmware()

    @property
    def wake(self) -> float | None:
        """When to `poll` next, in seconds of the clock's `monotonic`."""
        if self._outbox:
            return self._clock.monotonic()
        if not self._channels:
            return None
        return self._since + (self._sampled + 1) * self._interval

    def press(self, pin: int, level: bool) -> None:
        """Change what is wired to a digital input."""
        self.levels[pin] = level

    def receive(self, data: bytes) -> bytes:
        """Take bytes off the wire and return the answers to the messages they complete."""
        for byte in data:
            self._take(byte)
        return self.poll()

    def poll(self) -> bytes:
        """Return what is due: levels that have changed, analogue values, what went before."""
        for port in list(self._reported):
            levels = self._port(port)
            if levels != self._reported[port]:
                self._report(port, levels)
        due = int((self._clock.monotonic() - self._since) / self._interval + 1e-6)
        if due > self._sampled:
            self._sampled = due
            for channel in sorted(self._channels):
                self._sample(channel)
        said = bytes(self._outbox)
        self._outbox.clear()
        return said

    # What comes in.

    def _take(self, byte: int) -> None:
        begun = self._begun
        if begun[:1] == b"\xf0":
            if byte == 0xF7:
                message = bytes(begun[1:])
                begun.clear()
                self._sysex(message)
            elif byte < 0x80 and len(begun) <= _LONGEST:
                begun.append(byte)
            else:
                begun.clear()
            return
        if byte >= 0x80:
            begun.clear()
        elif not begun:
            return
        begun.append(byte)
        first = begun[0]
        kind = first & 0xF0 if first < 0xF0 else first
        wanted = {0xE0: 3, 0x90: 3, 0xC0: 2, 0xD0: 2, 0xF4: 3, 0xF5: 3, 0xF9: 1, 0xFF: 1}
        if kind != 0xF0 and len(begun) >= wanted.get(kind, 1):
            message = bytes(begun)
            begun.clear()
            self._obey(kind, message)

    def _obey(self, kind: int, message: bytes) -> None:
        low = message[0] & 0x0F
        if kind == 0xE0:
            self._write(low, message[1] | message[2] << 7)
        elif kind == 0x90:
            levels = message[1] | message[2] << 7
            for pin in range(8 * low, min(8 * low + 8, PINS)):
                if self.modes.get(pin) == OUTPUT:
                    self.outputs[pin] = levels >> pin % 8 & 1
                elif self.modes.get(pin) in (INPUT, PULLUP):
                    self.modes[pin] = PULLUP if levels >> pin % 8 & 1 else INPUT
        elif kind == 0xC0 and low < PINS - FIRST_ANALOG:
            self._channels.discard(low)
            if message[1]:
                self._channels.add(low)
                self._sample(low)
        elif kind == 0xD0 and 8 * low < PINS:
            self._reported.pop(low, None)
            if message[1]:
                self._report(low, self._port(low))
        elif kind == 0xF4 and message[1] in self.modes:
            if message[2] in self._modes_of(message[1]):
                self.modes[message[1]] = message[2]
        elif kind == 0xF5 and self.modes.get(message[1]) == OUTPUT:
            self.outputs[message[1]] = message[2]
        elif kind == 0xF9:
            self._outbox += bytes([0xF9, *self._version])
        elif kind == 0xFF:
            self.modes = {pin: ANALOG if pin >= FIRST_ANALOG else OUTPUT for pin in range(2, PINS)}
            self._reported.clear()
            self._channels.clear()

    def _sysex(self, message: bytes) -> None:
        kind, data = message[:1], message[1:]
        if kind == b"\x79":
            self._outbox += self._firmware()
        elif kind == b"\x6b":
            said = bytearray()
            for pin in range(PINS):
                for mode, bits in self._modes_of(pin).items():
                    said += bytes([mode, bits])
                said.append(0x7F)
            self._outbox += b"\xf0\x6c" + said + b"\xf7"
        elif kind == b"\x69":
            channels = [pin - FIRST_ANALOG if pin >= FIRST_ANALOG else 0x7F for pin in range(PINS)]
            self._outbox += b"\xf0\x6a" + bytes(channels) + b"\xf7"
        elif kind == b"\x6d" and len(data) == 1:
            pin = data[0]
            mode, state = self.modes.get(pin, 0), self.outputs.get(pin, 0)
            self._outbox += bytes([0xF0, 0x6E, pin, mode, state & 0x7F, state >> 7 & 0x7F, 0xF7])
        elif kind == b"\x6f" and len(data) >= 2:
            self._write(data[0], sum(byte << 7 * place for place, byte in enumerate(data[1:])))
        elif kind == b"\x7a" and len(data) == 2:
            elapsed = self._clock.monotonic() - self._since
            self._interval = max(10, data[0] | data[1] << 7) / 1000
            self._sampled = int(elapsed / self._interval + 1e-6)
        else:
            self.say("Unhandled sysex command")

    def _write(self, pin: int, value: int) -> None:
        if self.modes.get(pin) in (PWM, SERVO):
            self.outputs[pin] = value

    # What goes out.

    def say(self, text: str) -> None:
        """Say something in words, as the sketch does of errors."""
        self._outbox += b"\xf0\x71" + _pairs(text) + b"\xf7"

    def _firmware(self) -> bytes:
        return b"\xf0\x79" + bytes(self._version) + _pairs(self._name) + b"\xf7"

    def _modes_of(self, pin: int) -> dict[int, int]:
        if pin < 2:
            return {}
        modes = {INPUT: 1, PULLUP: 1, OUTPUT: 1}
        if pin >= FIRST_ANALOG:
            modes[ANALOG] = 10
        if pin in _PWM_PINS:
            modes[PWM] = 8
        if pin < FIRST_ANALOG:
            modes[SERVO] = 14
        return modes

    def _port(self, port: int) -> int:
        levels = 0
        for pin in range(8 * port, min(8 * port + 8, PINS)):
            mode = self.modes.get(pin)
            if mode in (INPUT, PULLUP):
                levels |= self.levels.get(pin, mode == PULLUP) << pin % 8
        return levels

    def _report(self, port: int, levels: int) -> None:
        self._reported[port] = levels
        self._outbox += bytes([0x90 | port, levels & 0x7F, levels >> 7])

    def _sample(self, channel: int) -> None:
        seconds = self._clock.monotonic() - self._since
        value = max(0, min(1023, int(self.volts(seconds) / _FULL_SCALE * 1024)))
        self._outbox += bytes([0xE0 | channel, value & 0x7F, value >> 7])


def _pairs(text: str) -> bytes:
    return bytes(half for byte in text.encode() for half in (byte & 0x7F, byte >> 7))
