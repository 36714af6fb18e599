"""Both line framings: what holds for every stream, and what each refuses."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.framing import CheckedLine, Decoder, Frame, Framing, Garbage, Line

LIMIT = 12
FRAMINGS: list[Framing] = [Line(LIMIT), CheckedLine(LIMIT)]
framings = st.sampled_from(FRAMINGS)
# Few different bytes, so that line ends, marks and digits meet often.
noise = st.lists(st.sampled_from([b"\n", b"\r", b"*", b"0", b"A", b"a", b"\x00", b"\xff"])).map(
    b"".join
)
payloads = st.binary(min_size=1, max_size=LIMIT).filter(
    lambda payload: b"\n" not in payload and b"\r" not in payload
)


def sliced(decoder: Decoder, stream: bytes, cuts: list[int]) -> list[Frame | Garbage]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [
        event
        for start, end in itertools.pairwise(edges)
        for event in decoder.feed(stream[start:end])
    ]


@st.composite
def streams(draw: st.DrawFn) -> tuple[Framing, bytes]:
    framing = draw(framings)
    parts = draw(st.lists(st.one_of(noise, payloads.map(framing.encode))))
    return framing, b"".join(parts)


@given(streams(), st.lists(st.integers(min_value=0, max_value=400)))
def test_slicing_never_changes_what_is_read(wire: tuple[Framing, bytes], cuts: list[int]) -> None:
    framing, stream = wire
    whole = framing.decoder().feed(stream)
    assert sliced(framing.decoder(), stream, cuts) == whole
    assert sliced(framing.decoder(), stream, list(range(len(stream)))) == whole


@given(framings, st.lists(payloads))
def test_what_is_encoded_is_read_back(framing: Framing, sent: list[bytes]) -> None:
    stream = b"".join(map(framing.encode, sent))
    assert framing.decoder().feed(stream) == [Frame(payload) for payload in sent]


@given(framings, st.lists(payloads))
def test_carriage_returns_before_the_line_end_are_read_as_well(
    framing: Framing, sent: list[bytes]
) -> None:
    stream = b"".join(map(framing.encode, sent)).replace(b"\n", b"\r\n")
    assert framing.decoder().feed(stream) == [Frame(payload) for payload in sent]


@given(framings, noise, payloads)
def test_after_any_noise_the_next_line_is_read(
    framing: Framing, before: bytes, payload: bytes
) -> None:
    events = framing.decoder().feed(before + b"\n" + framing.encode(payload))
    assert events[-1] == Frame(payload)


@given(streams())
def test_garbage_is_bounded(wire: tuple[Framing, bytes]) -> None:
    framing, stream = wire
    for event in framing.decoder().feed(stream):
        if isinstance(event, Garbage):
            assert len(event.raw) <= LIMIT + len(b"*XX")
            assert event.reason


@pytest.mark.parametrize("framing", FRAMINGS, ids=repr)
def test_an_endless_line_costs_one_garbage_and_no_memory(framing: Framing) -> None:
    decoder = framing.decoder()
    events = [event for _ in range(2000) for event in decoder.feed(b"x" * 1000)]
    assert [type(event) for event in events] == [Garbage]
    kept = [value for value in vars(decoder).values() if isinstance(value, bytes)]
    assert sum(map(len, kept)) <= LIMIT + len(b"*XX\r")
    assert decoder.feed(b"\n" + framing.encode(b"ok")) == [Frame(b"ok")]


@pytest.mark.parametrize("framing", FRAMINGS, ids=repr)
def test_garbage_of_an_endless_line_is_told_before_its_end(framing: Framing) -> None:
    assert len(framing.decoder().feed(b"x" * 100)) == 1


@pytest.mark.parametrize("framing", FRAMINGS, ids=repr)
def test_blank_lines_are_neither_frames_nor_noise(framing: Framing) -> None:
    assert framing.decoder().feed(b"\n\r\n\n") == []


@pytest.mark.parametrize("framing", FRAMINGS, ids=repr)
def test_reset_forgets_a_half_read_line(framing: Framing) -> None:
    decoder = framing.decoder()
    decoder.feed(b"half a l")
    decoder.reset()
    assert decoder.feed(framing.encode(b"ok")) == [Frame(b"ok")]
    decoder.feed(b"x" * 100)
    decoder.reset()
    assert decoder.feed(framing.encode(b"ok")) == [Frame(b"ok")]


@pytest.mark.parametrize("framing", FRAMINGS, ids=repr)
def test_the_longest_payload_fits_and_one_more_byte_is_refused(framing: Framing) -> None:
    longest = b"x" * LIMIT
    assert framing.decoder().feed(framing.encode(longest)) == [Frame(longest)]
    with pytest.raises(ValueError, match="13 bytes; the limit is 12"):
        framing.encode(longest + b"x")


@pytest.mark.parametrize("framing", FRAMINGS, ids=repr)
def test_a_carriage_return_does_not_count_towards_the_limit(framing: Framing) -> None:
    line = framing.encode(b"x" * LIMIT).replace(b"\n", b"\r\n")
    every_byte = list(range(len(line)))
    assert sliced(framing.decoder(), line, every_byte) == [Frame(b"x" * LIMIT)]


@pytest.mark.parametrize("payload", [b"a\nb", b"a\rb", b"a\r", b"\n"])
@pytest.mark.parametrize("framing", FRAMINGS, ids=repr)
def test_a_line_end_within_a_payload_is_refused(framing: Framing, payload: bytes) -> None:
    with pytest.raises(ValueError, match="line end"):
        framing.encode(payload)


@pytest.mark.parametrize("kind", [Line, CheckedLine])
def test_a_limit_below_one_is_refused(kind: type[Line] | type[CheckedLine]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        kind(limit=0)


def test_a_plain_line_refuses_an_empty_payload() -> None:
    with pytest.raises(ValueError, match="empty"):
        Line().encode(b"")
