"""The whole column: driver thread, serial link, terminal, and either of the two boards."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, pairwise
from random import Random
from typing import Any, ClassVar

import pytest

from drivers.bench_board.analogue import Analogue
from drivers.bench_board.driver import BenchBoard
from gateway.bus.mailbox import Mailbox
from gateway.clock import RealClock
from gateway.device import Heartbeat
from gateway.errors import RefusedError
from gateway.hosting.driver_thread import DriverThread
from gateway.mail.message import Message
from gateway.testing.fake_outside import FakeOutside
from routes.serial.serial_link import opener
from routes.serial.settings import SerialSettings
from tests.drivers.bench_board.conftest import Bench


class ImpatientBenchBoard(BenchBoard):
    """The driver with a heartbeat that a test can wait for."""

    heartbeat: ClassVar[Heartbeat | None] = Heartbeat(ping=b"P", every=0.1, patience=0.4)


SETTINGS = {"stream_hz": 50, "answer_within": 20.0}


class Hosted:
    """A bench board's driver thread, and what it tells the house."""

    def __init__(self, bench: Bench) -> None:
        self.outside = FakeOutside()
        self.mailbox = Mailbox("bench@serial", clock=RealClock())
        self.thread = DriverThread(
            "bench",
            lambda host: ImpatientBenchBoard("bench", host, SETTINGS),
            opener(SerialSettings(port=str(bench.path), write_timeout=0.5)),
            self.outside,
            self.mailbox,
            clock=RealClock(),
            random=Random(1),
        )
        self._ids = count(1)

    def ask(self, subject: str, body: object = None) -> Any:
        """Have a command carried out; return its answer or raise its bounce."""
        number = str(next(self._ids))
        letter = Message(number, number, 1, 0.0, "test", "bench@serial", subject, body)
        answered = len(self.outside.replies) + len(self.outside.bounces)
        self.thread.post(letter)
        self.outside.wait_answers(answered + 1)
        if self.outside.bounces and self.outside.bounces[-1][0] is letter:
            raise self.outside.bounces[-1][1]
        message, result = self.outside.replies[-1]
        assert message is letter
        return result

    def wait_for_readings(self, number: int) -> list[Analogue]:
        """Wait for so many readings from now on; return those."""
        topic = "devices/bench/analogue"
        before = len(self.outside.bodies(topic))
        self.outside.wait_for(lambda: len(self.outside.bodies(topic)) >= before + number)
        return self.outside.bodies(topic)[before:]


@pytest.fixture
def hosted(bench: Bench) -> Iterator[Hosted]:
    hosted = Hosted(bench)
    hosted.thread.start()
    hosted.outside.wait_state("bench", "healthy")
    yield hosted
    assert hosted.thread.stop(20.0)
    hosted.mailbox.close()


def test_the_board_is_known_and_its_readings_are_published(hosted: Hosted) -> None:
    info = hosted.outside.retained["devices/bench/info"]
    assert info["identity"] == {
        "firmware": "1.0.0",
        "model": "bench-board",
        "serial_number": "BB-0001",
    }
    readings = hosted.wait_for_readings(10)
    steps = {b.milliseconds - a.milliseconds for a, b in pairwise(readings)}
    assert steps == {20}
    assert readings[0].volts == pytest.approx(2.5, abs=0.02)
    hosted.outside.wait_event("bench", "pong")


def test_commands_reach_the_board_amid_its_stream(bench: Bench, hosted: Hosted) -> None:
    assert hosted.ask("stream", {"hz": 200}) == 200
    for _ in range(10):
        assert hosted.ask("led", {"on": True}) is True
        bench.wait_for_led(True)
        assert hosted.ask("led", {"on": False}) is False
        bench.wait_for_led(False)
    assert hosted.ask("read_analogue") == pytest.approx(2.5, abs=0.02)
    assert hosted.ask("counters")["bad_checksums"] == 0
    with pytest.raises(RefusedError, match="hz"):
        hosted.ask("stream", {"hz": 201})


def test_the_cable_is_pulled_and_plugged_in_again(bench: Bench, hosted: Hosted) -> None:
    hosted.ask("stream", {"hz": 200})
    for round_ in range(1, 4):
        bench.unplug()
        hosted.outside.wait_event("bench", "disconnected", round_)
        bench.plug()
        hosted.outside.wait_event("bench", "connected", round_ + 1)
        assert len(hosted.wait_for_readings(3)) >= 3
        # What it was told before the cable was pulled is forgotten.
        assert hosted.ask("counters")["accepted"] < 20


def test_a_fault_of_the_board_is_told_and_costs_nothing(hosted: Hosted) -> None:
    assert hosted.ask("inject_fault", {"kind": "report", "number": 3}) is None
    event = hosted.outside.wait_event("bench", "device_error")
    assert event["cause"] == "sensor broken (fault 3)"
    assert hosted.wait_for_readings(2)
    assert hosted.thread.state.connected


def test_damaged_lines_are_noise_and_the_rest_arrives(hosted: Hosted) -> None:
    hosted.ask("inject_fault", {"kind": "corrupt", "number": 3})
    hosted.wait_for_readings(10)
    hosted.outside.wait_for(lambda: hosted.thread.statistics().noise >= 4)
    assert hosted.thread.state.connected


def test_a_silent_board_is_stale_then_an_error_and_is_not_given_up(hosted: Hosted) -> None:
    hosted.ask("inject_fault", {"kind": "silence"})
    hosted.outside.wait_state("bench", "stale")
    hosted.outside.wait_event("bench", "comms_error")
    assert hosted.outside.events("bench").count("disconnected") == 0


def test_a_hung_board_is_stale_until_it_is_plugged_in_anew(bench: Bench, hosted: Hosted) -> None:
    hosted.ask("inject_fault", {"kind": "hang"})
    hosted.outside.wait_state("bench", "stale")
    bench.unplug()
    hosted.outside.wait_event("bench", "disconnected")
    bench.plug()
    hosted.outside.wait_event("bench", "connected", 2)
    assert hosted.wait_for_readings(1)
