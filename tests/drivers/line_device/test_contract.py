"""The README's declaration makes a driver that keeps the contract of all drivers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from drivers.line_device.board import Pump
from drivers.line_device.driver import LineDevice
from gateway.clock import Clock
from gateway.testing.driver_contract import DriverContract
from tests.drivers.line_device.declared import pump


class TestDeclaredPump(DriverContract):
    driver = LineDevice
    settings: ClassVar[Mapping[str, Any]] = pump()

    def make_board(self, clock: Clock) -> Pump:
        return Pump(clock=clock)

    def make_stranger(self, clock: Clock) -> Pump:
        """Return a pump of another maker's words."""
        return _Toaster(clock=clock)


class _Toaster(Pump):
    def _answer(self, line: bytes) -> bytes:
        return b"ACME toaster: what is " + line
