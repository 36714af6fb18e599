"""Frames that say how long they are: their shapes, and how a false one is got over."""

from __future__ import annotations

import pytest

from gateway.framing import Frame, Garbage, LengthPrefixed, checksums


@pytest.mark.parametrize(
    ("framing", "wire"),
    [
        (LengthPrefixed(), "03 61 62 63"),
        (LengthPrefixed(size=2), "00 03 61 62 63"),
        (LengthPrefixed(size=2, order="little"), "03 00 61 62 63"),
        (LengthPrefixed(size=4, order="little"), "03 00 00 00 61 62 63"),
        (LengthPrefixed(start=b"\xb5\x62"), "b5 62 03 61 62 63"),
        (LengthPrefixed(limit=9, extra=2), "05 61 62 63"),
        (LengthPrefixed(checksum=checksums.SUM8), "03 61 62 63 26"),
        (LengthPrefixed(checksum=checksums.SUM8, covers="length"), "03 61 62 63 29"),
        (LengthPrefixed(start=b"\x10", checksum=checksums.SUM8, covers="length"), None),
        (LengthPrefixed(start=b"\x10", checksum=checksums.SUM8, covers="start"), None),
    ],
    ids=repr,
)
def test_its_shape_is_as_described(framing: LengthPrefixed, wire: str | None) -> None:
    wire = wire or f"10 03 61 62 63 {0x29 if framing.covers == 'length' else 0x39:02x}"
    assert framing.encode(b"abc") == bytes.fromhex(wire)
    assert framing.decoder().feed(bytes.fromhex(wire)) == [Frame(b"abc")]


CHECKED = LengthPrefixed(16, start=b"\xaa", checksum=checksums.CRC16_CCITT)


def test_a_frame_that_a_false_start_has_swallowed_is_found() -> None:
    decoder = CHECKED.decoder()
    wanted = CHECKED.encode(b"wanted")
    assert decoder.feed(b"\xaa\x10" + wanted) == []  # it may still be one of 16 bytes
    events = decoder.feed(CHECKED.encode(b"and the next"))
    assert events == [
        Garbage(b"\xaa\x10", "wrong checksum"),
        Frame(b"wanted"),
        Frame(b"and the next"),
    ]


def test_silence_finds_it_at_once() -> None:
    decoder = LengthPrefixed(
        16, start=b"\xaa", checksum=checksums.CRC16_CCITT, silence=0.1
    ).decoder()
    assert decoder.feed(b"\xaa\x10" + CHECKED.encode(b"wanted")) == []
    assert decoder.expire() == [Garbage(b"\xaa\x10", "broken off by silence"), Frame(b"wanted")]


def test_a_length_beyond_the_limit_is_no_frame() -> None:
    events = CHECKED.decoder().feed(b"\xaa\x11" + CHECKED.encode(b"ok"))
    assert events == [Garbage(b"\xaa\x11", "longer than 16 bytes"), Frame(b"ok")]


def test_a_length_below_what_it_always_counts_is_no_frame() -> None:
    framing = LengthPrefixed(16, start=b"\xaa", extra=3)
    events = framing.decoder().feed(b"\xaa\x02" + framing.encode(b"ok"))
    assert [type(event) for event in events] == [Garbage, Frame]


def test_half_a_start_mark_at_the_end_of_noise_is_waited_for() -> None:
    framing = LengthPrefixed(16, start=b"\xaa\xaaU")
    decoder = framing.decoder()
    assert decoder.feed(b"n\xaa\xaa") == []
    assert decoder.feed(framing.encode(b"ok")) == [
        Garbage(b"n\xaa\xaa", "no start mark"),
        Frame(b"ok"),
    ]


def test_a_stretch_of_noise_is_one_garbage() -> None:
    decoder = CHECKED.decoder()
    events = [event for _ in range(100) for event in decoder.feed(b"noise, more noise")]
    assert events == [Garbage(b"noise, more nois", "no start mark")]
    assert decoder.feed(CHECKED.encode(b"ok")) == [Frame(b"ok")]
    assert decoder.feed(b"again" + CHECKED.encode(b"ok")) == [
        Garbage(b"again", "no start mark"),
        Frame(b"ok"),
    ]


@pytest.mark.parametrize(("limit", "extra"), [(256, 0), (255, 1), (10, -1)])
def test_a_limit_that_the_length_cannot_say_is_refused(limit: int, extra: int) -> None:
    with pytest.raises(ValueError, match="1 bytes of length cannot say"):
        LengthPrefixed(limit, extra=extra)
