"""The US layout, by the usage tables, and what a keyboard can type with it."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.barcode_scanner.layout import ENTER, US, character

LEFT_SHIFT, RIGHT_SHIFT, LEFT_CTRL, LEFT_ALT, RIGHT_GUI = 0x02, 0x20, 0x01, 0x04, 0x80


@pytest.mark.parametrize(
    ("usage", "plain", "shifted"),
    [
        (0x04, "a", "A"),
        (0x1D, "z", "Z"),
        (0x1E, "1", "!"),
        (0x27, "0", ")"),
        (0x2B, "\t", "\t"),
        (0x2C, " ", " "),
        (0x2D, "-", "_"),
        (0x2E, "=", "+"),
        (0x2F, "[", "{"),
        (0x30, "]", "}"),
        (0x31, "\\", "|"),
        (0x33, ";", ":"),
        (0x34, "'", '"'),
        (0x35, "`", "~"),
        (0x36, ",", "<"),
        (0x37, ".", ">"),
        (0x38, "/", "?"),
        (0x54, "/", "/"),
        (0x57, "+", "+"),
        (0x59, "1", "1"),
        (0x62, "0", "0"),
        (0x63, ".", "."),
    ],
)
def test_a_key_writes_what_the_usage_tables_say(usage: int, plain: str, shifted: str) -> None:
    assert character(usage, 0) == plain
    assert character(usage, LEFT_SHIFT) == character(usage, RIGHT_SHIFT) == shifted


def test_every_printable_letter_of_ascii_can_be_written() -> None:
    written = {each for pair in US.values() for each in pair}
    assert set(string.printable) - set("\n\r\x0b\x0c") <= written


def test_ctrl_writes_control_characters_as_gs1_codes_hold_them() -> None:
    assert character(0x30, LEFT_CTRL) == "\x1d"
    assert character(0x04, LEFT_CTRL) == "\x01"
    assert character(0x1E, LEFT_CTRL) is None


@given(st.integers(0, 255), st.integers(0, 255))
def test_no_key_is_an_accident(usage: int, modifiers: int) -> None:
    written = character(usage, modifiers)
    assert written is None or (len(written) == 1 and written.isascii())
    if usage == ENTER or modifiers & (LEFT_ALT | RIGHT_GUI):
        assert written is None
