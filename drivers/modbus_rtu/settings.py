"""What is declared for a Modbus line: its registers, and how patient to be with it.

The configuration is the driver's only knowledge of the slaves. Refused when it is
loaded, by the register's key: a coil that is to hold a float, an input that is to
be written, bounds the wrong way round, a value that would run over the last
address.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Function = Literal["holding", "input", "coil", "discrete"]
Kind = Literal["bool", "uint16", "int16", "uint32", "int32", "float32"]

WORDS: dict[Kind, int] = {
    "bool": 1,
    "uint16": 1,
    "int16": 1,
    "uint32": 2,
    "int32": 2,
    "float32": 2,
}
"""How many registers a value takes; a coil or discrete input is one by itself."""

_NUMBERS: dict[Kind, tuple[float, float]] = {
    "bool": (0, 1),
    "uint16": (0, 2**16 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "uint32": (0, 2**32 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "float32": (-3.4e38, 3.4e38),
}
"""What each kind can hold, before it is scaled."""

LAST_ADDRESS = 65535
Seconds = Annotated[float, Meta(ge=0.01, le=3600, description="seconds")]
Name = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_-]{1,63}\Z", description="letters, digits, '-' and '_'")
]


class ModbusRegister(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[devices.<name>.settings.registers.<register>]``: one value that a slave holds.

    ``address`` counts from 0, as on the wire: a manual's 40001 is holding 0. The
    value is what the wire has, times ``scale``, plus ``offset``, in ``unit``.
    ``word_order`` says which half of 32 bits comes first. It is read every
    ``poll`` seconds (0: only when asked) and published when it has changed, or
    each time where ``always`` is true. ``min`` and ``max`` bound what may be
    written. ``multiple`` writes a single register by function 16 in place of 6,
    which some slaves want.
    """

    address: Annotated[int, Meta(ge=0, le=LAST_ADDRESS)]
    unit_id: Annotated[int, Meta(ge=1, le=247, description="the slave's number")] = 1
    function: Function = "holding"
    type: Kind | None = None
    word_order: Literal["big", "little"] = "big"
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""
    poll: Annotated[float, Meta(ge=0, le=86400, description="seconds, 0: only when asked")] = 1.0
    always: bool = False
    writable: bool = False
    min: float | None = None
    max: float | None = None
    multiple: bool = False

    def __post_init__(self) -> None:
        if self.is_bit and self.type not in (None, "bool"):
            raise ValueError(f"type: a {self.function} is one bit; leave the type out")
        if self.scale == 0:
            raise ValueError("scale: times 0 every value is the same; write 1.0 for none")
        if self.kind == "bool" and (self.scale, self.offset) != (1.0, 0.0):
            raise ValueError("scale: true and false are not scaled; leave scale and offset out")
        if self.address + self.words - 1 > LAST_ADDRESS:
            raise ValueError(f"address: a {self.kind} at {self.address} runs over the last one")
        if self.writable and self.function in ("input", "discrete"):
            raise ValueError(f"writable: a {self.function} can only be read")
        bounds = (self.min, self.max)
        if bounds != (None, None) and (not self.writable or self.kind == "bool"):
            raise ValueError("min: bounds are for numbers that are writable")
        if self.lowest > self.highest:
            raise ValueError(f"min: {self.lowest:g} is above the highest, {self.highest:g}")

    @property
    def is_bit(self) -> bool:
        """Whether it is a coil or a discrete input."""
        return self.function in ("coil", "discrete")

    @property
    def kind(self) -> Kind:
        """What it holds."""
        return self.type or ("bool" if self.is_bit else "uint16")

    @property
    def words(self) -> int:
        """How many addresses it takes."""
        return WORDS[self.kind]

    @property
    def is_whole(self) -> bool:
        """Whether its values are whole numbers."""
        return self.kind != "float32" and self.scale % 1 == 0 and self.offset % 1 == 0

    @property
    def lowest(self) -> float:
        """The lowest value that can be written."""
        natural = min(self._ends)
        return natural if self.min is None else max(natural, self.min)

    @property
    def highest(self) -> float:
        """The highest value that can be written."""
        natural = max(self._ends)
        return natural if self.max is None else min(natural, self.max)

    @property
    def _ends(self) -> tuple[float, float]:
        low, high = _NUMBERS[self.kind]
        return low * self.scale + self.offset, high * self.scale + self.offset


class ModbusRtuSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``timeout``: seconds that a slave has to answer. ``gap``: seconds of silence before
    each question (3.5 characters are 4 ms at 9600 baud). ``patience``: seconds in which no
    slave answers until the line counts as stale; three of the shortest polls unless said.
    ``overlapping``: read an answer also where noise before it, or a piece of another
    answer, looks like the beginning of a longer one; for lines with much noise.
    """

    registers: Annotated[dict[Name, ModbusRegister], Meta(min_length=1)]
    timeout: Annotated[float, Meta(ge=0.02, le=10, description="seconds")] = 0.5
    gap: Annotated[float, Meta(ge=0, le=1, description="seconds")] = 0.004
    patience: Seconds | None = None
    overlapping: bool = False

    @property
    def borne(self) -> float | None:
        """Seconds of silence to bear; None where nothing is polled, so that it means nothing."""
        polls = [each.poll for each in self.registers.values() if each.poll]
        if not polls:
            return None
        return self.patience or max(3 * min(polls), 3 * self.timeout, 3.0)
