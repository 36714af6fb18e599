"""The receiver on a real terminal: found, heard, silent, unplugged and back."""

from __future__ import annotations

from pathlib import Path

from drivers.nmea_gps.board import Receiver
from drivers.nmea_gps.driver import NmeaGps
from drivers.nmea_gps.simulator import SimulatedReceiver
from gateway.clock import RealClock
from tests.drivers.hosted import PATIENCE, Hosted


def test_a_receiver_is_heard_unplugged_and_heard_again(tmp_path: Path) -> None:
    board = Receiver(clock=RealClock(), hz=20)
    with (
        SimulatedReceiver(tmp_path / "gps", board=board) as simulated,
        Hosted(NmeaGps, None, simulated.path) as hosted,
    ):
        hosted.wait_state("healthy")
        assert hosted.wait_for("position", 3)[-1].quality == "gps"
        hosted.ask("send", {"sentence": "PUBX,40"})
        hosted.outside.wait_for(lambda: board.heard == [b"$PUBX,40*37"], PATIENCE)
        simulated.unplug()
        hosted.wait_event("disconnected")
        simulated.plug()
        hosted.wait_event("connected", 2)
        hosted.wait_for("satellites")


def test_a_receiver_that_falls_silent_is_stale_and_written_nothing(tmp_path: Path) -> None:
    board = Receiver(clock=RealClock(), hz=20)
    with (
        SimulatedReceiver(tmp_path / "gps", board=board) as simulated,
        Hosted(NmeaGps, {"patience": 0.5}, simulated.path) as hosted,
    ):
        hosted.wait_state("healthy")
        board.silent = True
        hosted.wait_state("stale")
        hosted.wait_event("comms_error")
    assert simulated.statistics()["received"] == 0
