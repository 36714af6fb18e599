"""The bench board's driver keeps the contract of all drivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from drivers.bench_board.board import Board
from drivers.bench_board.driver import BenchBoard
from gateway.clock import Clock
from gateway.testing.driver_contract import DriverContract


class TestBenchBoard(DriverContract):
    driver = BenchBoard
    settings: ClassVar[Mapping[str, Any]] = {"stream_hz": 5}
    arguments: ClassVar[Mapping[str, Sequence[Mapping[str, Any]]]] = {
        # Not 0 first: the conversation is to bring readings.
        "stream": [{"hz": 20}, {"hz": 0}, {"hz": 200}],
        "inject_fault": [
            {"kind": "report", "number": 2},
            *({"kind": kind} for kind in ("none", "hang", "silence", "corrupt")),
            {"kind": "corrupt", "number": 255},
        ],
    }
    proof = "tests/drivers/bench_board/test_hosted.py"

    def make_board(self, clock: Clock) -> Board:
        return Board(clock=clock)

    def make_stranger(self, clock: Clock) -> Board:
        board = Board(clock=clock)
        board._identity = b"toaster 1.0.0 T-1"
        return board
