"""NMEA sentences on the wire: found in any slicing, behind any noise, in bounded memory."""

from __future__ import annotations

import string
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.nmea_gps.framing import Sentences
from gateway.framing import Frame, Garbage

FRAMING = Sentences(limit=30)
LETTERS = sorted({*string.printable[:95]} - {*"$*"})
payloads = st.text(LETTERS, min_size=1, max_size=30).map(str.encode)
# Much of what decides is rare in random bytes.
noise = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"$", b"\r", b"\n", b"*", b"*00", b"$GP", b"$G*47\r\n", b"x" * 70]),
    ),
    max_size=8,
).map(b"".join)


def frames(events: list[Frame | Garbage]) -> list[bytes]:
    return [event.payload for event in events if isinstance(event, Frame)]


@given(payload=payloads)
def test_what_is_framed_is_read_back(payload: bytes) -> None:
    assert FRAMING.decoder().feed(FRAMING.encode(payload)) == [Frame(payload)]


@given(stream=noise, cuts=st.lists(st.integers(0, 400), max_size=12))
def test_slicing_never_changes_what_is_read(stream: bytes, cuts: list[int]) -> None:
    decoder, sliced = FRAMING.decoder(), []
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    for begin, end in pairwise(edges):
        sliced += decoder.feed(stream[begin:end])
    assert sliced == FRAMING.decoder().feed(stream)


@given(before=noise, payload=payloads, between=noise, other=payloads)
def test_a_sentence_behind_any_noise_is_found(
    before: bytes, payload: bytes, between: bytes, other: bytes
) -> None:
    stream = before + FRAMING.encode(payload) + between + FRAMING.encode(other)
    found = frames(FRAMING.decoder().feed(stream))
    assert payload in found
    assert found[-1] == other


@given(stream=st.lists(noise, max_size=20))
def test_memory_is_bounded_whatever_comes(stream: list[bytes]) -> None:
    decoder = FRAMING.decoder()
    for data in stream:
        for event in decoder.feed(data):
            assert isinstance(event, Frame) or len(event.raw) <= 30
        assert len(decoder._tail) <= 34  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"$GPGLL,1*00\r\n", "wrong checksum"),
        (b"$GPGLL,1\r\n", "no checksum"),
        (b"$GPGLL,1*4\r\n", "no checksum"),
        (b"$GPGLL,1*4G\r\n", "no checksum"),
        (b"$GP\xffLL,1*4D\r\n", "no checksum"),
        (b"$*00\r\n", "no checksum"),
        (b"!AIVDM,1*5C\r\n", "no sentence"),
        (b"$GPGL$", "broken off"),
        (b"$" + b"x" * 40, "longer than 30 bytes"),
        (b"x" * 40, "longer than 30 bytes"),
    ],
)
def test_what_is_no_sentence_is_noise_with_its_reason(stream: bytes, reason: str) -> None:
    (event,) = FRAMING.decoder().feed(stream)
    assert isinstance(event, Garbage)
    assert event.reason == reason


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
@pytest.mark.parametrize("digits", [b"4D", b"4d"])
def test_line_ends_and_digits_of_every_kind_are_read(end: bytes, digits: bytes) -> None:
    decoder = FRAMING.decoder()
    assert decoder.feed(b"$GPGLL,1*" + digits + end) == [Frame(b"GPGLL,1")]
    assert decoder.feed(b"\r\n\r\n") == []


def test_a_reset_forgets_half_a_sentence() -> None:
    decoder = FRAMING.decoder()
    decoder.feed(b"$GPG")
    decoder.reset()
    assert decoder.feed(b"LL,1*4D\r\n") == [Garbage(b"LL,1*4D", "no sentence")]


@pytest.mark.parametrize("payload", [b"", b"a$b", b"a*b", b"a\nb", b"\xff", b"x" * 31])
def test_what_cannot_be_a_sentence_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"sentence|limit"):
        FRAMING.encode(payload)


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 byte"):
        Sentences(limit=0)
