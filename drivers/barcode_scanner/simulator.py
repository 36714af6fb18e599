"""The scanner on a socket, for those who have none.

Refused: a path where something other than a socket lies, a code that no US keyboard
can type.

Run it by itself: ``python -m drivers.barcode_scanner.simulator --link /tmp/scanner``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from drivers.barcode_scanner.board import Scanner
from gateway.clock import RealClock
from gateway.device.simulated_usb import SimulatedUsb

HOW_TO = """\
A barcode scanner is plugged in at {link}.
  configure:  driver = "barcode_scanner", route = "usb", simulated = "{link}"
  scan:       type a code here and press Enter
Ctrl-C or Ctrl-D pulls the cable.
"""


class SimulatedScanner(SimulatedUsb):
    """A scanner that can be plugged in, unplugged and plugged in again."""

    make_board = Scanner
    board: Scanner

    def scan(self, code: str) -> None:
        """Hold ``code`` before the scanner; `ValueError` where it cannot be typed."""
        self.do(lambda: self.board.scan(code))


def main(arguments: list[str] | None = None) -> int:
    """Serve a simulated scanner until Ctrl-C, or the end of its input; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m drivers.barcode_scanner.simulator",
        description="A barcode scanner without the scanner: its reports on a socket.",
    )
    parser.add_argument("--link", required=True, type=Path, help="path to put its socket at")
    parser.add_argument(
        "--every", type=float, help="scan a code by itself every so many seconds, 0.1 or more"
    )
    options = parser.parse_args(arguments)
    if options.every is not None and not 0.1 <= options.every <= 3600:
        parser.error("--every takes 0.1 to 3600 seconds")
    clock = RealClock()
    try:
        scanner = SimulatedScanner(
            options.link, board=Scanner(clock, demo=options.every), clock=clock
        )
    except ValueError as error:
        parser.error(str(error))
    try:
        with scanner:
            sys.stdout.write(HOW_TO.format(link=options.link))
            sys.stdout.flush()
            for line in sys.stdin:
                try:
                    scanner.scan(line.rstrip("\n"))
                except ValueError as error:
                    sys.stdout.write(f"{error}\n")
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
