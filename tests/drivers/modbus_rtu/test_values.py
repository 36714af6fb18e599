"""Registers to values and back, in every kind, order and scale."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus_rtu.settings import WORDS, ModbusRegister
from drivers.modbus_rtu.values import Value, decode, encode


def register(**keys: Any) -> ModbusRegister:
    return ModbusRegister(address=0, writable=True, **keys)


@pytest.mark.parametrize(
    ("keys", "words", "value"),
    [
        ({}, [65535], 65535),
        ({"type": "int16"}, [0xFFFF], -1),
        ({"scale": 0.1}, [3], 0.3),
        ({"scale": 10}, [3], 30),
        ({"scale": 0.5, "offset": -40}, [81], 0.5),
        ({"type": "uint32"}, [1, 2], 65538),
        ({"type": "uint32", "word_order": "little"}, [1, 2], 131073),
        ({"type": "int32"}, [0xFFFF, 0xFFFE], -2),
        ({"type": "float32"}, [0x4148, 0], 12.5),
        ({"type": "float32", "word_order": "little"}, [0, 0x4148], 12.5),
        ({"type": "float32"}, [0x3DCC, 0xCCCD], 0.1),
        ({"type": "bool"}, [1], True),
        ({"function": "coil"}, [0], False),
    ],
)
def test_words_are_read_and_written_alike(
    keys: dict[str, Any], words: list[int], value: Value
) -> None:
    read = decode(register(**keys), words)
    assert read == value
    assert type(read) is type(value)
    assert encode(register(**keys), value) == words


@pytest.mark.parametrize("words", [[0x7FC0, 0], [0x7F80, 0], [0xFF80, 0]])
def test_a_float_that_is_no_number_is_not_known(words: list[int]) -> None:
    assert decode(register(type="float32"), words) is None


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        ({}, 65536, "0 to 65535, not 65536"),
        ({}, -1, "not -1"),
        ({"scale": 0.1, "max": 30}, 30.1, "0 to 30, not 30.1"),
        ({}, True, "a number, not true"),
        ({}, math.nan, "a number, not nan"),
        ({"type": "float32"}, math.inf, "a number, not inf"),
        ({"type": "float32"}, 1e39, "not 1e"),
        ({"function": "coil"}, 1, "true or false, not 1"),
        ({"type": "bool"}, 0.0, "true or false"),
    ],
)
def test_what_it_cannot_hold_is_refused(keys: dict[str, Any], value: Value, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        encode(register(**keys), value)


def test_a_value_is_rounded_to_the_step_that_can_be_held() -> None:
    assert decode(register(scale=0.5), encode(register(scale=0.5), 1.3)) == 1.5


@given(
    kind=st.sampled_from(["uint16", "int16", "uint32", "int32"]),
    order=st.sampled_from(["big", "little"]),
    scale=st.sampled_from([1.0, 0.1, 0.01, 10.0, -1.0, 0.25]),
    offset=st.sampled_from([0.0, -40.0, 0.5]),
    data=st.data(),
)
def test_whatever_is_read_can_be_written_back(
    kind: Any, order: Any, scale: float, offset: float, data: st.DataObject
) -> None:
    made = register(type=kind, word_order=order, scale=scale, offset=offset)
    words = data.draw(st.lists(st.integers(0, 65535), min_size=WORDS[made.kind], max_size=2))
    words = words[: made.words]
    value = decode(made, words)
    assert value is not None
    value = min(max(value, made.lowest), made.highest)  # a digit may have been rounded over
    assert encode(made, value) == words
