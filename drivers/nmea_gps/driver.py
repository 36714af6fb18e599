"""The driver of a GPS receiver that talks NMEA 0183 (GPS, GLONASS, Galileo, BeiDou).

A receiver talks by itself and need not understand a word, so nothing is asked:
it is proven by its first whole sentence, and alive as long as it talks. What it
says is read in `drivers.nmea_gps.sentences` and pieced together in
`drivers.nmea_gps.fixes`.

Refused: talkers that are no satellite receiver, such as an echo sounder on the
same bus, and sentences without a checksum. A fix that is not valid is published
as such, never as a place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from drivers.nmea_gps.fixes import (
    Calendar,
    GpsPosition,
    GpsSatellites,
    GpsVelocity,
    SatelliteGroups,
)
from drivers.nmea_gps.framing import Sentences
from drivers.nmea_gps.sentences import SYSTEMS, Gga, Gsv, Rmc, Vtg, is_from_a_receiver, parse
from gateway.device import Driver, DriverHost, Heartbeat, Identity, command
from gateway.errors import CallTimeoutError, RefusedError
from gateway.framing import Framing

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600, description="seconds")]


class NmeaGpsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``patience``: seconds without a sentence after which the receiver counts as stale."""

    patience: Seconds = 5.0


class NmeaGps(Driver):
    """A satellite receiver: where it is, how it moves, what it sees.

    Publishes ``position`` with every fix, ``velocity`` as often, and
    ``satellites`` for each system in view.
    """

    framing: ClassVar[Framing] = Sentences()
    heartbeat: ClassVar[Heartbeat | None] = Heartbeat(patience=5.0)
    handshake_within: ClassVar[float] = 10.0
    publications: ClassVar[Mapping[str, type]] = {
        "position": GpsPosition,
        "velocity": GpsVelocity,
        "satellites": GpsSatellites,
    }
    simulator: ClassVar[str] = "drivers.nmea_gps.simulator:SimulatedReceiver"
    Settings: ClassVar[type[msgspec.Struct]] = NmeaGpsSettings

    @classmethod
    def configured(cls, settings: Mapping[str, Any] | msgspec.Struct | None = None) -> type[Driver]:
        """Return the class with the patience that is configured."""
        return cls.variant(heartbeat=Heartbeat(patience=cls.typed(settings).patience))

    def __init__(
        self,
        name: str,
        host: DriverHost,
        settings: Mapping[str, Any] | msgspec.Struct | None = None,
    ) -> None:
        super().__init__(name, host, settings)
        self._calendar = Calendar()
        self._groups = SatelliteGroups()
        self._least_in_a_row = 0
        self._sends_least = False

    def handshake(self) -> Identity:
        """Wait for the first sentence of a satellite receiver."""
        try:
            sentence = self.listen(is_from_a_receiver, timeout=self.handshake_within)
        except CallTimeoutError as error:
            raise CallTimeoutError(
                "no sentence of a GPS receiver came; check the baud (4800, 9600 and 38400 are "
                "usual) and that its TX is wired to our RX"
            ) from error
        system = SYSTEMS[sentence[:2].decode()]
        return Identity(firmware="NMEA 0183", model=f"receiver for {system} satellites")

    def received(self, frame: bytes) -> None:
        """Publish what a sentence says; `ProtocolError` where it makes no sense."""
        match parse(frame):
            case Gga() as fix:
                self._least_in_a_row = 0
                self._publish_fix(fix)
            case Rmc() as least:
                self._sends_least = True
                self._publish_least(least)
            case Vtg() as motion if not self._sends_least and motion.speed is not None:
                self.publish("velocity", GpsVelocity(motion.speed, motion.course))
            case Gsv() as part if group := self._groups.add(part):
                self.publish("satellites", group)

    @command
    def send(self, sentence: str) -> None:
        """Send a sentence to the receiver, without ``$`` and checksum: ``PMTK220,200``.

        Which it understands is in its manual; it need not answer.
        """
        payload = sentence.encode(errors="replace")
        try:
            self.framing.encode(payload)
        except ValueError as error:
            raise RefusedError(f"{sentence[:40]!r} is no sentence: {error}") from None
        self.write(payload)

    def _publish_fix(self, fix: Gga) -> None:
        self.publish(
            "position",
            GpsPosition(
                latitude=fix.latitude,
                longitude=fix.longitude,
                altitude=fix.altitude,
                time=None if fix.time is None else self._calendar.at(fix.time),
                quality=fix.quality,
                satellites=fix.satellites,
                hdop=fix.hdop,
            ),
        )

    def _publish_least(self, least: Rmc) -> None:
        if least.when is not None:
            self._calendar.heard(least.when)
        self._least_in_a_row += 1
        # Two without a fix between them: a receiver that sends no other place.
        if self._least_in_a_row > 1:
            quality = "gps" if least.valid else "none"
            place = (least.latitude, least.longitude) if least.valid else (None, None)
            self.publish("position", GpsPosition(*place, None, least.when, quality))
        if least.valid:
            self.publish("velocity", GpsVelocity(least.speed, least.course))
