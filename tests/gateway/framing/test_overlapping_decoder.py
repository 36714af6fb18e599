"""Frames that share bytes, held against the plain truth: every stretch of a stream is tried."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.framing import Delimited, Fixed, Frame, Garbage, LengthPrefixed
from gateway.framing import checksums as sums
from gateway.framing.fixed import FixedShape
from gateway.framing.length_prefixed import LengthPrefixedShape
from gateway.framing.overlapping_decoder import OverlappingDecoder
from tests.gateway.framing.wires import Events, payloads, sliced

Scanned = LengthPrefixed | Fixed | Delimited

FRAMINGS: list[Scanned] = [
    LengthPrefixed(4, checksum=sums.XOR8, overlapping=True),
    LengthPrefixed(4, start=b"\1", checksum=sums.SUM8, covers="start", overlapping=True),
    LengthPrefixed(3, start=b"\1\1", extra=1, checksum=sums.CRC8, overlapping=True),
    LengthPrefixed(5, size=2, checksum=sums.SUM8, covers="length", silence=0.1, overlapping=True),
    LengthPrefixed(9, checksum=sums.CRC16_XMODEM, overlapping=True),
    Fixed(1, checksum=sums.SUM8, overlapping=True),
    Fixed(4, checksum=sums.XOR8, overlapping=True),
    Fixed(3, start=b"\1\1\2", checksum=sums.XOR8, overlapping=True),
    Delimited(b"\3", start=b"\2", limit=4, checksum=sums.XOR8, overlapping=True),
    Delimited(b"\1\3", start=b"\2\2", limit=4, checksum=sums.XOR8, overlapping=True),
    Delimited(b"\0", start=b"\1", limit=3, checksum=sums.CRC16_XMODEM, overlapping=True),
]
"""Short and mostly checked by eight bits: a few bytes hold many frames, across and in others."""

framings = pytest.mark.parametrize("framing", FRAMINGS, ids=repr)
noise = st.lists(st.sampled_from([0, 1, 2, 3, 4]), max_size=12).map(bytes)


@st.composite
def streams(draw: st.DrawFn, framing: Scanned) -> bytes:
    """Return noise and frames, whole and in part, across others and in others."""
    stream = b""
    for _ in range(draw(st.integers(0, 8))):
        piece = draw(noise)
        for _ in range(draw(st.integers(0, 2))):
            if isinstance(framing, Delimited):
                piece = piece.replace(framing.start, b"").replace(framing.end, b"")
            size = framing.limit if isinstance(framing, Fixed) else min(len(piece), framing.limit)
            piece = encoded(framing, (piece + bytes(size))[:size]) or piece
        # A frame may begin with what the one before it ends with.
        shared = [at for at in range(1, len(piece)) if stream.endswith(piece[:at])]
        begin, is_across = draw(st.integers(0, 1)), draw(st.booleans())
        if shared and is_across:
            begin = shared[-1]
        stream += piece[begin : len(piece) - draw(st.integers(0, 1))]
    return stream


def encoded(framing: Scanned, payload: bytes) -> bytes | None:
    """Return the frame around ``payload``, or None where there can be none."""
    try:
        return framing.encode(payload)
    except ValueError:
        return None


def frames_in(framing: Scanned, stream: bytes) -> list[tuple[int, int, bytes]]:
    """Return end, begin and payload of each stretch of ``stream`` that ``framing`` could write."""
    found = set()
    for begin in range(len(stream) + 1):
        for size in range(framing.limit + 1):
            payload = stream[begin : begin + size]
            raw = encoded(framing, payload)
            at = -1 if raw is None else stream.find(raw)
            while raw is not None and at >= 0:
                found.add((at + len(raw), at, payload))
                at = stream.find(raw, at + 1)
    return sorted(found)


def stretches_outside(frames: list[tuple[int, int, bytes]], stream: bytes) -> list[bytes]:
    """Return what is in none of ``frames``, in one piece where no frame is between."""
    inside = {at for end, begin, _ in frames for at in range(begin, end)}
    stretches = [b""]
    for at in range(len(stream)):
        if at in inside:
            stretches.append(b"")
        else:
            stretches[-1] += stream[at : at + 1]
    return [each for each in stretches if each]


@framings
@given(data=st.data())
def test_each_stretch_that_is_a_valid_frame_comes_out_with_its_last_byte(
    framing: Scanned, data: st.DataObject
) -> None:
    stream = data.draw(streams(framing))
    decoder = framing.decoder()
    came = [
        (end, payload)
        for end in range(1, len(stream) + 1)
        for payload in payloads(decoder.feed(stream[end - 1 : end]))
    ]
    assert came == [(end, payload) for end, _, payload in frames_in(framing, stream)]
    assert payloads(decoder.expire()) == []


@framings
@given(data=st.data())
def test_what_is_in_no_frame_is_told_once_and_in_wire_order(
    framing: Scanned, data: st.DataObject
) -> None:
    stream = data.draw(streams(framing))
    decoder = framing.decoder()
    events = decoder.feed(stream) + decoder.expire()
    told = [event.raw for event in events if isinstance(event, Garbage)]
    outside = stretches_outside(frames_in(framing, stream), stream)
    assert told == [stretch[: framing.limit] for stretch in outside]


@framings
@given(data=st.data(), cuts=st.lists(st.integers(0, 150), max_size=8))
def test_slicing_never_changes_the_events(
    framing: Scanned, data: st.DataObject, cuts: list[int]
) -> None:
    stream = data.draw(streams(framing))
    whole, cut, bytewise = (framing.decoder() for _ in range(3))
    expected = whole.feed(stream)
    assert sliced(cut, stream, cuts) == expected
    assert sliced(bytewise, stream, range(len(stream))) == expected
    assert whole.expire() == cut.expire() == bytewise.expire()


CHECKED = LengthPrefixed(16, start=b"\xaa", checksum=sums.SUM8, overlapping=True)


def test_noise_that_nothing_can_claim_is_told_before_the_frame_behind_it() -> None:
    wanted = CHECKED.encode(b"wanted")
    events = CHECKED.decoder().feed(b"oops" + wanted)
    assert events == [Garbage(b"oops", "no start mark"), Frame(b"wanted")]


def test_what_has_begun_earlier_may_still_claim_the_noise_before_a_frame() -> None:
    decoder = CHECKED.decoder()
    wanted = CHECKED.encode(b"wanted")
    assert decoder.feed(b"oops\xaa\x10" + wanted) == [Frame(b"wanted")]
    assert decoder.feed(b"!" * 20 + wanted) == [
        Garbage(b"oops\xaa\x10", "no start mark"),
        Garbage(b"!" * 16, "no start mark"),
        Frame(b"wanted"),
    ]


def test_a_frame_comes_before_the_one_around_it() -> None:
    inner = CHECKED.encode(b"inner")
    assert CHECKED.decoder().feed(CHECKED.encode(inner)) == [Frame(b"inner"), Frame(inner)]


def test_a_checksum_may_begin_the_next_frame() -> None:
    framing = Delimited(b"\3", start=b"\2", checksum=sums.XOR8, overlapping=True)
    first, second = framing.encode(b"\1"), framing.encode(b"\4")
    assert first[-1:] == second[:1]
    assert framing.decoder().feed(first + second[1:]) == [Frame(b"\1"), Frame(b"\4")]


def test_of_two_that_end_together_the_longer_one_comes_first() -> None:
    framing = LengthPrefixed(4, checksum=sums.XOR8, overlapping=True)
    assert framing.decoder().feed(b"\3\1\1\2\2") == [Frame(b"\1\1\2"), Frame(b"\2")]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"!", "no start mark"),
        (b"\xaa\x11", "longer than 16 bytes"),
        (b"\xaa\x01xy", "wrong checksum"),
        (b"\xaa\x03xy", "broken off by silence"),
        (b"\xaa", "broken off by silence"),
    ],
)
def test_noise_is_told_with_what_is_wrong_with_its_first_byte(raw: bytes, reason: str) -> None:
    decoder = CHECKED.decoder()
    assert decoder.feed(CHECKED.encode(b"ok") + raw) == [Frame(b"ok")]
    assert decoder.expire() == [Garbage(raw, reason)]
    assert decoder.expire() == []


def test_half_a_start_mark_is_broken_off_by_silence() -> None:
    decoder = Fixed(3, start=b"\1\1\2", checksum=sums.XOR8, overlapping=True).decoder()
    assert decoder.feed(b"\1\1") == []
    assert decoder.expire() == [Garbage(b"\1\1", "broken off by silence")]


def test_silence_ends_what_has_begun() -> None:
    decoder = CHECKED.decoder()
    raw = CHECKED.encode(b"wanted")
    assert decoder.feed(raw[:4]) == []
    assert decoder.expire() == [Garbage(raw[:4], "broken off by silence")]
    assert decoder.feed(raw[4:]) == []
    assert decoder.feed(raw) == [Garbage(raw[4:], "no start mark"), Frame(b"wanted")]


class Meter(LengthPrefixedShape):
    """A shape that counts what is asked of it, and how many candidates were open then."""

    decoder: OverlappingDecoder

    def __init__(self, framing: LengthPrefixed) -> None:
        super().__init__(framing)
        self.measured = self.unpacked = self.most_open = 0

    def measure(self, held: bytes, at: int) -> int:
        self.measured += 1
        self.most_open = max(self.most_open, len(self.decoder._open), len(self.decoder._begun))
        return super().measure(held, at)

    def unpack(self, candidate: bytes) -> bytes | None:
        self.unpacked += 1
        return super().unpack(candidate)


HOSTILE = [b"\x20", b"\x00", b"\x20\x00", b"\x01\x01", b"\x03\x02\x01\x00"]


@pytest.mark.parametrize("pattern", HOSTILE, ids=repr)
@pytest.mark.parametrize("piece", [1, 7, 4000])
def test_a_byte_costs_one_checksum_whatever_the_sender_means_by_it(
    pattern: bytes, piece: int
) -> None:
    meter = Meter(LengthPrefixed(32, checksum=sums.XOR8))
    decoder = meter.decoder = OverlappingDecoder(meter)
    stream = (pattern * 4000)[:4000]
    for at in range(0, len(stream), piece):
        decoder.feed(stream[at : at + piece])
    assert meter.unpacked <= len(stream)
    # Once to find it, once in a read that did not suffice, once as what a stretch begins with.
    assert meter.measured <= 3 * len(stream)
    assert meter.most_open <= meter.longest


@pytest.mark.parametrize("pattern", HOSTILE, ids=repr)
@pytest.mark.parametrize("piece", [1, 7, 4000])
def test_no_more_is_kept_than_one_longest_frame_and_as_many_candidates(
    pattern: bytes, piece: int
) -> None:
    for shape in (
        LengthPrefixedShape(LengthPrefixed(32, checksum=sums.XOR8)),
        FixedShape(Fixed(32, checksum=sums.XOR8)),
    ):
        decoder = OverlappingDecoder(shape)
        for at in range(0, 8000, piece):
            decoder.feed((pattern * 4000)[at % 4 :][:piece])
            for kept in (decoder._held, decoder._open, decoder._begun, decoder._frames):
                assert len(kept) <= shape.longest
            assert len(decoder._noise) <= shape.limit


@pytest.mark.parametrize(
    "make",
    [
        lambda: LengthPrefixed(overlapping=True),
        lambda: LengthPrefixed(start=b"\xaa", overlapping=True),
        lambda: Fixed(4, overlapping=True),
        lambda: Delimited(b"\3", start=b"\2", overlapping=True),
    ],
)
def test_without_a_checksum_nothing_tells_what_overlaps(make) -> None:
    with pytest.raises(ValueError, match="told by their checksum"):
        make()


def test_it_is_off_unless_said() -> None:
    events: Events = []
    for framing in (
        LengthPrefixed(16, checksum=sums.SUM8),
        LengthPrefixed(16, checksum=sums.SUM8, overlapping=True),
    ):
        events += framing.decoder().feed(bytes.fromhex("02 01 02 03 0a 0b 0c 21"))
    assert payloads(events) == [b"\1\2", b"\1\2", b"\x0a\x0b\x0c"]
