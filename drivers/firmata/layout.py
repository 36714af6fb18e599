"""The pins of one board as it describes them, and the declared ones found among them.

Pure. Refused, by pin and with what it could be (`RefusedError`): a pin that the
board does not have, a mode that the pin does not have, two names for one pin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from drivers.firmata.protocol import Mode
from drivers.firmata.settings import MODES, FirmataPin
from gateway.errors import RefusedError

NAMES = {mode.value: use for use, mode in MODES.items()}


class PlacedPin(NamedTuple):
    """A declared pin at its place; ``bits`` is the resolution of its mode."""

    name: str
    number: int
    mode: Mode
    bits: int
    channel: int | None
    declared: FirmataPin

    @property
    def port(self) -> int:
        """The port of eight pins that it is in."""
        return self.number // 8

    @property
    def mask(self) -> int:
        """Its bit in the port."""
        return 1 << self.number % 8

    @property
    def steps(self) -> int:
        """The highest number that its mode can hold."""
        return max(1, (1 << min(self.bits, 14)) - 1)


def place(
    declared: Mapping[str, FirmataPin],
    capabilities: list[dict[int, int]],
    channels: Mapping[int, int],
) -> dict[str, PlacedPin]:
    """Return the declared pins by name, where the board has them."""
    placed: dict[str, PlacedPin] = {}
    taken: dict[int, str] = {}
    by_number = {number: channel for channel, number in channels.items()}
    for name, pin in declared.items():
        if isinstance(pin.pin, str):
            number = channels.get(int(pin.pin[1:]), -1)
        else:
            number = pin.pin
        if not 0 <= number < len(capabilities):
            raise RefusedError(f"{name}: the board has no pin {pin.pin}")
        modes, mode = capabilities[number], MODES[pin.mode]
        if mode not in modes:
            able = ", ".join(NAMES[each] for each in modes if each in NAMES) or "nothing"
            raise RefusedError(f"{name}: pin {pin.pin} cannot be {pin.mode}; it can be {able}")
        if number in taken:
            raise RefusedError(f"{name}: pin {pin.pin} is {taken[number]} already")
        taken[number] = name
        channel = by_number.get(number)
        if mode is Mode.ANALOG and (channel is None or channel > 15):
            raise RefusedError(f"{name}: the board reports no values for pin {pin.pin}")
        placed[name] = PlacedPin(name, number, mode, modes[mode], channel, pin)
    return placed
