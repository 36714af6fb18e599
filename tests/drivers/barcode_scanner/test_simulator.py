"""The simulated scanner, by itself and as a program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from drivers.barcode_scanner.board import Scanner
from drivers.barcode_scanner.driver import BarcodeScanner
from drivers.barcode_scanner.reports import Keyboard, typed
from drivers.barcode_scanner.simulator import SimulatedScanner, main
from gateway.device.simulated_usb import Setup
from gateway.device.usb import UsbIdentity
from routes.usb.settings import UsbSettings
from routes.usb.simulated_link import SimulatedLink
from tests.lab.output import Output

SECONDS = 10.0


class Clock:
    """Time that stands until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


def all_due(board: Scanner, clock: Clock) -> list[bytes]:
    reports: list[bytes] = []
    while (wake := board.wake) is not None and len(reports) < 100:
        clock.now = max(clock.now, wake)
        reports.append(board.poll())
    return reports


def test_it_types_one_report_at_a_time_at_its_own_pace() -> None:
    clock = Clock()
    board = Scanner(clock)
    board.reset()
    assert board.wake is None
    assert board.poll() == b""
    board.scan("Ab")
    assert board.wake == 100.0
    first = board.poll()
    assert board.poll() == b"", "the next one is not due"
    assert [first, *all_due(board, clock)] == list(typed("Ab\n"))
    assert clock.now == pytest.approx(100.01)
    board.scan("c")
    board.reset()
    assert board.wake is None


def test_it_scans_by_itself_where_it_is_told_to() -> None:
    clock = Clock()
    board = Scanner(clock, demo=5.0)
    board.reset()
    keyboard, keys = Keyboard(), 0
    assert board.wake == 105.0
    for _ in range(20):
        assert board.wake is not None
        clock.now = board.wake
        keys += len(keyboard.feed(board.poll()))
    assert keys == len("CODE-0001\n")
    assert board.wake == pytest.approx(clock.now + 5.0)


def test_it_obeys_a_keyboard_s_requests_and_stalls_others() -> None:
    board = Scanner(Clock())
    assert board.control(Setup(0x21, 0x0B, 0, 0, 0), b"") == b""
    assert board.control(Setup(0x40, 0x0B, 0, 0, 0), b"") is None
    assert board.control(Setup(0x21, 0x09, 0, 0, 1), b"\1") is None
    assert board.receive(b"anything") == b""


def test_the_driver_says_where_its_simulator_is() -> None:
    assert BarcodeScanner.simulator == f"{SimulatedScanner.__module__}:{SimulatedScanner.__name__}"


def test_wrong_options_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for options, words in (
        (["--link", str(tmp_path / "x"), "--every", "0"], "0.1 to 3600"),
        (["--link", str(tmp_path / "file")], "is no socket"),
    ):
        with pytest.raises(SystemExit):
            main(options)
        assert words in capsys.readouterr().err


def test_as_a_program_it_scans_what_is_typed_until_it_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "scanner"
    process = subprocess.Popen(
        [sys.executable, "-m", "drivers.barcode_scanner.simulator", "--link", str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    output = Output(process)
    assert process.stdin is not None
    try:
        output.wait_for(lambda line: "Ctrl-C" in line, SECONDS)
        link = SimulatedLink(UsbSettings(simulated=str(path)))
        assert isinstance(link.identity(), UsbIdentity)
        process.stdin.write("ü\n")
        process.stdin.flush()
        output.wait_for(lambda line: "no key of a US keyboard" in line, SECONDS)
        link.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
        assert not path.exists()
    finally:
        process.kill()
        process.wait(SECONDS)
        process.stdin.close()
        output.join()
