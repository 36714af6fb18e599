"""Reports of a boot keyboard: which keys went down, and what the wire may bring instead."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.barcode_scanner.layout import ENTER, character
from drivers.barcode_scanner.reports import SIZE, Keyboard, Press, typed
from gateway.errors import ProtocolError


def report(*keys: int, modifiers: int = 0) -> bytes:
    return bytes([modifiers, 0, *keys]).ljust(SIZE, b"\0")


TEXT = "".join(each for each in string.printable if each not in "\n\r\x0b\x0c")


@given(st.text(TEXT))
def test_what_is_typed_is_read(text: str) -> None:
    keyboard = Keyboard()
    presses = [press for each in typed(text) for press in keyboard.feed(each)]
    assert "".join(character(*press) or "?" for press in presses) == text


def test_a_key_counts_when_it_goes_down_and_not_while_it_is_held() -> None:
    keyboard = Keyboard()
    assert keyboard.feed(report(4)) == [Press(4, 0)]
    assert keyboard.feed(report(4)) == []
    assert keyboard.feed(report(4, 5)) == [Press(5, 0)]
    assert keyboard.feed(report(5)) == []
    assert keyboard.feed(report(4, 5)) == [Press(4, 0)]
    assert keyboard.feed(report()) == []
    assert keyboard.feed(report(4)) == [Press(4, 0)]


def test_keys_that_go_down_at_once_keep_their_order() -> None:
    assert [press.usage for press in Keyboard().feed(report(9, 4, 7, 4))] == [9, 4, 7]


def test_a_report_of_too_many_keys_changes_nothing() -> None:
    keyboard = Keyboard()
    keyboard.feed(report(4))
    for error in (1, 2, 3):
        assert keyboard.feed(report(*[error] * 6)) == []
    assert keyboard.feed(report(4)) == []


def test_enter_and_what_cannot_be_typed() -> None:
    assert next(typed("\n")) == report(ENTER)
    with pytest.raises(ValueError, match="no key of a US keyboard writes 'ü'"):
        list(typed("ü"))


@given(st.lists(st.binary(max_size=70), max_size=20))
def test_any_bytes_are_keys_or_refused(reports: list[bytes]) -> None:
    keyboard = Keyboard()
    for each in reports:
        if len(each) < SIZE:
            with pytest.raises(ProtocolError, match="has 8 bytes"):
                keyboard.feed(each)
        else:
            assert all(press.usage in each[2:SIZE] for press in keyboard.feed(each))
