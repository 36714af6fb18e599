"""Modbus answers on the wire: at once, in any slicing, and behind any noise."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus_rtu.board import crc
from drivers.modbus_rtu.framing import RtuAnswers
from gateway.framing import Frame, Garbage

FRAMING = RtuAnswers()
OVERLAPPING = RtuAnswers(overlapping=True)
framings = pytest.mark.parametrize("framing", [FRAMING, OVERLAPPING], ids=repr)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    unit = draw(st.integers(1, 247))
    kind = draw(st.sampled_from(["read", "write", "exception"]))
    if kind == "read":
        data = draw(st.binary(min_size=1, max_size=250))
        return bytes([unit, draw(st.integers(1, 4)), len(data)]) + data
    if kind == "write":
        function = draw(st.sampled_from([5, 6, 15, 16]))
        return bytes([unit, function]) + draw(st.binary(min_size=4, max_size=4))
    return bytes([unit, 0x80 | draw(st.sampled_from([1, 3, 6, 16])), draw(st.integers(1, 11))])


noise = st.lists(
    st.one_of(st.binary(max_size=30), st.sampled_from([b"\x01\x03\xfa", b"\x00" * 9, b"\x01"])),
    max_size=4,
).map(b"".join)


def frames(events: list[Frame | Garbage]) -> list[bytes]:
    return [event.payload for event in events if isinstance(event, Frame)]


@framings
@given(answer=answers())
def test_an_answer_is_handed_on_with_its_last_byte(framing: RtuAnswers, answer: bytes) -> None:
    decoder = framing.decoder()
    data = framing.encode(answer)
    assert data == answer + crc(answer)
    early = [event for byte in data[:-1] for event in decoder.feed(bytes([byte]))]
    assert early == [] or framing.overlapping  # what is read may hold a valid answer
    assert Frame(answer) in decoder.feed(data[-1:])


@framings
@given(before=noise, answer=answers(), behind=noise)
def test_an_answer_in_any_noise_is_found_once_the_line_is_still(
    framing: RtuAnswers, before: bytes, answer: bytes, behind: bytes
) -> None:
    decoder = framing.decoder()
    stream = before + framing.encode(answer) + behind
    found = frames(decoder.feed(stream)) + frames(decoder.expire())
    # Noise whose CRC is right by chance may take its place: decision 0011.
    by_chance = not framing.overlapping and any(framing.encode(each) in stream for each in found)
    assert answer in found or by_chance


@given(before=noise, answer=answers())
def test_with_overlapping_noise_never_holds_an_answer_up(before: bytes, answer: bytes) -> None:
    decoder = OVERLAPPING.decoder()
    assert answer in frames(decoder.feed(before + OVERLAPPING.encode(answer)))


def test_without_it_an_answer_waits_for_what_noise_has_announced() -> None:
    decoder = FRAMING.decoder()
    answer = b"\x01\x83\x02"
    assert decoder.feed(b"\x01\x03\xfa" + FRAMING.encode(answer)) == []
    assert frames(decoder.expire()) == [answer]


@framings
@given(
    stream=st.lists(st.one_of(noise, answers().map(FRAMING.encode)), max_size=6).map(b"".join),
    cuts=st.lists(st.integers(0, 600), max_size=10),
)
def test_slicing_never_changes_what_is_read(
    framing: RtuAnswers, stream: bytes, cuts: list[int]
) -> None:
    whole, sliced = framing.decoder(), framing.decoder()
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    events = [event for begin, end in pairwise(edges) for event in sliced.feed(stream[begin:end])]
    assert events == whole.feed(stream)
    assert sliced.expire() == whole.expire()


@framings
@given(stream=st.lists(st.binary(max_size=400), max_size=10))
def test_memory_is_bounded_whatever_comes(framing: RtuAnswers, stream: list[bytes]) -> None:
    decoder = framing.decoder()
    for data in stream:
        decoder.feed(data)
        assert len(decoder._held) + len(decoder._noise) <= 2 * 256  # type: ignore[attr-defined]


@framings
def test_what_was_broken_off_does_not_spoil_what_comes_after_the_silence(
    framing: RtuAnswers,
) -> None:
    decoder = framing.decoder()
    decoder.feed(bytes.fromhex("01 03 40 00"))
    assert decoder.expire() == [Garbage(bytes.fromhex("01 03 40 00"), "broken off by silence")]
    assert frames(decoder.feed(FRAMING.encode(b"\x01\x83\x02"))) == [b"\x01\x83\x02"]


@pytest.mark.parametrize("payload", [b"", b"\x01", b"x" * 255])
def test_what_no_frame_can_carry_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match="2 to 254"):
        FRAMING.encode(payload)
