"""The GPS receiver on a pseudo-terminal, for those who have none, or no sky.

Refused: a link path where something other than a symbolic link lies, a rate
that no receiver has.

Run it by itself: ``python -m drivers.nmea_gps.simulator --link /tmp/gps``.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from drivers.nmea_gps.board import Receiver
from gateway.clock import Clock, RealClock
from gateway.device.simulated_port import SimulatedPort, serve

HOW_TO = """\
A GPS receiver is plugged in at {link} (NMEA 0183).
  look:   cat {link}
Ctrl-C pulls the cable.
"""


class SimulatedReceiver(SimulatedPort):
    """A receiver that can be plugged in, unplugged and plugged in again."""

    def __init__(
        self,
        link: str | os.PathLike[str],
        *,
        board: Receiver | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Name the link; `ValueError` where it cannot be made."""
        clock = clock or RealClock()
        self.board = board or Receiver(clock=clock)
        super().__init__(link, self.board, clock=clock)


def main(arguments: list[str] | None = None) -> int:
    """Serve a simulated receiver until Ctrl-C or SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m drivers.nmea_gps.simulator",
        description="A GPS receiver without a receiver: its sentences on a pseudo-terminal.",
    )
    parser.add_argument("--link", required=True, type=Path, help="symbolic link to put it behind")
    parser.add_argument("--hz", type=float, default=1.0, help="fixes a second, 0.1 to 20")
    parser.add_argument(
        "--fix-after", type=float, default=0.0, help="seconds until it knows where it is"
    )
    options = parser.parse_args(arguments)
    clock = RealClock()
    try:
        board = Receiver(clock=clock, hz=options.hz, fix_after=options.fix_after)
        simulated = SimulatedReceiver(options.link, board=board, clock=clock)
    except ValueError as error:
        parser.error(str(error))
    serve(simulated, HOW_TO.format(link=options.link))
    return 0


if __name__ == "__main__":
    sys.exit(main())
