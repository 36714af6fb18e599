"""SLIP on the wire, as RFC 1055 has it."""

from __future__ import annotations

import pytest

from gateway.framing import Frame, Garbage, Slip, checksums

END = b"\xc0"


def test_it_begins_and_ends_with_an_end_as_the_sample_code_does() -> None:
    assert Slip().encode(b"packet") == b"\xc0packet\xc0"
    assert Slip(leading=False).encode(b"packet") == b"packet\xc0"


@pytest.mark.parametrize(
    ("payload", "escaped"),
    [
        (b"\xc0", b"\xdb\xdc"),
        (b"\xdb", b"\xdb\xdd"),
        (b"\xdb\xdc", b"\xdb\xdd\xdc"),
        (b"\xdb\xdd", b"\xdb\xdd\xdd"),
        (b"\xc0\xdb\xc0", b"\xdb\xdc\xdb\xdd\xdb\xdc"),
        (b"\xdc\xdd", b"\xdc\xdd"),
    ],
)
def test_marks_within_are_escaped(payload: bytes, escaped: bytes) -> None:
    assert Slip().encode(payload) == END + escaped + END
    assert Slip().decoder().feed(END + escaped + END) == [Frame(payload)]


@pytest.mark.parametrize("packet", [b"a\xdb", b"\xdba", b"\xdb\xdb\xdc", b"\xdb\xdb"])
def test_a_wrong_escape_is_garbage(packet: bytes) -> None:
    assert Slip().decoder().feed(packet + END) == [Garbage(packet, "wrong escape")]


def test_a_leading_end_saves_the_frame_from_the_noise_before_it() -> None:
    events = (
        Slip(checksum=checksums.CRC16_CCITT)
        .decoder()
        .feed(b"noise" + Slip(checksum=checksums.CRC16_CCITT).encode(b"ok"))
    )
    assert events == [Garbage(b"noise", "wrong checksum"), Frame(b"ok")]


def test_a_packet_is_measured_by_its_payload() -> None:
    decoder = Slip(limit=4).decoder()
    assert decoder.feed(Slip(limit=4).encode(END * 4)) == [Frame(END * 4)]
    assert decoder.feed(b"abcde" + END) == [Garbage(b"abcd", "longer than 4 bytes")]
    assert decoder.feed(b"abcdefghi") == [Garbage(b"abcd", "longer than 4 bytes")]
    assert decoder.feed(b"jkl" + END + b"ok" + END) == [Frame(b"ok")]


def test_a_checksum_makes_a_frame_of_an_empty_payload() -> None:
    framing = Slip(checksum=checksums.CRC8)
    assert framing.decoder().feed(framing.encode(b"")) == [Frame(b"")]
