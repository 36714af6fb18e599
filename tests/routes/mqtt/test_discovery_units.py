"""No unit is given a class that Home Assistant would not take with it."""

from __future__ import annotations

import pytest

from routes.mqtt.discovery_units import BY_UNIT, classes_of, spelling
from tests.routes.mqtt import home_assistant_schema as home


@pytest.mark.parametrize("unit", BY_UNIT)
def test_a_class_goes_with_its_unit(unit: str) -> None:
    classes = classes_of(unit)
    home.check_class(classes.device_class, unit)
    assert classes.state_class in home.STATE_CLASSES[classes.device_class]
    assert spelling(unit) == unit


@pytest.mark.parametrize("unit", ["", "1", "%", "L", "m³", "°", "dB", "ppm", "rpm", "furlongs"])
def test_a_unit_that_leaves_a_doubt_has_no_class(unit: str) -> None:
    assert classes_of(unit) == ("", "measurement")
