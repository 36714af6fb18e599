"""The driver before its own receiver, and before recorded sentences of others."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from drivers.nmea_gps.board import CENTRE, Receiver
from drivers.nmea_gps.driver import NmeaGps
from gateway.device import Heartbeat
from gateway.errors import CallTimeoutError, RefusedError
from tests.drivers.desk import CrankedClock, Desk


def desk_with(**options) -> Desk:
    clock = CrankedClock()
    return Desk(NmeaGps, None, Receiver(clock=clock, **options), clock)


def test_it_is_proven_by_its_first_sentence_and_nothing_is_asked() -> None:
    desk = desk_with(talker="GN")
    identity = desk.driver.handshake()
    assert identity.model == "receiver for several satellites"
    assert desk.written == []


def test_a_receiver_that_says_nothing_gets_advice_about_baud_and_wires() -> None:
    desk = desk_with()
    desk.board.silent = True
    with pytest.raises(CallTimeoutError, match=r"baud .* wired"):
        desk.driver.handshake()


def test_no_noise_and_no_other_instrument_proves_it() -> None:
    desk = desk_with()
    desk.board.silent = True
    desk.damage = lambda data: data or desk.driver.framing.encode(b"SDDBT,1,f,2,M,3,F")
    with pytest.raises(CallTimeoutError):
        desk.driver.handshake()


def test_places_and_motions_are_published_once_a_second() -> None:
    desk = desk_with()
    desk.run(4.5)
    places, motions = desk.bodies("position"), desk.bodies("velocity")
    assert (len(places), len(motions)) == (5, 5)
    assert places[0].latitude == pytest.approx(CENTRE[0], abs=0.01)
    assert places[0].longitude == pytest.approx(CENTRE[1], abs=0.01)
    assert places[0].latitude != places[-1].latitude
    assert (places[0].altitude, places[0].quality) == (519.4, "gps")
    assert (places[0].satellites, places[0].hdop) == (7, 1.2)
    assert places[1].time == datetime.fromtimestamp(1_900_000_001, UTC)
    assert motions[0].speed == pytest.approx(4.19, abs=0.01)
    assert motions[0].course == 90.0
    assert desk.nonsense == []
    assert desk.noise == []


def test_satellites_are_published_by_the_group() -> None:
    desk = desk_with()
    desk.run(0.5)
    (group,) = desk.bodies("satellites")
    assert [each.number for each in group.satellites] == [8, 10, 15, 18, 23, 24, 27]
    assert (group.system, group.in_view) == ("GPS", 7)


def test_without_a_fix_no_place_is_told() -> None:
    desk = desk_with(fix_after=10.0)
    desk.run(3.5)
    assert {(each.latitude, each.quality) for each in desk.bodies("position")} == {(None, "none")}
    assert desk.bodies("velocity") == []
    desk.run(8.0)
    assert desk.bodies("position")[-1].quality == "gps"


def test_a_receiver_that_sends_the_least_is_understood() -> None:
    desk = desk_with(leave_out=frozenset({"GGA", "VTG", "GSV", "GSA"}))
    desk.run(1.5)
    (place,) = desk.bodies("position")
    assert (place.quality, place.satellites) == ("gps", None)
    assert place.time == datetime.fromtimestamp(1_900_000_001, UTC)
    assert len(desk.bodies("velocity")) == 2


def test_speed_is_taken_from_where_it_is_told() -> None:
    desk = desk_with(leave_out=frozenset({"RMC"}))
    desk.run(0.5)
    (motion,) = desk.bodies("velocity")
    assert motion.speed == pytest.approx(4.19, abs=0.01)
    assert desk.bodies("position")[0].time is None  # nobody has told the day


def test_a_restart_of_the_receiver_is_not_its_end() -> None:
    desk = desk_with()
    desk.run(2.5)
    desk.board.reset()
    desk.run(2.5)
    assert len(desk.bodies("position")) == 6


def test_sentences_are_sent_with_their_checksum() -> None:
    desk = desk_with()
    desk.call("send", {"sentence": "PMTK220,200"})
    assert desk.board.heard == [b"$PMTK220,200*2C"]


@pytest.mark.parametrize("sentence", ["", "$PMTK", "a*b", "a\nb", "ä" * 3, "x" * 121])
def test_what_is_no_sentence_is_refused(sentence: str) -> None:
    desk = desk_with()
    with pytest.raises(RefusedError, match="is no sentence"):
        desk.call("send", {"sentence": sentence})
    assert desk.written == []


def test_its_patience_is_configured() -> None:
    assert NmeaGps.configured({"patience": 30.0}).heartbeat == Heartbeat(patience=30.0)
    assert NmeaGps.configured().heartbeat == Heartbeat(patience=5.0)
    with pytest.raises(msgspec.ValidationError):
        NmeaGps.configured({"patience": 0})


def test_what_it_publishes_can_be_read_as_data() -> None:
    info = NmeaGps.configured({"patience": 9.0}).describe(None)
    assert info["driver"] == "NmeaGps"
    fields = {each["topic"]: each["fields"] for each in info["publications"]}
    assert fields["position"]["latitude"] == {"type": "float | None", "unit": "°"}
    assert fields["velocity"]["speed"]["unit"] == "m/s"
    assert msgspec.json.encode(info)
