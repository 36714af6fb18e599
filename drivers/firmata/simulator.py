"""The Arduino on a pseudo-terminal, for those who have none.

Refused: a link path where something other than a symbolic link lies.

Run it by itself: ``python -m drivers.firmata.simulator --link /tmp/arduino``.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from drivers.firmata.board import Arduino
from gateway.clock import Clock, RealClock
from gateway.device.simulated_port import SimulatedPort, serve

HOW_TO = """\
An Arduino Uno with StandardFirmata is plugged in at {link} (57600 baud).
A configuration for it is in drivers/firmata/README.md.
Ctrl-C pulls the cable.
"""


class SimulatedArduino(SimulatedPort):
    """An Arduino that can be plugged in, unplugged and plugged in again."""

    def __init__(
        self,
        link: str | os.PathLike[str],
        *,
        board: Arduino | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Name the link; `ValueError` where it cannot be made."""
        clock = clock or RealClock()
        self.board = board or Arduino(clock=clock)
        super().__init__(link, self.board, clock=clock)


def main(arguments: list[str] | None = None) -> int:
    """Serve the simulated board until Ctrl-C or SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m drivers.firmata.simulator",
        description="An Arduino without an Arduino: StandardFirmata on a pseudo-terminal.",
    )
    parser.add_argument("--link", required=True, type=Path, help="symbolic link to put it behind")
    options = parser.parse_args(arguments)
    try:
        simulated = SimulatedArduino(options.link)
    except ValueError as error:
        parser.error(str(error))
    serve(simulated, HOW_TO.format(link=options.link))
    return 0


if __name__ == "__main__":
    sys.exit(main())
