"""A pump that speaks lines, on a pseudo-terminal, for those who have none.

Refused: a link path where something other than a symbolic link lies.

Run it by itself: ``python -m drivers.line_device.simulator --link /tmp/pump``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from drivers.line_device.board import Pump
from gateway.device.simulated_port import SimulatedPort
from gateway.device.simulator_program import run

HOW_TO = """\
A pump that speaks lines is plugged in at {link} (any baud).
Its declaration is in drivers/line_device/README.md.
  look:   cat {link}
Ctrl-C pulls the cable.
"""


class SimulatedPump(SimulatedPort[Pump]):
    """A pump that can be plugged in, unplugged and plugged in again."""

    make_board = Pump


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve it until Ctrl-C or SIGTERM; return the exit status."""
    return run(
        lambda options: SimulatedPump(options.link),
        HOW_TO,
        program="drivers.line_device.simulator",
        description="A pump without a pump: its lines on a pseudo-terminal.",
        arguments=arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
