"""What Home Assistant makes of a unit: the device class, and how it may be summed up.

Only where a unit leaves no doubt: ``%`` may be a humidity, a battery or a duty
cycle, ``L`` a tank's level or a meter's reading, and such have no class here.
A class that Home Assistant does not know, or that does not go with the unit,
would cost the whole entity; a missing one costs an icon.

The tables are those of its documentation of the sensor and number integrations.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Classes(NamedTuple):
    """``device_class`` and ``state_class`` of a number; empty for none."""

    device_class: str
    state_class: str


MEASUREMENT: Final = "measurement"

_UNITS: Final = {
    "apparent_power": "VA kVA",
    "area": "mm² cm² m² km² ha",
    "conductivity": "S/cm mS/cm µS/cm",
    "current": "mA A",
    "data_rate": "bit/s kbit/s Mbit/s Gbit/s B/s kB/s MB/s GB/s KiB/s MiB/s GiB/s",
    "data_size": "bit kbit Mbit Gbit B kB MB GB TB KiB MiB GiB TiB",
    "distance": "mm cm m km in ft yd mi",
    "duration": "ms s min h d",
    "frequency": "Hz kHz MHz GHz",
    "illuminance": "lx",
    "irradiance": "W/m²",
    "power": "W kW MW",
    "pressure": "Pa hPa kPa bar mbar psi",
    "reactive_power": "var",
    "signal_strength": "dBm",
    "speed": "mm/s m/s km/h kn mph",
    "temperature": "°C °F K",
    "voltage": "mV V",
    "volume_flow_rate": "m³/h L/min mL/s",
    "weight": "mg g kg",
}

BY_UNIT: Final = {
    **{
        unit: Classes(device_class, MEASUREMENT)
        for device_class, units in _UNITS.items()
        for unit in units.split()
    },
    # Energy may only be a total; one that is reset is told by its falling.
    **{unit: Classes("energy", "total_increasing") for unit in ("Wh", "kWh", "MWh")},
}

_SPELLINGS: Final = {"1": "", "μS/cm": "µS/cm", "l/min": "L/min", "ml/s": "mL/s", "l": "L"}
"""How others write what Home Assistant has one spelling for."""


def spelling(unit: str) -> str:
    """Return ``unit`` as Home Assistant writes it; empty where it is a mere number.

    >>> spelling("1"), spelling("l/min"), spelling("V")
    ('', 'L/min', 'V')
    """
    return _SPELLINGS.get(unit, unit)


def classes_of(unit: str) -> Classes:
    """Return what a number in ``unit`` is.

    >>> classes_of("V")
    Classes(device_class='voltage', state_class='measurement')
    >>> classes_of("%")
    Classes(device_class='', state_class='measurement')
    """
    return BY_UNIT.get(spelling(unit), Classes("", MEASUREMENT))
