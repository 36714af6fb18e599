"""Noise, endless lines and nonsense on the wire: bounded, counted, and the gateway goes on."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.bench import Bench, settled
from tests.lab.mosquitto import Mosquitto
from tests.lab.os_processes import resident_kilobytes, until
from tests.lab.simavr import Simavr
from tests.lab.wire import Wire, accepted, terminal

pytestmark = [pytest.mark.paced, pytest.mark.needs("mosquitto")]

MEGABYTE = 1 << 20
ALLOWED_GROWTH = 4 * 1024
"""Kilobytes that the serial router may grow under a flood of many times that."""


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """A pseudo-terminal of ours as the device."""
    with terminal(tmp_path / "port") as wire:
        yield wire


@pytest.fixture
def wired(wire: Wire, broker: Mosquitto, board: Simavr, tmp_path: Path) -> Iterator[Bench]:
    """The gateway with that terminal as its board's port; the board is healthy."""
    with settled(tmp_path, broker, board, port=tmp_path / "port") as bench:
        yield bench


def test_noise_is_counted_and_costs_nothing(wired: Bench, wire: Wire, measured) -> None:
    before = counts(wired)
    noise = random.Random(1).randbytes(MEGABYTE)
    began = time.monotonic()
    for start in range(0, len(noise), 4096):
        wire.write(noise[start : start + 4096])
    measured("noise taken in", 1 / (time.monotonic() - began), unit="MB/s")
    wire.write(b"\n")
    goes_on(wired, wire)
    after = counts(wired)
    # A line end comes every 256 random bytes.
    assert after["noise"] - before["noise"] > 1000
    measured(f"noise counted in {len(noise)} bytes", after["noise"] - before["noise"], unit="times")
    assert (after["openings"], after["losses"]) == (before["openings"], before["losses"])
    assert wired.retained("devices/bench/state")["connected"] is True


def test_an_endless_line_is_bounded_and_counted(wired: Bench, wire: Wire, measured) -> None:
    serial = wired.gateway.processes()["serial"]
    goes_on(wired, wire)
    before, resident = counts(wired), resident_kilobytes(serial)
    wire.write(b"x" * (16 * MEGABYTE))  # at once, so that no reading ends the line
    growth = resident_kilobytes(serial) - resident
    measured(
        "serial router's growth under a line of 16 MB", growth, limit=ALLOWED_GROWTH, unit="kB"
    )
    wire.write(b"\n")
    goes_on(wired, wire)
    after = counts(wired)
    assert after["noise"] > before["noise"]
    assert (after["openings"], after["losses"]) == (before["openings"], before["losses"])


def test_frames_that_are_right_and_nonsense_are_counted(wired: Bench, wire: Wire) -> None:
    before = counts(wired)
    for payload in (b"A", b"A1", b"A1,x", b"A1,99999", b"Equivocal", b"A-1,-1"):
        wire.write(framed(payload))
    assert until(lambda: counts(wired)["nonsense"] >= before["nonsense"] + 5, 5.0), counts(wired)
    goes_on(wired, wire)


def test_answers_that_nobody_asked_for_confuse_nobody(wired: Bench, wire: Wire) -> None:
    wire.write(framed(b"L0") + framed(b"L1") + framed(b"P") + framed(b"Nunknown L1"))
    goes_on(wired, wire)


def test_a_flood_of_readings_loses_no_call(wired: Bench, wire: Wire, measured) -> None:
    readings = [framed(b"A%d,512" % number) for number in range(20_000)]
    took = []
    for start in range(0, len(readings), 4000):
        wire.write(b"".join(readings[start : start + 4000]))
        began = time.monotonic()
        assert wired.call("led", '{"on": true}') == {"ok": True, "result": True}
        took.append(time.monotonic() - began)
    measured("call behind 4000 readings at once, slowest of 5", max(took) * 1000, unit="ms")
    assert counts(wired)["noise"] == 0
    goes_on(wired, wire)


def test_a_port_that_speaks_nonsense_is_failed_until_a_board_is_there(
    broker: Mosquitto, board: Simavr, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = f"socket://127.0.0.1:{server.getsockname()[1]}"
        with Bench(tmp_path, broker, board, port=port) as bench:
            bench.gateway.start()
            server.settimeout(10.0)
            stranger, _ = server.accept()
            with stranger:
                stranger.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" + b"x" * 100_000 + b"\n")
                failed = bench.wait_for_state(state="failed")
            assert "handshake" in failed["cause"]
            assert failed["connected"] is False
            assert counts(bench)["failures"] == 1
            assert counts(bench)["noise"] >= 2
            reply = bench.call("led", '{"on": true}')
            assert reply["ok"] is False
            with accepted(server) as wire:
                bench.settle(state="healthy")
                goes_on(bench, wire)
            bench.wait_for_state(connected=False)
        assert not [line for line in bench.gateway.log if "Traceback" in line]


def counts(bench: Bench) -> dict[str, Any]:
    """Return what the device's thread has counted."""
    found: dict[str, Any] = bench.gateway.statistics("serial")["devices"]["bench"]
    return found


def goes_on(bench: Bench, wire: Wire) -> None:
    """A good call lights the LED and puts it out again."""
    for on in (True, False):
        assert bench.call("led", f'{{"on": {str(on).lower()}}}') == {"ok": True, "result": on}
        assert wire.board.led is on


def framed(payload: bytes) -> bytes:
    """Return a checked line."""
    checksum = 0
    for byte in payload:
        checksum ^= byte
    return b"%b*%02X\n" % (payload, checksum)
