"""The two boards that hold the same conversation: the simulator and the real firmware."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from drivers.bench_board.board import Board
from drivers.bench_board.simulator import SimulatedBoard
from gateway.clock import RealClock
from tests.drivers.bench_board.wire import Wire
from tests.lab.os_processes import until
from tests.lab.simavr import Simavr, avr_build

__all__ = ["avr_build"]


@dataclass(frozen=True)
class Bench:
    """A board at ``path`` whose analogue input sees 2.5 V, and where its cable is."""

    path: Path
    wait_for_led: Callable[[bool], None]
    unplug: Callable[[], None]
    plug: Callable[[], None]


@pytest.fixture(
    params=[
        pytest.param("simulator"),
        pytest.param("firmware", marks=pytest.mark.needs("simavr")),
    ]
)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Each board in turn, plugged in."""
    path = tmp_path / "board"
    if request.param == "simulator":
        board = Board(clock=RealClock(), voltage=lambda seconds: 2.5)
        with SimulatedBoard(path, board=board) as simulated:

            def check_led(on: bool) -> None:
                assert until(lambda: simulated.led is on, 10.0)

            yield Bench(path, check_led, simulated.unplug, simulated.plug)
    else:
        built = request.getfixturevalue("avr_build")
        with Simavr(built, path, millivolts=2500) as emulated:
            yield Bench(path, emulated.wait_for_led, emulated.kill, emulated.start)


@pytest.fixture
def wire(bench: Bench) -> Iterator[Wire]:
    """A conversation with the board that begins once it has said its banner."""
    with Wire(bench.path) as wire:
        wire.line_that(lambda line: line.startswith(b"B "))
        yield wire
