"""What a GPS receiver's driver publishes, and how it pieces that together.

A fix says what time of day it is and not which day; the satellites in view
come in several sentences. `Calendar` and `SatelliteGroups` remember what is
needed to make one thing of them. Pure, and bounded: whatever comes, there is
one day, and one group for each system and signal.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Annotated, Final

import msgspec

from drivers.nmea_gps.sentences import Gsv, InView
from gateway.device import Unit
from gateway.mail.body import register

Degrees = Annotated[float | None, Unit("°")]
Metres = Annotated[float | None, Unit("m")]

_GROUPS: Final = 32
"""Systems and signals that are pieced together at a time; real receivers have a dozen."""
_PARTS: Final = 9
"""Sentences that one group may have (NMEA 0183 4.10 writes their number as one digit)."""


@register
class GpsPosition(msgspec.Struct, frozen=True):
    """Where the receiver is; without a fix ``quality`` is ``none`` and the rest may be unknown.

    Degrees are WGS 84, north and east above zero; ``altitude`` is above mean sea
    level; ``time`` is None until the receiver has told the date; ``satellites``
    are those used; ``hdop`` is the horizontal dilution of precision.
    """

    latitude: Degrees
    longitude: Degrees
    altitude: Metres
    time: datetime | None
    quality: str
    satellites: int | None = None
    hdop: float | None = None


@register
class GpsVelocity(msgspec.Struct, frozen=True):
    """How it moves over ground; ``course`` is from true north, None while it stands."""

    speed: Annotated[float | None, Unit("m/s")]
    course: Degrees


class GpsSatellite(msgspec.Struct, frozen=True):
    """One satellite in view."""

    number: int
    elevation: Annotated[int | None, Unit("°")]
    azimuth: Annotated[int | None, Unit("°")]
    signal: Annotated[int | None, Unit("dB-Hz")]


@register
class GpsSatellites(msgspec.Struct, frozen=True):
    """The satellites of one ``system`` in view; ``signal_id`` where the receiver tells bands."""

    system: str
    in_view: Annotated[int, Unit("1")]
    satellites: list[GpsSatellite]
    signal_id: str = ""


class Calendar:
    """Knows the day of a time of day, once a date has been heard.

    >>> from datetime import UTC
    >>> calendar = Calendar()
    >>> calendar.at(time(12, tzinfo=UTC))
    >>> calendar.heard(datetime(2030, 1, 31, 23, 59, 59, tzinfo=UTC))
    >>> calendar.at(time(0, 0, 0, tzinfo=UTC))
    datetime.datetime(2030, 2, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """

    def __init__(self) -> None:
        self._last: datetime | None = None

    def heard(self, when: datetime) -> None:
        """Take ``when`` for the present."""
        self._last = when

    def at(self, moment: time) -> datetime | None:
        """Return the ``moment`` that is nearest to the present, which it becomes."""
        last = self._last
        if last is None:
            return None
        days = [last.date() + timedelta(days=days) for days in (-1, 0, 1)]
        self._last = min(
            (datetime.combine(day, moment) for day in days), key=lambda each: abs(each - last)
        )
        return self._last


class SatelliteGroups:
    """Pieces the sentences of a group together; one that lacks a part is given up."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], list[InView]] = {}
        self._next: dict[tuple[str, str], int] = {}

    def add(self, part: Gsv) -> GpsSatellites | None:
        """Take one sentence; return the group where it is the last."""
        key = part.system, part.signal_id
        if part.part == 1:
            if part.parts > _PARTS or (key not in self._groups and len(self._groups) >= _GROUPS):
                return None
            self._groups[key] = []
        elif self._next.get(key) != part.part:
            self._forget(key)
            return None
        self._groups[key] += part.satellites
        self._next[key] = part.part + 1
        if part.part < part.parts:
            return None
        satellites = [GpsSatellite(*each) for each in self._groups[key]]
        self._forget(key)
        return GpsSatellites(part.system, part.in_view, satellites, part.signal_id)

    def _forget(self, key: tuple[str, str]) -> None:
        self._groups.pop(key, None)
        self._next.pop(key, None)
