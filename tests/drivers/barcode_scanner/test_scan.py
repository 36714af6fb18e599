"""Keys become scans, or are refused for what they are; nothing is published in part."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.barcode_scanner.reports import ENDS, Keyboard, Press, typed
from drivers.barcode_scanner.scan import Reader, Scan
from gateway.errors import ProtocolError


def read(reader: Reader, text: str) -> list[str]:
    """Type ``text``; return the scans, and what was refused in brackets."""
    keyboard, found = Keyboard(), []
    for report in typed(text):
        for press in keyboard.feed(report):
            try:
                scan = reader.press(press)
            except ProtocolError as error:
                found.append(f"<{error}>")
            else:
                found += [scan.text] if scan else []
    return found


@given(st.lists(st.text("abcXYZ 019-+$/.%\t\x1d", min_size=1, max_size=20), max_size=5))
def test_each_code_is_one_scan(codes: list[str]) -> None:
    reader = Reader("", ENDS["enter"], 100)
    assert read(reader, "".join(code + "\n" for code in codes)) == codes


def test_a_scan_says_how_long_it_is() -> None:
    reader = Reader("", ENDS["enter"], 100)
    assert [reader.press(Press(4, 0)), reader.press(Press(0x58, 0))] == [None, Scan("a", 1)]


def test_the_end_may_be_a_tab_and_then_enter_is_a_key_that_writes_nothing() -> None:
    reader = Reader("", ENDS["tab"], 100)
    assert read(reader, "one\ttwo\t") == ["one", "two"]
    (refused,) = read(reader, "three\n\t")
    assert "0x28" in refused


def test_the_prefix_is_taken_off_and_what_lacks_it_is_no_scan() -> None:
    reader = Reader("~S", ENDS["enter"], 100)
    first, refused, second = read(reader, "~S4006381333931\nhello\n~S~S1\n")
    assert (first, second) == ("4006381333931", "~S1")
    assert refused == "<'hello' does not begin with '~S'>"


def test_an_end_by_itself_is_no_scan() -> None:
    assert read(Reader("", ENDS["enter"], 100), "\n\na\n\n") == ["a"]


def test_what_is_too_long_is_refused_whole_and_costs_no_memory() -> None:
    reader = Reader("", ENDS["enter"], 5)
    assert read(reader, "12345\n") == ["12345"]
    keyboard = Keyboard()
    for report in typed("x" * 1000):
        for press in keyboard.feed(report):
            assert reader.press(press) is None
    assert len(reader._text) == 5
    (refused,) = read(reader, "\n")
    assert "1000 characters before an end, beginning 'xxxxx'; the limit is 5" in refused
    assert read(reader, "next\n") == ["next"]


@pytest.mark.parametrize("key", [Press(0x3A, 0), Press(0x04, 0x04), Press(0x28, 0x02)])
def test_a_key_that_writes_nothing_spoils_its_own_scan_only(key: Press) -> None:
    reader = Reader("", ENDS["enter"], 100)
    reader.press(Press(0x04, 0))
    assert reader.press(key) is None
    (refused,) = read(reader, "\n")
    assert "set the scanner to the US layout" in refused
    assert read(reader, "next\n") == ["next"]
