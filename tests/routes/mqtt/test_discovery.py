"""What Home Assistant is told of a device, held against Home Assistant's own rules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.codec import to_json
from routes.mqtt.commands import Call, parse_call
from routes.mqtt.discovery import Announcer, Entry, platforms_in
from routes.mqtt.discovery_names import safe, unsafe
from routes.mqtt.discovery_settings import DiscoverySettings
from routes.mqtt.incoming import Incoming
from routes.mqtt.topics import Topics
from tests.routes.mqtt import home_assistant_schema as home
from tests.routes.mqtt.shipped import DRIVERS, info_of

NODE = "kitchen-pi"
TOPICS = Topics(NODE)
NAMES = st.text(min_size=1, max_size=20)
UNICODE = st.characters(exclude_categories=["Cs"])


def announce(
    info: Mapping[str, Any],
    *,
    device: str = "pump",
    node: str = NODE,
    before: Mapping[str, str] | None = None,
    allowed: bool = True,
    limit: int = 64 << 10,
    **settings: Any,
) -> Entry:
    announcer = Announcer(DiscoverySettings(**settings), Topics(node), node=node, version="1.0")
    return announcer.entry(
        device, info, allows=lambda name: allowed, before=before or {}, limit=limit
    )


def components(entry: Entry) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = msgspec.json.decode(entry.payload)["components"]
    return found


def field(kind: str, unit: str = "") -> dict[str, Any]:
    described = {"type": kind, "unit": unit}
    return {"publications": [{"topic": "t", "body": "T", "fields": {"f": described}}]}


def one_command(**parameters: dict[str, Any]) -> dict[str, Any]:
    return {"commands": {"go": {"parameters": parameters}}}


def pressed(info: dict[str, Any], payload: bytes, command: str = "go") -> Any:
    """Return the arguments that our side of a call makes of ``payload``."""
    incoming = Incoming(TOPICS.call_to("pump", command), payload)
    call = parse_call(incoming, TOPICS, {"pump": info}, max_payload=10_000)
    assert isinstance(call, Call), call
    return call.arguments


# All drivers.


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_is_announced_of_each_driver_is_what_home_assistant_takes(driver: str) -> None:
    entry = announce(info_of(driver))
    entities = home.check(entry.topic, entry.payload)
    assert len(entities) > 1
    assert entry.omitted == 0
    assert {key: type(each).__struct_config__.tag for key, each in entities.items()} == (
        entry.platforms
    )


def test_every_driver_that_is_shipped_is_among_them() -> None:
    drivers = Path(__file__).parents[3] / "drivers"
    assert {path.parent.name for path in drivers.glob("*/driver.py")} == set(DRIVERS)


def test_what_a_board_measures_is_a_sensor_with_unit_and_classes() -> None:
    volts = components(announce(info_of("bench_board"), device="bench"))[
        "publication.analogue.volts"
    ]
    assert volts == {
        "platform": "sensor",
        "name": "Analogue volts",
        "state_topic": "gateway/kitchen-pi/devices/bench/analogue",
        "value_template": "{{ value_json['volts'] }}",
        "unit_of_measurement": "V",
        "device_class": "voltage",
        "state_class": "measurement",
        "unique_id": "gateway.kitchen-pi.bench.publication.analogue.volts",
    }


def test_the_commands_of_a_board_become_what_fits_them() -> None:
    entry = announce(info_of("line_device"))
    kinds = {key: each["platform"] for key, each in components(entry).items()}
    assert kinds == {
        "state": "sensor",
        "command.power": "switch",
        "command.flow": "number",
        "command.mode": "select",
        "command.label": "text",
        "command.reset": "button",
        "publication.climate.warmth": "sensor",
        "publication.climate.wind": "sensor",
        "publication.climate.sky": "sensor",
    }


def test_a_command_shows_what_the_publication_of_its_name_says_else_what_it_was_told() -> None:
    found = components(announce(info_of("line_device")))
    power, mode = found["command.power"], found["command.mode"]
    assert power["state_topic"] == "gateway/kitchen-pi/devices/pump/power"
    assert home.render(power["value_template"], b"true") == power["state_on"]
    assert home.render(power["value_template"], b"false") == power["state_off"]
    assert (mode.get("state_topic"), mode["optimistic"]) == (None, True)


def test_what_is_chosen_there_is_a_call_that_we_understand() -> None:
    info = info_of("line_device")
    found = components(announce(info))
    power, reset = found["command.power"], found["command.reset"]
    assert pressed(info, power["payload_on"].encode(), "power") == {"on": True}
    assert pressed(info, power["payload_off"].encode(), "power") == {"on": False}
    assert pressed(info, reset["payload_press"].encode(), "reset") == {}
    chosen = {"flow": ("rate", 2.5), "mode": ("mode", "fast"), "label": ("args", 'a "b" {{c}} <ü>')}
    for name, (parameter, value) in chosen.items():
        config = found[f"command.{name}"]
        assert config["command_topic"] == TOPICS.call_to("pump", name)
        payload = home.command(config["command_template"], value)
        assert pressed(info, payload, name) == {parameter: value}


def test_a_command_that_nobody_may_call_is_no_entity() -> None:
    found = components(announce(info_of("line_device"), allowed=False))
    assert not [key for key in found if key.startswith("command.")]
    # What it would have shown is shown all the same.
    assert found["publication.power"]["platform"] == "binary_sensor"


# One thing at a time.


@pytest.mark.parametrize(
    ("kind", "unit", "expected"),
    [
        ("int", "", {"platform": "sensor", "state_class": "measurement"}),
        ("float | None", "°C", {"device_class": "temperature"}),
        ("int | float", "%", {"unit_of_measurement": "%", "device_class": None}),
        ("int", "1", {"unit_of_measurement": None}),
        ("float", "kWh", {"device_class": "energy", "state_class": "total_increasing"}),
        ("bool", "", {"platform": "binary_sensor"}),
        ("bool | None", "", {"platform": "binary_sensor"}),
        ("str", "", {"platform": "sensor", "state_class": None}),
        ("Literal['a', 'b'] | None", "", {"device_class": "enum", "options": ["a", "b"]}),
        ("datetime.datetime | None", "", {"device_class": "timestamp"}),
        ("list[int]", "", None),
        ("bool | int", "", None),
        ("Literal[1, 2]", "", None),
        ("Literal[", "", None),
        ("", "", None),
        ("None", "", None),
    ],
)
def test_a_field_is_known_by_its_type(kind: str, unit: str, expected: dict[str, Any] | None):
    entry = announce(field(kind, unit))
    home.check(entry.topic, entry.payload)
    found = components(entry).get("publication.t.f")
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("kind", "body", "shown"),
    [
        ("float | None", b'{"f": 2.5}', "2.5"),
        ("float | None", b'{"f": null}', "None"),
        ("bool", b'{"f": true}', "True"),
        ("str", b'{"f": "' + b"x" * 300 + b'"}', "x" * 255),
        ("str | None", b'{"f": null}', "None"),
    ],
)
def test_the_value_is_got_out_of_what_is_published(kind: str, body: bytes, shown: str) -> None:
    (config,) = (each for key, each in components(announce(field(kind))).items() if "t.f" in key)
    assert home.render(config["value_template"], body) == shown


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ({"type": "int", "minimum": 0, "maximum": 200}, {"min": 0, "max": 200, "step": 1}),
        ({"type": "float", "minimum": 0, "maximum": 180}, {"min": 0, "max": 180, "step": 0.1}),
        ({"type": "float", "minimum": 0, "maximum": 1}, {"min": 0, "max": 1, "step": 0.001}),
        ({"type": "float"}, {"min": -1e9, "max": 1e9, "step": 0.001}),
        ({"type": "int", "minimum": 5}, {"min": 5, "max": 1e9, "step": 1}),
        ({"type": "float", "minimum": -1.7e308, "maximum": 1.7e308}, {"step": 0.001}),
        ({"type": "float", "minimum": 0, "maximum": 5e-324}, {"step": 0.001}),
    ],
)
def test_a_number_has_the_bounds_of_its_parameter(
    parameter: dict[str, Any], expected: dict[str, Any]
) -> None:
    entry = announce(one_command(x={"required": True, **parameter}))
    home.check(entry.topic, entry.payload)
    config = components(entry)["command.go"]
    assert {key: config[key] for key in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("parameters", "platform"),
    [
        ({}, "button"),
        ({"a": {"type": "bool"}}, "switch"),
        ({"a": {"type": "list[int]"}}, "button"),
        ({"a": {"type": "bool"}, "b": {"type": "int"}}, "button"),
        ({"a": {"type": "str", "required": True}, "b": {"type": "int"}}, "text"),
        ({"a": {"type": "bool", "required": True}, "b": {"type": "int", "required": True}}, None),
        ({"a": {"type": "list[int]", "required": True}}, None),
        ({"a": {"type": "int", "required": True, "minimum": 3, "maximum": 3}}, None),
    ],
)
def test_only_what_needs_one_thing_at_the_most_is_an_entity(
    parameters: dict[str, Any], platform: str | None
) -> None:
    entry = announce(one_command(**parameters))
    home.check(entry.topic, entry.payload)
    assert components(entry).get("command.go", {}).get("platform") == platform


def test_what_is_left_out_by_name_is_left_out() -> None:
    info = info_of("bench_board")
    entry = announce(info, leave_out=("pump/analogue/*", "*/counters", "other/led"))
    assert components(entry).keys() == {
        *("state", "command.led", "command.stream", "command.inject__fault"),
        "command.read__analogue",
    }


def test_a_device_that_is_not_there_shows_why() -> None:
    message = msgspec.json.decode(announce(info_of("bench_board")).payload)
    gateway, device = message["availability"]
    assert message["availability_mode"] == "all"
    assert gateway["topic"] == "gateway/kitchen-pi/status"
    for body, available in ((b'{"online": true}', "online"), (b'{"online": false}', "offline")):
        assert home.render(gateway["value_template"], body) == available
    assert device["topic"] == "gateway/kitchen-pi/devices/pump/state"
    for body, available in ((b'{"connected": true}', "online"), (b'{"connected":0}', "offline")):
        assert home.render(device["value_template"], body) == available
    state = message["components"]["state"]
    assert state["availability"] == [gateway]
    assert home.render(state["value_template"], b'{"state": "failed"}') in state["options"]


def test_the_board_is_known_by_what_it_says_of_itself() -> None:
    message = msgspec.json.decode(announce(info_of("bench_board")).payload)
    assert message["device"] == {
        "identifiers": ["gateway.kitchen-pi.pump"],
        "name": "kitchen-pi pump",
        "model": "a board",
        "sw_version": "2.1",
        "serial_number": "007",
    }
    assert message["origin"] == {"name": "hardware-gateway", "sw_version": "1.0"}


# What is gone.


def test_an_entity_that_is_gone_is_named_once_more_with_its_platform_alone() -> None:
    before = platforms_in(announce(info_of("bench_board")).payload)
    assert before is not None
    changed = announce(info_of("bench_board"), before=before, leave_out=("*/led",))
    assert components(changed)["command.led"] == {"platform": "switch"}
    assert "command.led" not in home.check(changed.topic, changed.payload)
    assert "command.led" not in changed.platforms
    after = platforms_in(changed.payload)
    assert after is not None
    assert "command.led" not in after


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"{", b"null", b"[]", b"\xff", b'{"origin": 1}', b'{"origin": {"name": "zigbee"}}'),
        b'{"components": {}}',
        b"[" * 100_000,
    ],
)
@pytest.mark.usefixtures("uncollected")
def test_what_is_not_ours_is_not_taken_for_ours(payload: bytes) -> None:
    assert platforms_in(payload) is None


def test_of_a_strange_entry_of_ours_what_is_understood_is_taken() -> None:
    payload = to_json(
        {
            "origin": {"name": "hardware-gateway"},
            "components": {
                "a": {"platform": "sensor", "name": "A"},
                "b": {"platform": 7, "name": "B"},
                "c": "?",
            },
        }
    )
    assert platforms_in(payload) == {"a": "sensor"}
    assert platforms_in(b'{"origin": {"name": "hardware-gateway"}, "components": 1}') == {}


# Bounds and strange names.


def test_an_entry_is_never_longer_than_the_limit_and_tells_what_it_leaves_out() -> None:
    publications = [
        {"topic": f"registers/{number}", "body": "int", "unit": "V"} for number in range(500)
    ]
    entry = announce({"publications": publications}, limit=20_000)
    entities = home.check(entry.topic, entry.payload)
    assert 19_000 < len(entry.payload) <= 20_000
    assert entry.omitted == 501 - len(entities) > 0


@given(NAMES, NAMES, st.sampled_from(["", "old-name"]))
def test_any_names_make_a_safe_topic_that_is_read_back(node: str, device: str, renamed: str):
    announcer = Announcer(DiscoverySettings(id=renamed), Topics(node), node=node, version="1.0")
    topic = announcer.topic(device)
    assert home.TOPIC.fullmatch(topic)
    assert announcer.device_of(topic) == device


@given(NAMES, NAMES)
def test_no_two_names_are_spelt_alike(one: str, other: str) -> None:
    assert (safe(one) == safe(other)) == (one == other)
    assert unsafe(safe(one)) == one


@given(st.text(alphabet="abf_-09", max_size=12))
def test_a_spelling_stands_for_one_name_or_none(level: str) -> None:
    name = unsafe(level)
    assert name is None or safe(name) == level


@given(st.tuples(NAMES, NAMES), st.tuples(NAMES, NAMES))
def test_devices_of_two_nodes_are_never_one(one: tuple[str, str], other: tuple[str, str]) -> None:
    entries = [announcer_of(node).topic(device) for node, device in (one, other)]
    assert (entries[0] == entries[1]) == (one == other)
    assert announcer_of(one[0]).device_of(entries[1]) == (other[1] if one[0] == other[0] else None)


def announcer_of(node: str) -> Announcer:
    return Announcer(DiscoverySettings(), Topics(node), node=node, version="1.0")


PLAIN_NAMES = st.text(UNICODE, min_size=1, max_size=20)
TYPES = st.sampled_from(
    ["int", "float | None", "bool", "str", "Literal['x', 'y']", "list[int]", "Literal['}}']", "?"]
)
UNITS = st.sampled_from(["", "1", "V", "mm/s", "%", "kWh", "L", "furlongs"])


@given(
    PLAIN_NAMES,
    st.dictionaries(PLAIN_NAMES, st.tuples(TYPES, UNITS), max_size=4),
    st.dictionaries(PLAIN_NAMES, st.tuples(TYPES, UNITS), max_size=4),
)
def test_whatever_a_device_is_called_and_says_home_assistant_takes_it(
    device: str, fields: dict[str, tuple[str, str]], commands: dict[str, tuple[str, str]]
) -> None:
    described = {name: {"type": kind, "unit": unit} for name, (kind, unit) in fields.items()}
    info: dict[str, Any] = {
        "publications": [
            {"topic": device.replace("+", "").replace("#", "") or "x", "fields": described},
            *({"topic": name, "body": each["type"], "unit": each["unit"]}
              for name, each in described.items()),
        ],
        "commands": {
            name: {"parameters": {name: {"type": kind, "unit": unit, "required": True}}}
            for name, (kind, unit) in commands.items()
        },
    }  # fmt: skip
    entry = announce(info, device=device)
    home.check(entry.topic, entry.payload)
    found = components(entry)
    for name in described:
        for topic, body in ((info["publications"][0]["topic"], {name: 7}), (name, 7)):
            last = f".{safe(name)}" if isinstance(body, dict) else ""
            shown = found.get(f"publication.{safe(str(topic))}{last}")
            if shown is not None:
                assert home.render(shown["value_template"], to_json(body)) == "7"
    for name in commands:
        told = found.get(f"command.{safe(name)}", {})
        if "command_template" in told:
            sent = msgspec.json.decode(home.command(told["command_template"], "x"))
            assert sent == {"args": {name: "x"}}


@pytest.mark.parametrize(
    "info",
    [
        *({}, {"publications": None, "commands": []}, {"publications": [1, None, {}]}),
        {"commands": {"go": None, "run": {"parameters": 7}}},
        {"publications": [{"topic": "pins/+", "body": "int"}, {"topic": "", "body": "int"}]},
        {"publications": [{"topic": "led/call", "body": "int"}]},
        {"commands": {"": {}}, "publications": [{"topic": "led", "fields": {"": {"type": "int"}}}]},
        {"identity": {"model": 7, "firmware": None}},
        {"identity": "a board"},
        {"commands": {"go": {"parameters": {"x": {"type": "int", "required": True,
                                                  "minimum": "a", "maximum": float("nan")}}}}},
    ],
)  # fmt: skip
def test_an_info_of_any_shape_makes_an_entry(info: dict[str, Any]) -> None:
    entry = announce(info)
    home.check(entry.topic, entry.payload)
