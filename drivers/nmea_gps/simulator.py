"""The GPS receiver on a pseudo-terminal, for those who have none, or no sky.

Refused: a link path where something other than a symbolic link lies, a rate
that no receiver has.

Run it by itself: ``python -m drivers.nmea_gps.simulator --link /tmp/gps``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from drivers.nmea_gps.board import Receiver
from gateway.clock import RealClock
from gateway.device.simulated_port import SimulatedPort
from gateway.device.simulator_program import run

HOW_TO = """\
A GPS receiver is plugged in at {link} (NMEA 0183).
  look:   cat {link}
Ctrl-C pulls the cable.
"""


class SimulatedReceiver(SimulatedPort[Receiver]):
    """A receiver that can be plugged in, unplugged and plugged in again."""

    make_board = Receiver


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve it until Ctrl-C or SIGTERM; return the exit status."""
    return run(
        _made,
        HOW_TO,
        program="drivers.nmea_gps.simulator",
        description="A GPS receiver without a receiver: its sentences on a pseudo-terminal.",
        arguments=arguments,
        add_arguments=_add_arguments,
    )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hz", type=float, default=1.0, help="fixes a second, 0.1 to 20")
    parser.add_argument(
        "--fix-after", type=float, default=0.0, help="seconds until it knows where it is"
    )


def _made(options: argparse.Namespace) -> SimulatedReceiver:
    clock = RealClock()
    board = Receiver(clock=clock, hz=options.hz, fix_after=options.fix_after)
    return SimulatedReceiver(options.link, board, clock=clock)


if __name__ == "__main__":
    sys.exit(main())
