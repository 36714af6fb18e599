"""The scanner's driver keeps the contract of all drivers, over the wire of USB."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from drivers.barcode_scanner.board import Scanner
from drivers.barcode_scanner.driver import BarcodeScanner
from gateway.clock import Clock
from gateway.device.link import Opener
from gateway.testing.driver_contract import DriverContract
from routes.usb.settings import UsbSettings
from routes.usb.simulated_link import SimulatedLink


class TestBarcodeScanner(DriverContract):
    driver = BarcodeScanner
    packets = True
    gathers = True

    def make_board(self, clock: Clock) -> Scanner:
        return Scanner(clock, demo=0.5)

    def make_opener(self, path: Path) -> Opener:
        return partial(SimulatedLink, UsbSettings(simulated=str(path)))
