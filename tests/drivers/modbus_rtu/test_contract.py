"""The Modbus master keeps the contract of all drivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from drivers.modbus_rtu.board import Line, Slave
from drivers.modbus_rtu.driver import ModbusRtu
from gateway.clock import Clock
from gateway.testing.driver_contract import DriverContract

REGISTERS: dict[str, dict[str, Any]] = {
    "temperature": {"function": "input", "address": 0, "type": "int16", "scale": 0.1, "unit": "°C"},
    "setpoint": {"address": 0, "scale": 0.1, "unit": "°C", "writable": True, "min": 5, "max": 30},
    "pump": {"function": "coil", "address": 0, "writable": True, "poll": 0.5},
}


class TestModbusRtu(DriverContract):
    driver = ModbusRtu
    settings: ClassVar[Mapping[str, Any]] = {"registers": REGISTERS}
    arguments: ClassVar[Mapping[str, Sequence[Mapping[str, Any]]]] = {
        "read_register": [{"name": "temperature"}, {"name": "pump"}],
        "write_register": [
            {"name": "setpoint", "value": 20.5},
            {"name": "setpoint", "value": 5},
            {"name": "pump", "value": True},
        ],
    }
    proof = "tests/drivers/modbus_rtu/test_pymodbus_server.py"

    def make_board(self, clock: Clock) -> Line:
        slave = Slave(holding={0: 215}, inputs={0: 180}, coils={0: False})
        return Line({1: slave}, clock=clock)

    def make_stranger(self, clock: Clock) -> Line:
        """Return a slave of another number."""
        return Line({9: Slave(holding={0: 1})}, clock=clock)


class TestModbusRtuOverlapping(TestModbusRtu):
    settings: ClassVar[Mapping[str, Any]] = {"registers": REGISTERS, "overlapping": True}
