"""COBS on the wire: the published examples, and damage."""

from __future__ import annotations

import pytest

from gateway.framing import Cobs, Frame, Garbage, checksums

NONZERO = bytes(range(1, 255))


@pytest.mark.parametrize(
    ("payload", "wire"),
    [
        (b"", "01 00"),
        (b"\0", "01 01 00"),
        (b"\0\0", "01 01 01 00"),
        (b"\x11\x22\0\x33", "03 11 22 02 33 00"),
        (b"\x11\0\0\0", "02 11 01 01 01 00"),
        (NONZERO, "ff " + NONZERO.hex(" ") + " 00"),
        (b"\0" + NONZERO, "01 ff " + NONZERO.hex(" ") + " 00"),
        (NONZERO + b"\xff", "ff " + NONZERO.hex(" ") + " 02 ff 00"),
    ],
    ids=range(8),
)
def test_it_stuffs_as_published(payload: bytes, wire: str) -> None:
    framing = Cobs()
    assert framing.encode(payload) == bytes.fromhex(wire)
    assert framing.decoder().feed(bytes.fromhex(wire)) == [Frame(payload)]


def test_the_longer_form_of_a_full_block_is_read_as_well() -> None:
    assert Cobs().decoder().feed(b"\xff" + NONZERO + b"\x01\0") == [Frame(NONZERO)]


def test_zeros_between_frames_are_neither_frames_nor_noise() -> None:
    assert Cobs().decoder().feed(b"\0\0\0") == []


def test_a_leading_zero_saves_the_frame_from_the_noise_before_it() -> None:
    noise = b"\x30noise"
    events = Cobs(leading=True).decoder().feed(noise + Cobs(leading=True).encode(b"ok"))
    assert events == [Garbage(noise, "not COBS"), Frame(b"ok")]
    assert Cobs().decoder().feed(noise + Cobs().encode(b"ok"))[1:] == []


def test_the_checksum_is_stuffed_with_the_payload() -> None:
    framing = Cobs(checksum=checksums.SUM8)
    assert framing.encode(b"\x80\x80") == b"\x03\x80\x80\x01\0"
    assert framing.decoder().feed(b"\x03\x80\x81\x01\0") == [
        Garbage(b"\x03\x80\x81\x01", "wrong checksum")
    ]


def test_a_packet_is_measured_by_its_payload() -> None:
    decoder = Cobs(limit=4).decoder()
    # As long on the wire as four bytes may be at most, and five when unstuffed.
    assert decoder.feed(b"\x05abcd\0") == [Frame(b"abcd")]
    assert decoder.feed(b"\x06abcde\0") == [Garbage(b"\x06abc", "longer than 4 bytes")]
    assert decoder.feed(b"\x05abcd\0") == [Frame(b"abcd")]
