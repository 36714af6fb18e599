"""The GPS receiver's driver keeps the contract of all drivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from drivers.nmea_gps.board import Receiver
from drivers.nmea_gps.driver import NmeaGps
from gateway.clock import Clock
from gateway.testing.driver_contract import DriverContract


class TestNmeaGps(DriverContract):
    driver = NmeaGps
    arguments: ClassVar[Mapping[str, Sequence[Mapping[str, Any]]]] = {
        "send": [{"sentence": "PMTK220,200"}, {"sentence": "x" * 120}],
    }

    def make_board(self, clock: Clock) -> Receiver:
        return Receiver(clock=clock)
