"""A probe of a simulated board on a pseudo-terminal, by drivers good and bad."""

from __future__ import annotations

import os
import pty
import termios
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from drivers.bench_board.driver import BenchBoard
from drivers.bench_board.simulator import SimulatedBoard
from gateway.cli.inventory.holders import Holder, Holders
from gateway.cli.inventory.house import House, HousedDevice
from gateway.cli.probing.evidence import ranked
from gateway.cli.probing.probe import Probe, check_free, line_settings_kept
from gateway.clock import RealClock
from gateway.device.driver import Driver
from gateway.device.identity import Identity
from gateway.device.link import Link
from gateway.errors import LinkLostError, RefusedError
from gateway.framing import CheckedLine, Line
from gateway.framing.framing import Framing
from routes.serial.router import SerialRouter
from routes.serial.settings import SerialSettings


class Silent(Driver):
    """Asks what this board does not answer."""

    framing: ClassVar[Framing] = CheckedLine(limit=64)

    def handshake(self) -> Identity:
        self.ask(b"WHO", answer=b"ME", timeout=0.2)
        raise AssertionError


class Buggy(Silent):
    def handshake(self) -> Identity:
        raise KeyError("left")


class Choosy(Silent):
    def __init__(self, *args: Any) -> None:
        raise ValueError("settings: registers are missing")


class Lines(Silent):
    framing: ClassVar[Framing] = Line(limit=64)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Path]:
    with SimulatedBoard(tmp_path / "board") as board:
        yield board.path


def probe_of(port: Path, drivers: Mapping[str, type[Driver]], **options: Any) -> Probe:
    def open_link(baud: int) -> Link:
        return SerialRouter.open_port(SerialSettings(port=str(port), baud=baud))

    options = {"listen": 0.1, "handshake": 2.0, "deadline": 30.0, **options}
    return Probe(drivers, options.pop("looks_like", {}), open_link, RealClock(), **options)


def test_the_driver_of_the_board_is_found_among_others(board: Path) -> None:
    drivers: dict[str, type[Driver]] = {
        "silent": Silent,
        "buggy": Buggy,
        "choosy": Choosy,
        "bench_board": BenchBoard,
    }
    probe = probe_of(board, drivers)
    probe.run()
    best, *others = ranked(probe.found.values())
    assert best.driver == "bench_board"
    assert best.identity is not None
    assert best.identity.model == "bench-board"
    assert best.baud == 115200
    problems = {each.driver: each.problem for each in others}
    assert problems == {
        "buggy": "its driver has a bug: KeyError: 'left'",
        "choosy": "it cannot be tried without settings of its own",
        "silent": "no answer to b'WHO'",
    }


def test_whoever_expects_such_a_thing_is_asked_first_and_ends_it(board: Path) -> None:
    said: list[str] = []
    drivers: dict[str, type[Driver]] = {"a": Silent, "bench_board": BenchBoard}
    looks = {"bench_board": "ID_VENDOR_ID=2341"}
    probe = probe_of(board, drivers, looks_like=looks, progress=said.append)
    probe.run()
    assert said == ["listening at 115200 baud", "bench_board, at 115200 baud"]
    assert not probe.found["a"].asked
    assert probe.found["bench_board"].looks_like == "ID_VENDOR_ID=2341"


def test_a_board_that_nobody_knows_is_asked_at_each_rate_until_the_deadline(board: Path) -> None:
    probe = probe_of(board, {"silent": Silent}, bauds=(115200, 9600), handshake=0.3)
    probe.run()
    assert list(probe.heard) == [115200, 9600]
    assert probe.found["silent"].identity is None
    late = probe_of(board, {"silent": Silent}, deadline=0.0)
    late.run()
    assert late.heard == {}
    assert not late.found["silent"].asked


def test_frames_that_come_by_themselves_count_for_their_framing(tmp_path: Path) -> None:
    controller, port = pty.openpty()

    def babble(said: str) -> None:
        if said.startswith("listening"):  # it is open, which forgets what came before
            os.write(controller, b"$GPGGA,1\n$GPRMC,2\n" * 3)

    try:
        (tmp_path / "port").symlink_to(os.ttyname(port))
        drivers = {"checked": Silent, "lines": Lines}
        probe = probe_of(
            tmp_path / "port", drivers, bauds=(9600,), handshake=0.1, listen=0.5, progress=babble
        )
        probe.run()
        assert probe.heard == {9600: 54}
        assert probe.found["lines"].frames == 6
        assert probe.found["checked"].frames == 0
        assert probe.found["checked"].garbage == 6
        assert [each.driver for each in ranked(probe.found.values())] == ["lines", "checked"]
    finally:
        os.close(controller)
        os.close(port)


def test_a_port_that_is_pulled_ends_the_probe(tmp_path: Path) -> None:
    with SimulatedBoard(tmp_path / "board") as board:

        class Puller(Silent):
            def handshake(self) -> Identity:
                board.unplug()
                return super().handshake()

        with pytest.raises(LinkLostError):
            probe_of(board.path, {"puller": Puller}).run()


def test_a_claimed_port_and_an_open_one_are_left_alone() -> None:
    wheels = HousedDevice(name="wheels", state={"state": "healthy"}, claim={"node": "/dev/x"})
    nobody = Holders(of={})
    with pytest.raises(RefusedError, match="is the device 'wheels'"):
        check_free("/dev/x", "", House(devices={"wheels": wheels}), nobody)
    minicom = Holders(of={"/dev/y": (Holder(78, "minicom"),)})
    with pytest.raises(RefusedError, match=r"open in minicom \(pid 78\)"):
        check_free("/dev/y", "", House(), minicom)
    check_free("/dev/x", "", House(), minicom)


def test_the_line_has_its_settings_back(board: Path) -> None:
    descriptor = os.open(board, os.O_RDWR | os.O_NOCTTY)
    try:
        before = termios.tcgetattr(descriptor)
        before[4] = before[5] = termios.B4800
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
        before = termios.tcgetattr(descriptor)
        with line_settings_kept(str(board)):
            probe_of(board, {"silent": Silent}, bauds=(9600,), handshake=0.1).run()
            assert termios.tcgetattr(descriptor) != before
        assert termios.tcgetattr(descriptor) == before
    finally:
        os.close(descriptor)


def test_what_is_no_terminal_has_no_settings_to_keep(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with line_settings_kept(str(tmp_path / "file")):
        pass
