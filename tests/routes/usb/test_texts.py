"""String descriptors are a device's own words: anything may come, and nothing of it hurts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.usb.texts import text


@given(st.binary(max_size=300))
def test_any_bytes_are_a_text_that_can_be_shown(raw: bytes) -> None:
    said = text(raw)
    assert said.isprintable()
    said.encode()  # no half of a letter


@given(st.text(st.characters(categories=["L", "N"]), max_size=60))
def test_what_a_device_says_rightly_is_kept(said: str) -> None:
    data = said.encode("utf-16-le")
    assert text(bytes([len(data) + 2, 3]) + data) == said


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", ""),
        (b"\x04", ""),
        (b"\x04\x05A\0", ""),  # no string
        (b"\x00\x03A\0", ""),  # says that it has no length
        (b"\xff\x03A\0B\0", "AB"),  # longer than it is
        (b"\x04\x03A\0B\0", "A"),  # shorter
        (b"\x05\x03A\0\xd8", "A\ufffd"),  # cut off
        (b"\x08\x03\x3d\xd8\0\0 \0", "\ufffd"),  # half of a pair
    ],
)
def test_lies_about_length_and_letters_are_borne(raw: bytes, said: str) -> None:
    assert text(raw) == said
