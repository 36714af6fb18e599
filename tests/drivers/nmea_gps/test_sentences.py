"""What the sentences of receivers say, and what of it is nonsense."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.nmea_gps.sentences import Gga, Gsv, InView, Rmc, Vtg, parse
from gateway.errors import ProtocolError


def test_a_fix_has_its_place_in_degrees_and_its_height_in_metres() -> None:
    fix = parse(b"GNGGA,101530.25,3352.128,S,15112.558,E,4,12,0.6,42.5,M,22.1,M,1.0,0120")
    assert fix == Gga(
        time=time(10, 15, 30, 250_000, UTC),
        latitude=-33.8688,
        longitude=151.2093,
        quality="rtk",
        satellites=12,
        hdop=0.6,
        altitude=42.5,
        separation=22.1,
    )


def test_a_receiver_without_a_fix_leaves_out_what_it_does_not_know() -> None:
    assert parse(b"GPGGA,,,,,,0,00,99.99,,,,,,") == Gga(
        None, None, None, "none", 0, 99.99, None, None
    )
    assert parse(b"GPRMC,,V,,,,,,,,,,N") == Rmc(None, False, None, None, None, None)


def test_the_recommended_minimum_has_speed_in_metres_a_second() -> None:
    assert parse(b"GLRMC,235959,A,0000.0,N,00030.0,W,10.0,271.5,311229,,,A") == Rmc(
        when=datetime(2029, 12, 31, 23, 59, 59, tzinfo=UTC),
        valid=True,
        latitude=0.0,
        longitude=-0.5,
        speed=5.144,
        course=271.5,
    )


def test_speed_and_course_may_come_by_themselves() -> None:
    assert parse(b"GPVTG,,T,,M,0.0,N,36.0,K,A") == Vtg(10.0, None)


def test_satellites_in_view_come_with_and_without_a_signals_number() -> None:
    part = parse(b"GAGSV,2,2,05,36,12,045,33,7")
    assert part == Gsv("Galileo", 2, 2, 5, (InView(36, 12, 45, 33),), "7")
    part = parse(b"GBGSV,1,1,02,08,,,18,10,68,208,")
    assert part == Gsv(
        "BeiDou", 1, 1, 2, (InView(8, None, None, 18), InView(10, 68, 208, None)), ""
    )


@pytest.mark.parametrize(
    "payload",
    [
        b"GPGLL,4717.11,N,00833.91,E,092321,A",
        b"PUBX,00,1",
        b"SDDBT,1,f,2,M,3,F",
        b"GP",
        b"\xff\xfeGGA,",
    ],
)
def test_other_sentences_are_none_of_ours(payload: bytes) -> None:
    assert parse(payload) is None


@pytest.mark.parametrize(
    "payload",
    [
        b"GPGGA,1",
        b"GPGGA,250000,,,,,0,00,99.99,,,,,,",
        b"GPGGA,12:0:0,,,,,0,00,99.99,,,,,,",
        b"GPGGA,,9100.0,N,00000.0,E,1,04,1.0,,,,,,",
        b"GPGGA,,4500.0,N,18100.0,E,1,04,1.0,,,,,,",
        b"GPGGA,,4560.0,N,00000.0,E,1,04,1.0,,,,,,",
        b"GPGGA,,4500.0,E,00000.0,E,1,04,1.0,,,,,,",
        b"GPGGA,,4500.0,,00000.0,E,1,04,1.0,,,,,,",
        b"GPGGA,,,,,,9,00,99.99,,,,,,",
        b"GPGGA,,,,,,1,four,99.99,,,,,,",
        b"GPGGA,,,,,,1,04,nan,,,,,,",
        b"GPGGA,,,,,,1,04,1e9,,,,,,",
        b"GPRMC,,A,,,,,,,310230,,,A",
        b"GPRMC,,A,,,,,,,3102,,,A",
        b"GPGSV,2,3,05",
        b"GPGSV,x,1,05",
        b"GPGSV,1,1,05,\xb2,1,1,1",
    ],
)
def test_nonsense_behind_a_right_checksum_is_a_protocol_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(payload)


def test_a_leap_second_is_the_last_moment_before_it() -> None:
    fix = parse(b"GPGGA,235960.5,,,,,0,00,99.99,,,,,,")
    assert isinstance(fix, Gga)
    assert fix.time == time(23, 59, 59, 999_999, UTC)


FIELDS = st.one_of(
    st.sampled_from([b"", b"A", b"N", b"1", b"0", b"1200.5", b"235959.99", b"311229", b"-1"]),
    st.binary(max_size=8),
)


@given(
    head=st.sampled_from([b"GPGGA", b"GNRMC", b"GLVTG", b"GAGSV"]),
    fields=st.lists(FIELDS, max_size=24),
)
def test_any_fields_are_a_sentence_or_a_protocol_error(head: bytes, fields: list[bytes]) -> None:
    try:
        assert parse(b",".join([head, *fields])) is not None or not fields
    except ProtocolError:
        pass


@given(payload=st.binary(max_size=100))
def test_any_bytes_are_read_without_a_bug(payload: bytes) -> None:
    try:
        parse(payload)
    except ProtocolError:
        pass
