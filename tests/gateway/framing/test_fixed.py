"""Frames of one size: what brings them back in step, and what does not."""

from __future__ import annotations

from gateway.framing import Fixed, Frame, Garbage, checksums


def test_without_mark_and_checksum_every_so_many_bytes_are_a_frame() -> None:
    assert Fixed(2).decoder().feed(b"abcde") == [Frame(b"ab"), Frame(b"cd")]


def test_silence_begins_a_new_frame() -> None:
    decoder = Fixed(4, silence=0.1).decoder()
    assert decoder.feed(b"abcdlo") == [Frame(b"abcd")]
    assert decoder.expire() == [Garbage(b"lo", "broken off by silence")]
    assert decoder.feed(b"efgh") == [Frame(b"efgh")]


def test_a_checksum_alone_finds_frames_after_a_lost_byte() -> None:
    framing = Fixed(4, checksum=checksums.CRC32)
    stream = framing.encode(b"abcd")[1:] + framing.encode(b"efgh") + framing.encode(b"ijkl")
    assert [event for event in framing.decoder().feed(stream) if isinstance(event, Frame)] == [
        Frame(b"efgh"),
        Frame(b"ijkl"),
    ]


def test_a_mark_may_occur_in_a_payload() -> None:
    framing = Fixed(3, start=b"U", checksum=checksums.CRC8)
    assert framing.decoder().feed(framing.encode(b"UUU") * 3) == [Frame(b"UUU")] * 3
