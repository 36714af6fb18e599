"""Values to registers and back: words of 16 bits, scaled as a register's declaration has it.

Modbus sends each word high byte first; in which order the words of 32 bits come
is up to the maker, hence ``word_order`` (Modbus application protocol V1.1b3, 4.2).
Pure. Refused: numbers out of bounds (`ValueError`, in words for a person).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from drivers.modbus_rtu.settings import Kind, ModbusRegister

Value = bool | int | float

_FORMATS: dict[Kind, str] = {
    "bool": ">H",
    "uint16": ">H",
    "int16": ">h",
    "uint32": ">I",
    "int32": ">i",
    "float32": ">f",
}
_DIGITS = {"float32": 7}
"""Significant digits that a value has; the rest is the noise of binary fractions."""


def decode(register: ModbusRegister, words: Sequence[int | bool]) -> Value | None:
    """Return the value of ``words``; None for a float that is no number.

    >>> decode(ModbusRegister(address=0, type="int16", scale=0.1), [0xFFF6])
    -1.0
    >>> decode(ModbusRegister(address=0, type="uint32", word_order="little"), [1, 2])
    131073
    """
    if register.kind == "bool":
        return bool(words[0])
    ordered = words if register.word_order == "big" else tuple(reversed(words))
    data = struct.pack(f">{len(ordered)}H", *ordered)
    (raw,) = struct.unpack(_FORMATS[register.kind], data)
    value = raw * register.scale + register.offset
    if register.is_whole:
        return int(value)
    if not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS.get(register.kind, 12)}g}")


def encode(register: ModbusRegister, value: Value) -> list[int]:
    """Return the words that hold ``value``, rounded to the step that they can hold.

    >>> encode(ModbusRegister(address=0, type="int16", scale=0.1, writable=True), -1.04)
    [65526]
    """
    if register.kind == "bool":
        if not isinstance(value, bool):
            raise ValueError(f"it is true or false, not {value}")
        return [int(value)]
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"it is a number, not {str(value).lower()}")
    if not register.lowest <= value <= register.highest:
        raise ValueError(f"it is {register.lowest:g} to {register.highest:g}, not {value:g}")
    raw = (value - register.offset) / register.scale
    data = struct.pack(_FORMATS[register.kind], raw if register.kind == "float32" else round(raw))
    words = list(struct.unpack(f">{len(data) // 2}H", data))
    return words if register.word_order == "big" else words[::-1]
