"""Frames between marks: what a mark may be, and what is refused."""

from __future__ import annotations

import pytest

from gateway.framing import Delimited, Frame, Garbage, checksums
from tests.gateway.framing.wires import sliced


def test_an_end_mark_of_several_bytes_may_come_in_pieces() -> None:
    framing = Delimited(b"OK\r\n", limit=8)
    stream = framing.encode(b"a") + framing.encode(b"O") + framing.encode(b"OOK\r")
    expected = [Frame(b"a"), Frame(b"O"), Frame(b"OOK\r")]
    assert sliced(framing.decoder(), stream, range(len(stream))) == expected


def test_the_mark_that_ends_a_condemned_frame_may_come_in_pieces() -> None:
    decoder = Delimited(b"\r\n", limit=4).decoder()
    assert decoder.feed(b"far too long") == [Garbage(b"far ", "longer than 4 bytes")]
    assert decoder.feed(b"\r") == []
    assert decoder.feed(b"\nok\r\n") == [Frame(b"ok")]


def test_silence_gives_up_what_has_no_end() -> None:
    decoder = Delimited(b"\r", limit=8, silence=0.1).decoder()
    assert decoder.feed(b"hal") == []
    assert decoder.expire() == [Garbage(b"hal", "broken off by silence")]
    assert decoder.feed(b"whole\r") == [Frame(b"whole")]
    assert decoder.feed(b"far too long") == [Garbage(b"far too ", "longer than 8 bytes")]
    assert decoder.expire() == []
    assert decoder.feed(b"whole\r") == [Frame(b"whole")]


def test_a_start_mark_always_begins_anew() -> None:
    framing = Delimited(b"\x03", start=b"\x02", limit=8)
    events = framing.decoder().feed(b"\x02half" + framing.encode(b"whole"))
    assert events == [Garbage(b"\x02half", "no end mark"), Frame(b"whole")]


def test_a_start_mark_that_repeats_itself_is_found_behind_its_own_first_byte() -> None:
    framing = Delimited(b"\n", start=b"##", limit=8)
    assert framing.decoder().feed(b"#" + framing.encode(b"ok"))[-1] == Frame(b"ok")


def test_the_block_check_covers_payload_and_end_mark() -> None:
    # A data message of IEC 62056-21 begins at STX and is checked through ETX.
    framing = Delimited(b"\x03", start=b"\x02", checksum=checksums.XOR8)
    assert framing.encode(b"1.8.0(1)\r\n") == b"\x021.8.0(1)\r\n\x03\x0d"
    assert framing.decoder().feed(b"\x021.8.0(1)\r\n\x03\x0d") == [Frame(b"1.8.0(1)\r\n")]


def test_a_checksum_may_look_like_a_mark() -> None:
    framing = Delimited(b"\x03", start=b"\x02", checksum=checksums.XOR8)
    for payload in (b"\x01", b"\x00"):  # whose checksums are STX and ETX
        wire = framing.encode(payload)
        assert wire[-1:] in (b"\x02", b"\x03")
        assert framing.decoder().feed(wire * 2) == [Frame(payload)] * 2


@pytest.mark.parametrize(
    ("framing", "payload"),
    [
        (Delimited(b"\r"), b"a\rb"),
        (Delimited(b"\r\n"), b"a\r\n"),
        (Delimited(b"##"), b"a#"),
        (Delimited(b"\x03", start=b"\x02"), b"\x02"),
        (Delimited(b"\x03", start=b"\x02"), b"a\x03"),
        (Delimited(b"\n", start=b"##"), b"#a"),
    ],
    ids=repr,
)
def test_a_mark_within_a_payload_or_across_its_edges_is_refused(
    framing: Delimited, payload: bytes
) -> None:
    with pytest.raises(ValueError, match="a mark within the payload"):
        framing.encode(payload)


@pytest.mark.parametrize(
    ("end", "start"),
    [(b"~", b"~"), (b"~!", b"~"), (b"!~", b"~"), (b"\r\n", b"\r\n:"), (b"ba", b"ab")],
)
def test_marks_that_overlap_are_refused(end: bytes, start: bytes) -> None:
    with pytest.raises(ValueError, match="overlap; Slip has one mark for both"):
        Delimited(end, start=start)


def test_no_end_mark_and_a_checksum_without_a_start_mark_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 byte"):
        Delimited(b"")
    with pytest.raises(ValueError, match="needs a start mark"):
        Delimited(b"\r", checksum=checksums.CRC8)
