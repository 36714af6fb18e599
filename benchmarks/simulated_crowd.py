"""Many simulated bench boards in one OS process: ``python -m benchmarks.simulated_crowd FOLDER``.

Each lies behind its own link, ``FOLDER/board-0`` and so on, as a real one lies
behind its cable. Once all are plugged in, one line of JSON on standard output
tells when each began to count its milliseconds, on the machine's monotonic
clock; a later end of file on standard input unplugs them all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from drivers.bench_board.board import Board
from drivers.bench_board.simulator import SimulatedBoard
from gateway.clock import Clock, RealClock


class TimedBoard(Board):
    """A bench board that knows when it was reset."""

    def __init__(self, clock: Clock, serial_number: str) -> None:
        self._timer = clock
        super().__init__(clock=clock, serial_number=serial_number)

    def reset(self) -> None:
        """Do what power off and on does, and note the moment, in monotonic seconds."""
        self.began = self._timer.monotonic()
        super().reset()


def name_of(number: int) -> str:
    """Return the name of one board, which is its link's as well."""
    return f"board-{number}"


@contextmanager
def simulated_crowd(folder: Path, count: int) -> Iterator[dict[str, float]]:
    """Run ``count`` boards as a program of their own; yield when each began, by name."""
    program = [sys.executable, "-m", "benchmarks.simulated_crowd", str(folder)]
    with subprocess.Popen(
        [*program, "--count", str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as boards:
        try:
            assert boards.stdout is not None
            line = boards.stdout.readline()
            if not line:
                raise RuntimeError("the simulated boards did not start; see what they said above")
            began: dict[str, float] = json.loads(line)
            yield began
        finally:
            assert boards.stdin is not None
            boards.stdin.close()


def main() -> None:
    """Serve the boards until standard input ends."""
    parser = argparse.ArgumentParser(description="Many simulated bench boards.")
    parser.add_argument("folder", type=Path, help="where their links are put")
    parser.add_argument("--count", type=int, default=200, help="how many (200)")
    chosen = parser.parse_args()
    clock = RealClock()
    boards = {name_of(each): TimedBoard(clock, f"BB-{each:04}") for each in range(chosen.count)}
    with ExitStack() as plugged:
        for name, board in boards.items():
            plugged.enter_context(SimulatedBoard(chosen.folder / name, board=board, clock=clock))
        print(json.dumps({name: board.began for name, board in boards.items()}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
