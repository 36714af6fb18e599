"""The Firmata driver keeps the contract of all drivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from drivers.firmata.board import Arduino
from drivers.firmata.driver import Firmata
from gateway.clock import Clock
from gateway.testing.driver_contract import DriverContract


class TestFirmata(DriverContract):
    driver = Firmata
    settings: ClassVar[Mapping[str, Any]] = {
        "pins": {
            "lamp": {"pin": 13, "mode": "output"},
            "button": {"pin": 2, "mode": "pullup"},
            "fan": {"pin": 9, "mode": "pwm"},
            "flap": {"pin": 10, "mode": "servo"},
            "light": {"pin": "A0", "mode": "analog", "unit": "V", "full_scale": 5.0},
        },
        "sampling": 500,
    }
    arguments: ClassVar[Mapping[str, Sequence[Mapping[str, Any]]]] = {
        "set_pin": [{"name": "lamp", "on": True}, {"name": "lamp", "on": False}],
        "set_level": [{"name": "fan", "level": 0.5}, {"name": "fan", "level": 1.0}],
        "set_angle": [{"name": "flap", "degrees": 45.0}],
        "read_pin": [{"name": "button"}, {"name": "light"}],
    }
    only_at_times: ClassVar[frozenset[str]] = frozenset({"message"})

    def make_board(self, clock: Clock) -> Arduino:
        return Arduino(clock=clock)
