"""The bench board on a pseudo-terminal, for those who have none.

Refused: a link path where something other than a symbolic link lies, a stream's
rate that the board cannot do.

Run it by itself: ``python -m drivers.bench_board.simulator --link /tmp/board``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from drivers.bench_board import protocol
from drivers.bench_board.board import Board
from gateway.clock import RealClock
from gateway.device.simulated_port import SimulatedPort
from gateway.device.simulator_program import run

HOW_TO = """\
A bench board is plugged in at {link} (115200 baud, lines payload*XX).
  look:   cat {link}
  speak:  printf 'ID*0D\\nS2*61\\nL1*7D\\n' > {link}
Ctrl-C pulls the cable.
"""


class SimulatedBoard(SimulatedPort[Board]):
    """A bench board that can be plugged in, unplugged and plugged in again."""

    make_board = Board

    @property
    def led(self) -> bool:
        """Whether the board's LED is lit."""
        return self.board.led


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve it until Ctrl-C or SIGTERM; return the exit status."""
    return run(
        _made,
        HOW_TO,
        program="drivers.bench_board.simulator",
        description="A bench board without the board: its protocol on a pseudo-terminal.",
        arguments=arguments,
        add_arguments=lambda parser: parser.add_argument(
            "--hz",
            type=int,
            default=0,
            help=f"readings a second from the start, 0 to {protocol.MAX_HZ}",
        ),
    )


def _made(options: argparse.Namespace) -> SimulatedBoard:
    clock = RealClock()
    return SimulatedBoard(options.link, Board(clock=clock, start_hz=options.hz), clock=clock)


if __name__ == "__main__":
    sys.exit(main())
