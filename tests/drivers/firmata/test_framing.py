"""Firmata messages on the wire: in any slicing, behind any noise, in bounded memory."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.firmata.framing import Messages
from gateway.framing import Frame, Garbage

FRAMING = Messages(limit=40)
septets = st.binary(max_size=37).map(lambda data: bytes(byte & 0x7F for byte in data))
messages = st.one_of(
    st.builds(
        lambda first, low, high: bytes([first, low, high]),
        st.sampled_from([0xE0, 0xE5, 0x90, 0x9F, 0xF9]),
        st.integers(0, 127),
        st.integers(0, 127),
    ),
    septets.map(lambda data: b"\xf0" + data + b"\xf7"),
)
noise = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from([b"\xf0", b"\xf7", b"\xe0", b"\xf9\x02", b"\xc0\x01", b"\x01" * 90]),
    ),
    max_size=6,
).map(b"".join)


def frames(events: list[Frame | Garbage]) -> list[bytes]:
    return [event.payload for event in events if isinstance(event, Frame)]


@given(before=noise, message=messages, between=noise, other=messages)
def test_a_message_behind_any_noise_is_found(
    before: bytes, message: bytes, between: bytes, other: bytes
) -> None:
    found = frames(FRAMING.decoder().feed(before + message + between + other))
    assert message in found
    assert found[-1] == other


@given(
    stream=st.lists(st.one_of(noise, messages)).map(b"".join), cuts=st.lists(st.integers(0, 400))
)
def test_slicing_never_changes_what_is_read(stream: bytes, cuts: list[int]) -> None:
    decoder, sliced = FRAMING.decoder(), []
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    for begin, end in pairwise(edges):
        sliced += decoder.feed(stream[begin:end])
    assert sliced == FRAMING.decoder().feed(stream)


@given(stream=st.lists(noise, max_size=10))
def test_memory_is_bounded_whatever_comes(stream: list[bytes]) -> None:
    decoder = FRAMING.decoder()
    for data in stream:
        for event in decoder.feed(data):
            assert isinstance(event, Frame) or len(event.raw) <= 40
        assert len(decoder._begun) <= 40  # type: ignore[attr-defined]
        assert len(decoder._noise) <= 80  # type: ignore[attr-defined]


@given(message=messages)
def test_what_a_board_sends_can_be_written_as_well(message: bytes) -> None:
    assert FRAMING.encode(message) == message


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"\xf0", b"\xf0\x79", b"\x79\xf7", b"\xf0\x80\xf7", b"\xe0\x01", b"\xe0\x01\x80"),
        *(b"\xf4\x01\x01\x01", b"\xf1", b"\xf0" + b"\x01" * 40 + b"\xf7"),
    ],
)
def test_what_is_not_one_message_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"not one Firmata message|the limit is 40"):
        FRAMING.encode(payload)


@pytest.mark.parametrize("message", ["f4 0d 01", "f5 0d 01", "c0 01", "d1 00", "ff"])
def test_orders_can_be_written(message: str) -> None:
    assert FRAMING.encode(bytes.fromhex(message)) == bytes.fromhex(message)
