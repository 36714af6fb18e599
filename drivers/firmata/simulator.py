"""The Arduino on a pseudo-terminal, for those who have none.

Refused: a link path where something other than a symbolic link lies.

Run it by itself: ``python -m drivers.firmata.simulator --link /tmp/arduino``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from drivers.firmata.board import Arduino
from gateway.device.simulated_port import SimulatedPort
from gateway.device.simulator_program import run

HOW_TO = """\
An Arduino Uno with StandardFirmata is plugged in at {link} (57600 baud).
A configuration for it is in drivers/firmata/README.md.
Ctrl-C pulls the cable.
"""


class SimulatedArduino(SimulatedPort[Arduino]):
    """An Arduino that can be plugged in, unplugged and plugged in again."""

    make_board = Arduino


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve it until Ctrl-C or SIGTERM; return the exit status."""
    return run(
        lambda options: SimulatedArduino(options.link),
        HOW_TO,
        program="drivers.firmata.simulator",
        description="An Arduino without an Arduino: StandardFirmata on a pseudo-terminal.",
        arguments=arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
