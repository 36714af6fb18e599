"""The schema of Home Assistant's rules catches what Home Assistant would refuse."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from tests.routes.mqtt.home_assistant_schema import check, command, render

TOPIC = "homeassistant/device/gateway-pi/board/config"
GOOD: dict[str, Any] = {
    "device": {"identifiers": ["pi.board"], "name": "board"},
    "origin": {"name": "somebody"},
    "availability": [{"topic": "pi/status", "value_template": "{{ value_json.online }}"}],
    "availability_mode": "all",
    "components": {
        "volts": {
            "platform": "sensor",
            "unique_id": "pi.board.volts",
            "name": "Volts",
            "state_topic": "pi/board/analogue",
            "value_template": "{{ value_json.volts }}",
            "unit_of_measurement": "V",
            "device_class": "voltage",
            "state_class": "measurement",
        },
        "led": {
            "platform": "switch",
            "unique_id": "pi.board.led",
            "name": "Led",
            "command_topic": "pi/board/led",
            "optimistic": True,
        },
        "rate": {
            "platform": "number",
            "unique_id": "pi.board.rate",
            "name": "Rate",
            "command_topic": "pi/board/rate",
            "command_template": "{{ value }}",
            "optimistic": True,
            "min": 0,
            "max": 200,
        },
        "mode": {
            "platform": "select",
            "unique_id": "pi.board.mode",
            "name": "Mode",
            "command_topic": "pi/board/mode",
            "optimistic": True,
            "options": ["a", "b"],
        },
    },
}


def altered(path: str, value: Any) -> bytes:
    """Return the good payload with one thing changed, or left out where ``value`` is `...`."""
    payload = copy.deepcopy(GOOD)
    *before, last = path.split(".")
    place: Any = payload
    for each in before:
        place = place[int(each) if each.isdigit() else each]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return msgspec.json.encode(payload)


def test_what_is_right_passes() -> None:
    assert check(TOPIC, msgspec.json.encode(GOOD)).keys() == {"volts", "led", "rate", "mode"}


@pytest.mark.parametrize(
    "topic",
    [
        "homeassistant/sensor/gateway-pi/board/config",
        "homeassistant/device/gateway pi/board/config",
        "homeassistant/device/gateway-pi/bo.ard/config",
        "homeassistant/device/gateway-pi/board/more/config",
        "homeassistant/device/gateway-pi/board/state",
        "device/board/config",
    ],
)
def test_a_topic_that_would_not_be_heard_is_refused(topic: str) -> None:
    with pytest.raises(ValueError, match="no topic"):
        check(topic, msgspec.json.encode(GOOD))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("device", ...),
        ("origin", ...),
        ("components", ...),
        ("origin.name", ...),
        ("device.identifiers", []),
        ("device.colour", "red"),
        ("colour", "red"),
        ("availability_mode", "both"),
        ("availability.0.topic", ...),
        ("availability.0.topic", "pi/+"),
        ("availability.0.value_template", "{{ value_json."),
        ("components.volts.platform", ...),
        ("components.volts.platform", "voltmeter"),
        ("components.volts.unique_id", ...),
        ("components.volts.unique_id", "pi.board.led"),
        ("components.volts.name", ""),
        ("components.volts.state_topic", ...),
        ("components.volts.state_topic", "pi/#"),
        ("components.volts.value_template", "{% if %}"),
        ("components.volts.unit_of_measurement", "°C"),
        ("components.volts.unit_of_measurement", ...),
        ("components.volts.device_class", "electricity"),
        ("components.volts.device_class", "energy"),
        ("components.volts.state_class", "total"),
        ("components.volts.state_class", "reading"),
        ("components.volts.options", ["a"]),
        ("components.volts.command_topic", "pi/x"),
        ("components.led.command_topic", ...),
        ("components.led.optimistic", ...),
        ("components.led.value_template", "{{ value }}"),
        ("components.led.qos", 3),
        ("components.rate.min", 200),
        ("components.rate.step", 0.0001),
        ("components.rate.command_template", "{{ value "),
        ("components.rate.device_class", "timestamp"),
        ("components.mode.options", ...),
    ],
)
def test_what_home_assistant_would_refuse_is_caught(path: str, value: Any) -> None:
    with pytest.raises(ValueError):
        check(TOPIC, altered(path, value))


def test_what_is_to_be_removed_needs_nothing_but_its_platform() -> None:
    found = check(TOPIC, altered("components.led", {"platform": "switch"}))
    assert found.keys() == {"volts", "rate", "mode"}
    with pytest.raises(ValueError):
        check(TOPIC, altered("components.led", {}))


def test_templates_see_what_home_assistant_hands_them() -> None:
    assert render("{{ value_json['a'] }}", b'{"a": null}') == "None"
    assert render("{{ value }}", b"no JSON") == "no JSON"
    assert command("{{ {'a': value} | tojson }}", "it's") == b'{"a": "it\\u0027s"}'
