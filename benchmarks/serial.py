"""A command to a board and back, over the same exchange by bare pyserial.

``roundtrip_vs_pyserial``: a process on the bus writes ``led`` to
``board@serial``; the serial router, an OS process of its own, hands it to the
device's thread, which writes one frame to the simulated board, waits for its
answer and replies. The baseline writes the same frame to the same pty with
`serial.Serial.write` and reads the answer with ``read_until(b"\\n")``, as the
pyserial documentation does for lines. ``…_read_exact`` compares with
``read(n)``, which needs to know beforehand how long the answer is.

What is written to a pty is carried by a worker of the kernel. Run as root the benchmark
pins that as well (``pty_worker_pinned``). Otherwise it wakes another, idle core or does
not, as it comes: either side takes 40 µs or 200 then, and the figure says nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import serial

from benchmarks.measure import arguments, pinned, ratio, show, spread, workers_pinned
from drivers.bench_board.driver import BenchBoard, BenchBoardSettings
from gateway.application import Application
from gateway.framing import CheckedLine
from gateway.hosting.hosted_device import HostedDevice
from gateway.mail.message import Message
from gateway.process.process import Process
from routes.serial.router import SerialRouter
from routes.serial.settings import SerialSettings

FRAME = CheckedLine(limit=64).encode(b"L1")
WARM_UP = 50
TURNS = 12


class Commander(Process):
    """Lights the LED, again and again, once the board is connected."""

    seconds: list[float]
    rounds: int

    def birth(self) -> None:
        self.subscribe("devices/board/state", self.on_state)

    def on_state(self, message: Message) -> None:
        if message.body["connected"] and not self.seconds:
            for _ in range(self.rounds + WARM_UP):
                began = perf_counter()
                self.wait_for_reply(self.send("board@serial", "led", {"on": True}))
                self.seconds.append(perf_counter() - began)
            self.die()


class Bench(Application):
    """The serial router around one simulated board."""

    port = ""

    def build(self) -> None:
        board = HostedDevice(
            "board", BenchBoard, SerialSettings(port=self.port), BenchBoardSettings(stream_hz=0)
        )
        self.add_process(
            "serial", SerialRouter, mode="fork", route="serial", parameters={"devices": [board]}
        )


@contextmanager
def simulated_board(link: Path) -> Iterator[None]:
    """Run the simulator as a program of its own, as a real board is."""
    program = [sys.executable, "-m", "drivers.bench_board.simulator", "--link", str(link)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as simulator:
        try:
            assert simulator.stdout is not None
            simulator.stdout.readline()
            yield
        finally:
            simulator.terminate()


def over_the_bus(port: Path, rounds: int) -> list[float]:
    """Return the seconds of each command from a process on the bus."""
    seconds: list[float] = []
    commander = type("Commander", (Commander,), {"seconds": seconds, "rounds": rounds})
    bench = Bench(main=commander)
    bench.port = str(port)
    if bench.run() or not seconds:
        raise SystemExit("the application failed; see the log above")
    return seconds[WARM_UP:]


def by_pyserial(port: Path, rounds: int, *, read_exact: bool) -> list[float]:
    """Return the seconds of each exchange by pyserial alone."""
    seconds = []
    with serial.Serial(str(port), 115200, timeout=1.0) as line:
        # A board that was just plugged in says so first, and may do so late.
        line.write(FRAME)
        while (said := line.read_until(b"\n")) != FRAME:
            if not said:
                raise SystemExit("the board does not answer")
        for _ in range(rounds + WARM_UP):
            began = perf_counter()
            line.write(FRAME)
            answer = line.read(len(FRAME)) if read_exact else line.read_until(b"\n")
            seconds.append(perf_counter() - began)
            if answer != FRAME:
                raise SystemExit(f"the board answered {answer!r} to {FRAME!r}")
    return seconds[WARM_UP:]


def measure(rounds: int) -> dict[str, Any]:
    """Return every figure of one run.

    The machine's speed wanders, so the jobs take turns, each turn gives a
    ratio of medians, and the median of those is the figure.
    """
    turns: dict[str, list[list[float]]] = {"bus": [], "pyserial": [], "pyserial_read_exact": []}
    with tempfile.TemporaryDirectory() as folder:
        port = Path(folder) / "board"
        with simulated_board(port):
            for _ in range(TURNS):
                each = rounds // TURNS
                turns["pyserial"].append(by_pyserial(port, each, read_exact=False))
                turns["bus"].append(over_the_bus(port, each))
                turns["pyserial_read_exact"].append(by_pyserial(port, each, read_exact=True))
    return {
        "roundtrip_vs_pyserial": ratio(turns["bus"], turns["pyserial"]),
        "roundtrip_vs_pyserial_read_exact": ratio(turns["bus"], turns["pyserial_read_exact"]),
        **{
            name: spread([taken for turn in found for taken in turn])
            for name, found in turns.items()
        },
    }


def main() -> None:
    """Measure pinned, then unpinned, and print both."""
    chosen = arguments("A command to a board and back, over bare pyserial.")
    with pinned(), workers_pinned() as workers:
        result = {**measure(chosen.rounds), "pty_worker_pinned": workers}
    result["unpinned"] = measure(chosen.rounds)
    show(result, as_json=chosen.json)


if __name__ == "__main__":
    main()
