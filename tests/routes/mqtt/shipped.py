"""What the infos of the drivers shipped say, declared ones with something of each kind."""

from __future__ import annotations

from typing import Any

from gateway import plugins
from gateway.device import Identity

SETTINGS: dict[str, dict[str, Any]] = {
    "firmata": {
        "pins": {
            "door": {"pin": 2, "mode": "pullup"},
            "lamp": {"pin": 13, "mode": "output"},
            "soil": {"pin": "A0", "mode": "analog", "full_scale": 5.0, "unit": "V"},
        }
    },
    "modbus_rtu": {
        "registers": {
            "supply": {"address": 0, "unit": "V", "scale": 0.1},
            "count": {"address": 1, "unit": "1"},
            "running": {"address": 0, "function": "coil", "writable": True},
            "energy": {"address": 2, "type": "uint32", "unit": "kWh"},
        }
    },
    "line_device": {
        "handshake": {"ask": "ID?", "answer": "^ID (?P<model>.+)"},
        "commands": {
            "power": {"write": "P{on}", "parameters": {"on": {"type": "bool"}}},
            "flow": {
                "write": "F{rate:.1f}",
                "parameters": {"rate": {"type": "float", "unit": "L/min", "min": 0, "max": 12}},
            },
            "mode": {
                "write": "M{mode}",
                "parameters": {"mode": {"type": "str", "choices": ["slow", "fast"]}},
            },
            "label": {"write": "L{args}", "parameters": {"args": {"type": "str"}}},
            "reset": {"write": "R"},
            "move": {
                "write": "X{x}Y{y}",
                "parameters": {"x": {"type": "int"}, "y": {"type": "int"}},
            },
        },
        "publications": {
            "power": {"match": "^P(?P<value>[01])$", "fields": {"value": {"type": "bool"}}},
            "flow": {
                "match": "^F(?P<value>[0-9.]+)$",
                "fields": {"value": {"type": "float", "unit": "L/min"}},
            },
            "climate": {
                "match": "^C(?P<warmth>[0-9.]+),(?P<wind>[0-9]+),(?P<sky>.*)$",
                "fields": {
                    "warmth": {"type": "float", "unit": "°C"},
                    "wind": {"type": "int", "unit": "%"},
                    "sky": {"type": "str"},
                },
            },
        },
    },
}

DRIVERS = ("barcode_scanner", "bench_board", "firmata", "line_device", "modbus_rtu", "nmea_gps")


def info_of(driver: str) -> dict[str, Any]:
    """Return what ``devices/<name>/info`` says of a device with this driver."""
    found: Any = plugins.find(plugins.DRIVERS, driver)
    settings = SETTINGS.get(driver, {})
    who = Identity(firmware="2.1", model="a board", serial_number="007")
    info: dict[str, Any] = found.configured(settings).describe(who)
    return info
