"""A pump that speaks lines, on a pseudo-terminal, for those who have none.

Refused: a link path where something other than a symbolic link lies.

Run it by itself: ``python -m drivers.line_device.simulator --link /tmp/pump``.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from drivers.line_device.board import Pump
from gateway.clock import Clock, RealClock
from gateway.device.simulated_port import SimulatedPort, serve

HOW_TO = """\
A pump that speaks lines is plugged in at {link} (any baud).
Its declaration is in drivers/line_device/README.md.
  look:   cat {link}
Ctrl-C pulls the cable.
"""


class SimulatedPump(SimulatedPort):
    """A pump that can be plugged in, unplugged and plugged in again."""

    def __init__(
        self,
        link: str | os.PathLike[str],
        *,
        board: Pump | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Name the link; `ValueError` where it cannot be made."""
        clock = clock or RealClock()
        self.board = board or Pump(clock=clock)
        super().__init__(link, self.board, clock=clock)


def main(arguments: list[str] | None = None) -> int:
    """Serve the simulated pump until Ctrl-C or SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m drivers.line_device.simulator",
        description="A pump without a pump: its lines on a pseudo-terminal.",
    )
    parser.add_argument("--link", required=True, type=Path, help="symbolic link to put it behind")
    options = parser.parse_args(arguments)
    try:
        simulated = SimulatedPump(options.link)
    except ValueError as error:
        parser.error(str(error))
    serve(simulated, HOW_TO.format(link=options.link))
    return 0


if __name__ == "__main__":
    sys.exit(main())
