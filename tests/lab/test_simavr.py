"""The emulated board does what the tests that build on it take for granted."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from tests.lab.simavr import AvrBuild, Simavr

pytestmark = pytest.mark.needs("simavr")


@pytest.fixture
def port(simavr: Simavr) -> Iterator[serial.Serial]:
    with serial.Serial(str(simavr.path), 115200, timeout=20, write_timeout=20) as port:
        yield port


def test_the_link_leads_to_firmware_that_answers(port: serial.Serial) -> None:
    ping(port)


def test_the_pin_follows_the_command(simavr: Simavr, port: serial.Serial) -> None:
    port.write(b"L1*7D\n")
    simavr.wait_for_led(True)
    port.write(b"L0*7C\n")
    simavr.wait_for_led(False)


def test_a_pin_that_does_not_change_is_told(simavr: Simavr) -> None:
    with pytest.raises(AssertionError, match="did not say"):
        simavr.wait_for_led(True, seconds=0.05)


def test_killing_it_hangs_up_the_port_and_removes_the_link(
    simavr: Simavr, port: serial.Serial
) -> None:
    simavr.kill()
    assert not os.path.lexists(simavr.path)
    assert select.select([port.fileno()], [], [], 20.0)[0]
    with pytest.raises(serial.SerialException):
        port.read()


def test_it_comes_back_on_the_same_link(simavr: Simavr) -> None:
    simavr.kill()
    simavr.start()
    with serial.Serial(str(simavr.path), 115200, timeout=20) as port:
        ping(port)


def test_a_frozen_board_says_nothing_until_it_is_thawed(
    simavr: Simavr, port: serial.Serial
) -> None:
    ping(port)
    simavr.freeze()
    port.write(b"P1*61\n")
    assert not select.select([port.fileno()], [], [], 0.2)[0]
    simavr.thaw()
    assert port.read_until(b"P1*61\n").endswith(b"P1*61\n")


def test_a_thawed_board_goes_on_at_its_own_pace(simavr: Simavr, port: serial.Serial) -> None:
    ping(port)
    port.write(b"S100*62\n")
    assert port.read_until(b"S100*62\n").endswith(b"S100*62\n")
    simavr.freeze()
    while select.select([port.fileno()], [], [], 0.3)[0]:
        port.read(port.in_waiting)
    began = time.monotonic()
    simavr.thaw()
    for _ in range(21):
        port.read_until(b"\n")
    # Twenty periods of 10 ms. Racing to make good 0.3 s would take none of them.
    assert time.monotonic() - began > 0.15


def test_an_idle_board_leaves_the_cpu_to_others(simavr: Simavr, port: serial.Serial) -> None:
    ping(port)  # and nothing to read from here on
    before, began = cpu_seconds(simavr.pid), time.monotonic()
    assert not select.select([port.fileno()], [], [], 0.5)[0]
    assert cpu_seconds(simavr.pid) - before < 0.5 * (time.monotonic() - began)


def test_a_dead_emulator_can_be_closed_and_closed_again(
    avr_build: AvrBuild, tmp_path: Path
) -> None:
    board = Simavr(avr_build, tmp_path / "board")
    board.start()
    os.kill(board.pid, 9)
    board.close()
    board.close()
    assert not os.path.lexists(board.path)


def ping(port: serial.Serial) -> None:
    port.write(b"P1*61\n")
    # What comes before is the banner.
    assert port.read_until(b"P1*61\n").endswith(b"P1*61\n")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
