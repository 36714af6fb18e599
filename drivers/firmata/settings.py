"""What is declared for a Firmata board: which of its pins are used, and as what.

Pins that are not declared are left alone. Refused when it is loaded: two names
for one pin, an initial level for an input, a full scale for what is not analogue.
Whether the board's pin can be what is declared, only the board knows: it is asked.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from drivers.firmata.protocol import LAST_PIN, SAMPLING, Mode

Use = Literal["input", "pullup", "output", "pwm", "servo", "analog"]
MODES: dict[Use, Mode] = {
    "input": Mode.INPUT,
    "pullup": Mode.PULLUP,
    "output": Mode.OUTPUT,
    "pwm": Mode.PWM,
    "servo": Mode.SERVO,
    "analog": Mode.ANALOG,
}
Name = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_-]{1,63}\Z", description="letters, digits, '-' and '_'")
]
PinNumber = (
    Annotated[int, Meta(ge=0, le=LAST_PIN)]
    | Annotated[str, Meta(pattern=r"^A([0-9]|1[0-5])\Z", description="A0 to A15")]
)


class FirmataPin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[devices.<name>.settings.pins.<pin>]``: a pin by its number, or ``A0`` to ``A15``.

    ``initial`` is what an output, a PWM (0 to 1) or a servo (degrees) is set to at
    each connection; left out, it stays as the board has it. An analogue pin reads 0
    to ``full_scale`` in ``unit``, and is told again when it has moved by ``deadband``
    of that.
    """

    pin: PinNumber
    mode: Use
    initial: Annotated[float, Meta(ge=0, le=180)] | None = None
    full_scale: float = 1.0
    unit: str = "1"
    deadband: Annotated[float, Meta(ge=0)] = 0.0

    def __post_init__(self) -> None:
        most = {"output": 1, "pwm": 1, "servo": 180}.get(self.mode)
        if self.initial is not None and (most is None or self.initial > most):
            raise ValueError(
                f"initial: {self.initial:g} is nothing that a {self.mode} can be set to"
            )
        if self.mode == "output" and self.initial not in (None, 0, 1):
            raise ValueError(f"initial: an output is 0 or 1, not {self.initial:g}")
        if self.mode != "analog" and (self.full_scale, self.unit, self.deadband) != (1.0, "1", 0.0):
            raise ValueError("full_scale: scale, unit and deadband are for analogue pins")
        if self.full_scale == 0:
            raise ValueError("full_scale: with 0 every value is the same")

    @property
    def is_heard(self) -> bool:
        """Whether the board reports it."""
        return self.mode in ("input", "pullup", "analog")


class FirmataSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``pins`` by the names they are to have; ``sampling``: ms between two analogue values."""

    pins: dict[Name, FirmataPin] = {}
    sampling: Annotated[int, Meta(ge=SAMPLING[0], le=SAMPLING[1], description="milliseconds")] = 100

    def __post_init__(self) -> None:
        seen: dict[int | str, str] = {}
        for name, each in self.pins.items():
            if each.pin in seen:
                raise ValueError(f"pins: {seen[each.pin]} and {name} are both pin {each.pin}")
            seen[each.pin] = name
