"""Modbus slaves on a pseudo-terminal, for those who have none.

Refused: a link path where something other than a symbolic link lies.

Run it by itself: ``python -m drivers.modbus_rtu.simulator --link /tmp/modbus``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from drivers.modbus_rtu.board import Line
from gateway.device.simulated_port import SimulatedPort
from gateway.device.simulator_program import run

HOW_TO = """\
Two Modbus slaves are plugged in at {link}: 1 is a heater, 2 a door (any baud).
The configuration for them is in drivers/modbus_rtu/README.md.
Ctrl-C pulls the cable.
"""


class SimulatedLine(SimulatedPort[Line]):
    """A Modbus line that can be plugged in, unplugged and plugged in again."""

    make_board = Line


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve it until Ctrl-C or SIGTERM; return the exit status."""
    return run(
        lambda options: SimulatedLine(options.link),
        HOW_TO,
        program="drivers.modbus_rtu.simulator",
        description="A Modbus RTU line without a wire: two slaves on a pseudo-terminal.",
        arguments=arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
