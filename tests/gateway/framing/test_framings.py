"""What holds for every framing: slices mean nothing, noise is a value, memory is bounded."""

from __future__ import annotations

from random import Random, SystemRandom

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.framing import ExpiringDecoder, Frame, Garbage
from tests.fuzz.framing import bytes_kept, soak
from tests.fuzz.specimens import LIMIT, SPECIMENS, Specimen, encodable
from tests.gateway.framing.wires import Events, payloads, read, sliced

INPUTS = 1_000
"""Of the million that `tests.fuzz.framing` feeds each framing."""

specimens = pytest.mark.parametrize("specimen", SPECIMENS, ids=str)
expiring = pytest.mark.parametrize(
    "specimen", [each for each in SPECIMENS if each.framing.silence is not None], ids=str
)
SLICED = [each for each in SPECIMENS if each.sliced]
parts = st.lists(
    st.one_of(st.binary(max_size=LIMIT), st.integers(min_value=0)), min_size=1, max_size=8
)


def a_stream(specimen: Specimen, drawn: list[bytes | int]) -> bytes:
    """Return bytes as drawn, with noise of the specimen's own kind for each number."""
    return b"".join(
        each if isinstance(each, bytes) else specimen.make_noise(Random(each)) for each in drawn
    )


@specimens
def test_random_and_mutated_inputs_neither_raise_nor_grow_nor_hide_a_frame(
    specimen: Specimen,
) -> None:
    tally = soak(specimen, INPUTS, seed=SystemRandom().randrange(1 << 32))
    assert tally.embedded > INPUTS
    assert tally.recovered + tally.replaced == tally.embedded
    assert tally.replaced < tally.embedded / 20


@pytest.mark.parametrize("specimen", SLICED, ids=str)
@given(drawn=parts, cuts=st.lists(st.integers(min_value=0, max_value=400)))
def test_slicing_never_changes_what_is_read(
    specimen: Specimen, drawn: list[bytes | int], cuts: list[int]
) -> None:
    stream = a_stream(specimen, drawn)
    whole, cut, bytewise = (specimen.framing.decoder() for _ in range(3))
    expected = whole.feed(stream)
    assert sliced(cut, stream, cuts) == expected
    assert sliced(bytewise, stream, range(len(stream))) == expected
    for decoder in (whole, cut, bytewise):
        assert bytes_kept(decoder) <= specimen.bound
    if isinstance(whole, ExpiringDecoder):
        rest = whole.expire()
        for decoder in (cut, bytewise):
            assert isinstance(decoder, ExpiringDecoder)
            assert decoder.expire() == rest


@specimens
@given(data=st.data())
def test_what_is_encoded_is_read_back(specimen: Specimen, data: st.DataObject) -> None:
    smallest, largest = specimen.sizes
    payload = data.draw(
        st.binary(min_size=smallest, max_size=largest).filter(
            lambda drawn: encodable(specimen.framing, drawn)
        )
    )
    events = read(specimen.framing, specimen.framing.encode(payload))
    # A payload may hold a valid frame, which comes as well where frames overlap.
    assert events == [Frame(payload)] or (specimen.overlapping and Frame(payload) in events)


@specimens
def test_frames_that_follow_each_other_are_all_read(specimen: Specimen) -> None:
    random = Random(specimen.name)
    decoder = specimen.framing.decoder()
    sent = [specimen.make_payload(random) for _ in range(50)]
    events: Events = []
    for payload in sent:
        events += decoder.feed(specimen.framing.encode(payload))
        if specimen.clear is None:  # silence is all that keeps them apart
            assert isinstance(decoder, ExpiringDecoder)
            events += decoder.expire()
    assert events == [Frame(payload) for payload in sent]


@specimens
def test_endless_noise_costs_no_memory(specimen: Specimen) -> None:
    random = Random(specimen.name)
    for noise in (b"\xff", b"x", bytes(random.choices(specimen.marks, k=1)), None):
        decoder = specimen.framing.decoder()
        for _ in range(40):
            for event in decoder.feed(random.randbytes(997) if noise is None else noise * 997):
                if isinstance(event, Garbage):
                    assert len(event.raw) <= LIMIT + len("*XX")
            assert bytes_kept(decoder) <= specimen.bound


@specimens
def test_reset_forgets_a_half_read_frame(specimen: Specimen) -> None:
    payload = specimen.make_payload(Random(specimen.name))
    frame = specimen.framing.encode(payload)
    decoder = specimen.framing.decoder()
    for cut in range(1, len(frame)):
        decoder.feed(frame[:cut])
        decoder.reset()
        assert bytes_kept(decoder) == 0
    decoder.feed(b"\xff" * 3 * LIMIT)
    decoder.reset()
    events = decoder.feed(frame)
    if specimen.framing.silence is not None:
        assert isinstance(decoder, ExpiringDecoder)
        events += decoder.expire()
    assert events == [Frame(payload)]


@expiring
@given(half=st.integers(min_value=0), drawn=parts)
def test_after_silence_the_next_frame_is_read_whatever_came_before(
    specimen: Specimen, half: int, drawn: list[bytes | int]
) -> None:
    payload = specimen.make_payload(Random(half))
    frame = specimen.framing.encode(payload)
    decoder = specimen.framing.decoder()
    assert isinstance(decoder, ExpiringDecoder)
    decoder.feed(a_stream(specimen, drawn) + frame[: half % len(frame)])
    decoder.expire()
    assert decoder.expire() == []
    assert decoder.feed(frame) + decoder.expire() == [Frame(payload)]


@specimens
def test_too_much_for_one_frame_is_refused(specimen: Specimen) -> None:
    smallest, largest = specimen.sizes
    longest = b"x" * largest
    assert payloads(read(specimen.framing, specimen.framing.encode(longest))) == [longest]
    with pytest.raises(ValueError, match=f"{largest + 1} bytes; "):
        specimen.framing.encode(longest + b"x")
    if smallest == largest:
        with pytest.raises(ValueError, match=f"each has {largest} here"):
            specimen.framing.encode(longest[:-1])


@specimens
def test_a_payload_of_no_bytes_is_a_frame_or_refused(specimen: Specimen) -> None:
    if encodable(specimen.framing, b""):
        assert read(specimen.framing, specimen.framing.encode(b"")) == [Frame(b"")]
    else:
        with pytest.raises(ValueError, match=r"empty payload|0 bytes"):
            specimen.framing.encode(b"")


@specimens
def test_it_says_what_it_is(specimen: Specimen) -> None:
    name = type(specimen.framing).__name__
    assert repr(specimen.framing).startswith(name + "(")
    assert " at 0x" not in repr(specimen.framing)


@specimens
def test_silence_is_promised_only_by_decoders_that_can_expire(specimen: Specimen) -> None:
    if specimen.framing.silence is not None:
        assert isinstance(specimen.framing.decoder(), ExpiringDecoder)
