"""The bench board on a pseudo-terminal, for those who have none.

Refused: a link path where something other than a symbolic link lies, a stream's
rate that the board cannot do.

Run it by itself: ``python -m drivers.bench_board.simulator --link /tmp/board``.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from drivers.bench_board import protocol
from drivers.bench_board.board import Board
from gateway.clock import Clock, RealClock
from gateway.device.simulated_port import SimulatedPort, serve

HOW_TO = """\
A bench board is plugged in at {link} (115200 baud, lines payload*XX).
  look:   cat {link}
  speak:  printf 'ID*0D\\nS2*61\\nL1*7D\\n' > {link}
Ctrl-C pulls the cable.
"""


class SimulatedBoard(SimulatedPort):
    """A bench board that can be plugged in, unplugged and plugged in again."""

    def __init__(
        self,
        link: str | os.PathLike[str],
        *,
        board: Board | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Name the link; `ValueError` where it cannot be made."""
        clock = clock or RealClock()
        self.board = board or Board(clock=clock)
        super().__init__(link, self.board, clock=clock)

    @property
    def led(self) -> bool:
        """Whether the board's LED is lit."""
        return self.board.led


def main(arguments: list[str] | None = None) -> int:
    """Serve a simulated board until Ctrl-C or SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m drivers.bench_board.simulator",
        description="A bench board without the board: its protocol on a pseudo-terminal.",
    )
    parser.add_argument("--link", required=True, type=Path, help="symbolic link to put it behind")
    parser.add_argument(
        "--hz",
        type=int,
        default=0,
        help=f"readings a second from the start, 0 to {protocol.MAX_HZ}",
    )
    options = parser.parse_args(arguments)
    clock = RealClock()
    try:
        board = Board(clock=clock, start_hz=options.hz)
        simulated = SimulatedBoard(options.link, board=board, clock=clock)
    except ValueError as error:
        parser.error(str(error))
    serve(simulated, HOW_TO.format(link=options.link))
    return 0


if __name__ == "__main__":
    sys.exit(main())
