"""What may be declared for a Modbus line, and what is refused with the key that is wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from drivers.modbus_rtu.settings import ModbusRegister, ModbusRtuSettings


def register(**keys: Any) -> ModbusRegister:
    return msgspec.convert({"address": 0, **keys}, ModbusRegister)


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"function": "coil", "type": "float32"}, "type"),
        ({"scale": 0}, "scale"),
        ({"function": "coil", "scale": 2}, "scale"),
        ({"type": "bool", "offset": 2}, "scale"),
        ({"address": 65535, "type": "uint32"}, "address"),
        ({"address": 65536}, "address"),
        ({"address": -1}, "address"),
        ({"unit_id": 0}, "unit_id"),
        ({"unit_id": 248}, "unit_id"),
        ({"function": "input", "writable": True}, "writable"),
        ({"function": "discrete", "writable": True}, "writable"),
        ({"min": 1}, "min"),
        ({"function": "coil", "writable": True, "max": 1}, "min"),
        ({"writable": True, "min": 5, "max": 4}, "min"),
        ({"writable": True, "min": 70000}, "min"),
        ({"function": "holdings"}, "function"),
        ({"word_order": "middle"}, "word_order"),
        ({"poll": -1}, "poll"),
        ({"adress": 1}, "adress"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(keys: dict[str, Any], named: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=named):
        register(**keys)


@pytest.mark.parametrize(
    ("keys", "lowest", "highest"),
    [
        ({}, 0, 65535),
        ({"type": "int16", "scale": 0.1}, -3276.8, 3276.7),
        ({"type": "int16", "scale": -1}, -32767, 32768),
        ({"type": "uint16", "offset": -100}, -100, 65435),
        ({"min": 5, "max": 30, "writable": True}, 5, 30),
        ({"min": -5, "max": 1e9, "writable": True}, 0, 65535),
    ],
)
def test_bounds_are_those_declared_within_those_possible(
    keys: dict[str, Any], lowest: float, highest: float
) -> None:
    made = register(**keys)
    assert made.lowest == pytest.approx(lowest)
    assert made.highest == pytest.approx(highest)


def test_a_line_needs_a_register_and_each_a_name_for_its_topic() -> None:
    for registers in ({}, {"a/b": {"address": 0}}, {"": {"address": 0}}, {"a b": {"address": 0}}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"registers": registers}, ModbusRtuSettings)


@pytest.mark.parametrize(
    ("keys", "polls", "borne"),
    [
        ({}, [0.1, 60.0], 3.0),
        ({}, [20.0, 60.0], 60.0),
        ({"timeout": 2.0}, [0.1], 6.0),
        ({"patience": 1.5}, [20.0], 1.5),
        ({}, [0.0], None),
        ({"patience": 1.5}, [0.0], None),
    ],
)
def test_its_patience_fits_what_is_polled(
    keys: dict[str, Any], polls: list[float], borne: float | None
) -> None:
    registers = {f"r{place}": {"address": place, "poll": poll} for place, poll in enumerate(polls)}
    assert msgspec.convert({"registers": registers, **keys}, ModbusRtuSettings).borne == borne
