"""Lines with every end, in every slicing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.line_device.framing import DeviceLines
from gateway.framing import Frame


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("checked", [False, True])
def test_what_is_written_is_read_back(ending: str, checked: bool) -> None:
    lines = DeviceLines(ending, checked=checked)
    data = lines.encode(b"SPEED 1")
    assert data.endswith(ending.encode())
    assert data.count(b"\r") + data.count(b"\n") == len(ending)
    assert lines.decoder().feed(data) == [Frame(b"SPEED 1")]


@given(
    stream=st.lists(
        st.one_of(st.binary(max_size=20), st.sampled_from([b"\r", b"\n", b"\r\n", b"x" * 40]))
    ).map(b"".join),
    cuts=st.lists(st.integers(0, 200)),
)
def test_slicing_never_changes_what_is_read(stream: bytes, cuts: list[int]) -> None:
    lines = DeviceLines(limit=16)
    decoder, sliced = lines.decoder(), []
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    for begin, end in pairwise(edges):
        sliced += decoder.feed(stream[begin:end])
    assert sliced == lines.decoder().feed(stream)


def test_a_reset_forgets_half_a_line() -> None:
    decoder = DeviceLines().decoder()
    decoder.feed(b"half")
    decoder.reset()
    assert decoder.feed(b"whole\n") == [Frame(b"whole")]
