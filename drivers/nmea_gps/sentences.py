"""What the sentences of a GPS receiver say (NMEA 0183, version 2.3 to 4.11).

Pure: a payload in, a value out. Empty fields are None: a receiver without a
fix leaves out what it does not know. Sentences of other kinds, proprietary ones
included, are None as a whole: a receiver may send what it likes.

Refused, as `ProtocolError`: a sentence of a kind that is known and whose fields
make no sense, such as a latitude of 91 degrees.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Final, NamedTuple

from gateway.errors import ProtocolError

SYSTEMS: Final = {
    "GP": "GPS",
    "GL": "GLONASS",
    "GA": "Galileo",
    "GN": "several",
    "GB": "BeiDou",
    "BD": "BeiDou",
    "GQ": "QZSS",
    "QZ": "QZSS",
    "GI": "NavIC",
}
"""Talkers, the first two letters of a sentence, and the system they stand for."""

QUALITIES: Final = (
    *("none", "gps", "dgps", "pps", "rtk", "float rtk", "estimated", "manual", "simulated"),
)
"""The qualities of a fix by their number in GGA."""

_KMH_PER_KNOT = 1.852
_NUMBER = re.compile(r"-?\d{1,9}(\.\d{1,9})?")
_TIME = re.compile(r"(\d\d)(\d\d)(\d\d)(?:\.(\d{1,9}))?")
_DATE = re.compile(r"(\d\d)(\d\d)(\d\d)")
_ANGLE = re.compile(r"(\d{2,3})(\d\d(?:\.\d{1,9})?)")


class Gga(NamedTuple):
    """A fix. Degrees north and east, metres above the sea, the UTC time of day."""

    time: time | None
    latitude: float | None
    longitude: float | None
    quality: str
    satellites: int | None
    hdop: float | None
    altitude: float | None
    separation: float | None


class Rmc(NamedTuple):
    """The least that a receiver recommends: date and time, place, speed (m/s) and course."""

    when: datetime | None
    valid: bool
    latitude: float | None
    longitude: float | None
    speed: float | None
    course: float | None


class Vtg(NamedTuple):
    """Speed over ground in m/s, and the course in degrees from true north."""

    speed: float | None
    course: float | None


class InView(NamedTuple):
    """One satellite; degrees above the horizon and from true north, signal in dB-Hz."""

    number: int
    elevation: int | None
    azimuth: int | None
    signal: int | None


class Gsv(NamedTuple):
    """One of ``parts`` sentences that together name the satellites in view."""

    system: str
    parts: int
    part: int
    in_view: int
    satellites: tuple[InView, ...]
    signal_id: str


Sentence = Gga | Rmc | Vtg | Gsv


def is_from_a_receiver(payload: bytes) -> bool:
    """Say whether a satellite receiver sent ``payload``, and not a log or a sounder.

    >>> is_from_a_receiver(b"GNZDA,1"), is_from_a_receiver(b"SDDBT,1"), is_from_a_receiver(b"GP")
    (True, False, False)
    """
    return payload[5:6] == b"," and payload[:2].decode("latin-1") in SYSTEMS


def parse(payload: bytes) -> Sentence | None:
    """Return what ``payload`` says; None for a kind of sentence that is not read here.

    >>> parse(b"GPVTG,54.7,T,34.4,M,005.5,N,010.2,K,A")
    Vtg(speed=2.833, course=54.7)
    """
    if not is_from_a_receiver(payload):
        return None
    head, *fields = payload.decode("latin-1").split(",")
    reader = _READERS.get(head[2:])
    if reader is None:
        return None
    try:
        return reader(head[:2], fields)
    except IndexError:
        raise ProtocolError(f"{head} has {len(fields)} fields, which are too few") from None


def _gga(talker: str, fields: list[str]) -> Gga:
    quality = _whole(fields[5]) or 0
    if not 0 <= quality < len(QUALITIES):
        raise ProtocolError(f"there is no fix of quality {quality}")
    return Gga(
        time=_time(fields[0]),
        latitude=_angle(fields[1], fields[2], "NS", 90),
        longitude=_angle(fields[3], fields[4], "EW", 180),
        quality=QUALITIES[quality],
        satellites=_whole(fields[6]),
        hdop=_number(fields[7]),
        altitude=_number(fields[8]),
        separation=_number(fields[10]),
    )


def _rmc(talker: str, fields: list[str]) -> Rmc:
    day, moment = _date(fields[8]), _time(fields[0])
    knots = _number(fields[6])
    return Rmc(
        when=None if day is None or moment is None else datetime.combine(day, moment),
        valid=fields[1] == "A",
        latitude=_angle(fields[2], fields[3], "NS", 90),
        longitude=_angle(fields[4], fields[5], "EW", 180),
        speed=None if knots is None else round(knots * _KMH_PER_KNOT / 3.6, 3),
        course=_number(fields[7]),
    )


def _vtg(talker: str, fields: list[str]) -> Vtg:
    kmh = _number(fields[6])
    return Vtg(speed=None if kmh is None else round(kmh / 3.6, 3), course=_number(fields[0]))


def _gsv(talker: str, fields: list[str]) -> Gsv:
    parts, part, in_view = _whole(fields[0]), _whole(fields[1]), _whole(fields[2])
    if parts is None or part is None or not 1 <= part <= parts:
        raise ProtocolError(f"there is no part {fields[1]!r} of {fields[0]!r}")
    rest = fields[3:]
    # Four fields a satellite, and from version 4.10 on one for the signal.
    signal_id = rest.pop() if len(rest) % 4 == 1 else ""
    satellites = [
        InView(number, _whole(rest[at + 1]), _whole(rest[at + 2]), _whole(rest[at + 3]))
        for at in range(0, len(rest), 4)
        if (number := _whole(rest[at])) is not None
    ]
    return Gsv(SYSTEMS[talker], parts, part, in_view or 0, tuple(satellites), signal_id)


_READERS: dict[str, Callable[[str, list[str]], Sentence]] = {
    "GGA": _gga,
    "RMC": _rmc,
    "VTG": _vtg,
    "GSV": _gsv,
}


def _number(text: str) -> float | None:
    if not text:
        return None
    # Matched first: float() would also take "nan", "1e9" and "1_0".
    if not _NUMBER.fullmatch(text):
        raise ProtocolError(f"{text!r} is no number")
    return float(text)


def _whole(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ProtocolError(f"{text!r} is no whole number")
    return int(text)


def _angle(text: str, side: str, sides: str, most: int) -> float | None:
    """Return degrees of ``dddmm.mmmm``; those on the second of ``sides`` are below zero."""
    if not text:
        return None
    found = _ANGLE.fullmatch(text)
    if not found or len(side) != 1 or side not in sides:
        raise ProtocolError(f"{text!r} {side!r} is no place on earth")
    degrees = round(int(found[1]) + float(found[2]) / 60, 8)
    if float(found[2]) >= 60 or degrees > most:
        raise ProtocolError(f"{text!r} {side!r} is no place on earth")
    return -degrees if side == sides[1] else degrees


def _time(text: str) -> time | None:
    if not text:
        return None
    found = _TIME.fullmatch(text)
    if not found:
        raise ProtocolError(f"{text!r} is no time of day")
    hour, minute, second = map(int, found.group(1, 2, 3))
    microsecond = int((found[4] or "").ljust(6, "0")[:6])
    if second == 60:  # a leap second, for which Python's clock has no place
        second, microsecond = 59, 999_999
    try:
        return time(hour, minute, second, microsecond, UTC)
    except ValueError as error:
        raise ProtocolError(f"{text!r} is no time of day: {error}") from None


def _date(text: str) -> date | None:
    if not text:
        return None
    found = _DATE.fullmatch(text)
    if not found:
        raise ProtocolError(f"{text!r} is no date")
    day, month, year = map(int, found.groups())
    try:
        # GPS began in 1980; until 2080 two digits are enough.
        return date(year + (1900 if year >= 80 else 2000), month, day)
    except ValueError as error:
        raise ProtocolError(f"{text!r} is no date: {error}") from None
