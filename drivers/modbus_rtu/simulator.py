"""Modbus slaves on a pseudo-terminal, for those who have none.

Refused: a link path where something other than a symbolic link lies.

Run it by itself: ``python -m drivers.modbus_rtu.simulator --link /tmp/modbus``.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from drivers.modbus_rtu.board import Line
from gateway.clock import Clock, RealClock
from gateway.device.simulated_port import SimulatedPort, serve

HOW_TO = """\
Two Modbus slaves are plugged in at {link}: 1 is a heater, 2 a door (any baud).
The configuration for them is in drivers/modbus_rtu/README.md.
Ctrl-C pulls the cable.
"""


class SimulatedLine(SimulatedPort):
    """A Modbus line that can be plugged in, unplugged and plugged in again."""

    def __init__(
        self,
        link: str | os.PathLike[str],
        *,
        board: Line | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Name the link; `ValueError` where it cannot be made."""
        clock = clock or RealClock()
        self.board = board or Line(clock=clock)
        super().__init__(link, self.board, clock=clock)


def main(arguments: list[str] | None = None) -> int:
    """Serve the simulated slaves until Ctrl-C or SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m drivers.modbus_rtu.simulator",
        description="A Modbus RTU line without a wire: two slaves on a pseudo-terminal.",
    )
    parser.add_argument("--link", required=True, type=Path, help="symbolic link to put it behind")
    options = parser.parse_args(arguments)
    try:
        simulated = SimulatedLine(options.link)
    except ValueError as error:
        parser.error(str(error))
    serve(simulated, HOW_TO.format(link=options.link))
    return 0


if __name__ == "__main__":
    sys.exit(main())
