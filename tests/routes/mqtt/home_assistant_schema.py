"""Home Assistant's rules for MQTT device discovery, written after its documentation.

From the pages of the integrations ``mqtt``, ``sensor.mqtt``, ``binary_sensor.mqtt``,
``button.mqtt``, ``switch.mqtt``, ``number.mqtt``, ``select.mqtt`` and ``text.mqtt``, and
those of the classes of sensors and numbers. Only what the gateway uses is in it: a key
that is not in it is refused, since Home Assistant would not know it or we would not.

`check` raises `ValueError` that says what is wrong with a topic and its payload.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import jinja2
import msgspec
from msgspec import Meta

from gateway.mail.topic import check_topic

TOPIC = re.compile(r"(?:[^/+#]+/)+device/(?:[a-zA-Z0-9_-]+/)?[a-zA-Z0-9_-]+/config")

DISTANCES = {"mm", "cm", "m", "km", "in", "ft", "yd", "mi", "nmi"}
PRESSURES = {"mPa", "Pa", "hPa", "kPa", "bar", "cbar", "mbar", "mmHg", "inHg", "inH₂O", "psi"}
UNITS: dict[str, set[str]] = {
    "apparent_power": {"mVA", "VA", "kVA"},
    "area": {"m²", "cm²", "km²", "mm²", "in²", "ft²", "yd²", "mi²", "ac", "ha"},
    "conductivity": {"S/cm", "mS/cm", "µS/cm", "μS/cm"},
    "current": {"A", "mA"},
    "data_rate": {
        *(f"{scale}{unit}/s" for scale in ("k", "M", "G", "") for unit in ("bit", "B")),
        *("KiB/s", "MiB/s", "GiB/s"),
    },
    "data_size": {
        *("bit", "kbit", "Mbit", "Gbit"),
        *("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"),
        *("KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"),
    },
    "distance": DISTANCES,
    "duration": {"d", "h", "min", "s", "ms", "µs", "μs"},
    "energy": {"J", "kJ", "MJ", "GJ", "mWh", "Wh", "kWh", "MWh", "GWh", "TWh", "cal", "kcal"},
    "frequency": {"Hz", "kHz", "MHz", "GHz"},
    "illuminance": {"lx"},
    "irradiance": {"W/m²", "BTU/(h⋅ft²)"},
    "power": {"mW", "W", "kW", "MW", "GW", "TW"},
    "pressure": PRESSURES,
    "reactive_power": {"mvar", "var", "kvar"},
    "signal_strength": {"dB", "dBm"},
    "speed": {"ft/s", "in/s", "m/s", "mm/s", "km/h", "kn", "mph", "in/d", "in/h", "mm/d", "mm/h"},
    "temperature": {"°C", "°F", "K"},
    "voltage": {"µV", "μV", "mV", "V", "kV", "MV"},
    "volume_flow_rate": {"m³/h", "m³/min", "m³/s", "ft³/min", "L/h", "L/min", "L/s", "mL/s"},
    "weight": {"kg", "g", "mg", "µg", "μg", "oz", "lb", "st"},
}
"""Units that a device class takes; a sensor in another one is refused."""

ANY_STATE_CLASS = {"measurement", "total", "total_increasing"}
STATE_CLASSES = {
    **{device_class: {"measurement"} for device_class in UNITS},
    **dict.fromkeys(("area", "data_size", "distance", "duration", "weight"), ANY_STATE_CLASS),
    "energy": {"total", "total_increasing"},
    "enum": set(),
    "timestamp": set(),
}

Text = Annotated[str, Meta(min_length=1)]
Words = Annotated[str, Meta(min_length=1, max_length=255)]
Template = Text


class Device(msgspec.Struct, forbid_unknown_fields=True):
    """At least one identifier, or a connection, must be there."""

    identifiers: Annotated[list[Text], Meta(min_length=1)]
    name: Text
    model: Text = "-"
    sw_version: Text = "-"
    serial_number: Text = "-"


class Origin(msgspec.Struct, forbid_unknown_fields=True):
    """Who announces; required of a device's message."""

    name: Text
    sw_version: Text = "-"


class Availability(msgspec.Struct, forbid_unknown_fields=True):
    """One topic; what its template makes is held against ``online`` and ``offline``."""

    topic: Text
    value_template: Template = "-"
    payload_available: Text = "online"
    payload_not_available: Text = "offline"

    def __post_init__(self) -> None:
        check_topic(self.topic)
        parse(self.value_template)


class Entity(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, tag_field="platform"):
    """What all platforms have. A device's message needs a ``unique_id`` for each."""

    unique_id: Text
    name: Words
    qos: Literal[0, 1, 2] = 0
    state_topic: Text | None = None
    value_template: Template | None = None
    json_attributes_topic: Text | None = None
    availability: list[Availability] = []
    entity_category: Literal["config", "diagnostic"] | None = None

    def __post_init__(self) -> None:
        for topic in (self.state_topic, self.json_attributes_topic):
            if topic is not None:
                check_topic(topic)
        if self.value_template is not None:
            if self.state_topic is None:
                raise ValueError("a value_template without a state_topic reads nothing")
            parse(self.value_template)


class Told(Entity, kw_only=True):
    """An entity that can be told something."""

    command_topic: Text
    optimistic: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_topic(self.command_topic)
        if self.optimistic is None and self.state_topic is None and type(self) is not Button:
            raise ValueError("neither a state to show, nor said to be optimistic")


class Sensor(Entity, tag="sensor", kw_only=True):
    """https://www.home-assistant.io/integrations/sensor.mqtt/"""

    state_topic: Text
    unit_of_measurement: Text | None = None
    device_class: Text | None = None
    state_class: Literal["measurement", "total", "total_increasing"] | None = None
    options: Annotated[list[Text], Meta(min_length=1)] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_class(self.device_class, self.unit_of_measurement)
        if self.state_class and self.device_class:
            allowed = STATE_CLASSES.get(self.device_class, set())
            if self.state_class not in allowed:
                raise ValueError(f"{self.device_class} is no {self.state_class}")
        if (self.options is not None) != (self.device_class == "enum"):
            raise ValueError("options go with the class enum, and it with them")
        if self.options is not None and len(set(self.options)) < len(self.options):
            raise ValueError("an option is there twice")


class BinarySensor(Entity, tag="binary_sensor", kw_only=True):
    """https://www.home-assistant.io/integrations/binary_sensor.mqtt/"""

    state_topic: Text
    payload_on: Text = "ON"
    payload_off: Text = "OFF"


class Button(Told, tag="button", kw_only=True):
    """https://www.home-assistant.io/integrations/button.mqtt/"""

    payload_press: Text = "PRESS"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.state_topic is not None or self.optimistic is not None:
            raise ValueError("a button has no state")


class Switch(Told, tag="switch", kw_only=True):
    """https://www.home-assistant.io/integrations/switch.mqtt/"""

    payload_on: Text = "ON"
    payload_off: Text = "OFF"
    state_on: Text | None = None
    state_off: Text | None = None


class Number(Told, tag="number", kw_only=True):
    """https://www.home-assistant.io/integrations/number.mqtt/"""

    command_template: Template | None = None
    min: float = 1
    max: float = 100
    step: Annotated[float, Meta(ge=0.001)] = 1
    unit_of_measurement: Text | None = None
    device_class: Text | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        parse(self.command_template or "")
        check_class(self.device_class, self.unit_of_measurement)
        if self.min >= self.max:
            raise ValueError("min is not less than max")
        if self.device_class in ("enum", "timestamp"):
            raise ValueError("no class of a number")


class Select(Told, tag="select", kw_only=True):
    """https://www.home-assistant.io/integrations/select.mqtt/"""

    options: list[Text]
    command_template: Template | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        parse(self.command_template or "")


class TextEntity(Told, tag="text", kw_only=True):
    """https://www.home-assistant.io/integrations/text.mqtt/"""

    command_template: Template | None = None
    min: Annotated[int, Meta(ge=0, le=255)] = 0
    max: Annotated[int, Meta(ge=0, le=255)] = 255

    def __post_init__(self) -> None:
        super().__post_init__()
        parse(self.command_template or "")


Platform = Sensor | BinarySensor | Button | Switch | Number | Select | TextEntity
PLATFORMS = ("sensor", "binary_sensor", "button", "switch", "number", "select", "text")


class Message(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The payload on ``<prefix>/device/[<node_id>/]<object_id>/config``."""

    device: Device
    origin: Origin
    components: dict[Text, dict[str, Any]]
    availability: list[Availability] = []
    availability_mode: Literal["all", "any", "latest"] = "latest"


def check(topic: str, payload: bytes) -> dict[str, Platform]:
    """Return the entities that Home Assistant would make; without those to be removed."""
    if not TOPIC.fullmatch(topic):
        raise ValueError(f"{topic!r} is no topic of a discovery")
    message = msgspec.json.decode(payload, type=Message)
    entities = {}
    for key, config in message.components.items():
        if list(config) == ["platform"] and config["platform"] in PLATFORMS:
            continue  # "to remove a component, send its platform alone"
        try:
            entities[key] = msgspec.convert(config, Platform)
        except msgspec.ValidationError as error:
            raise ValueError(f"{key}: {error}: {config}") from error
    ids = [each.unique_id for each in entities.values()]
    if len(set(ids)) < len(ids):
        raise ValueError("two entities have one unique_id")
    return entities


def check_class(device_class: str | None, unit: str | None) -> None:
    """Refuse an unknown class, and a unit that does not go with it."""
    if device_class in ("enum", "timestamp"):
        if unit is not None:
            raise ValueError(f"{device_class} has no unit")
    elif device_class is not None and unit not in UNITS.get(device_class, set()):
        raise ValueError(f"{device_class} in {unit}")


ENVIRONMENT = jinja2.Environment(undefined=jinja2.StrictUndefined)


def parse(template: str) -> None:
    """Refuse what is no template."""
    try:
        ENVIRONMENT.parse(template)
    except jinja2.TemplateError as error:
        raise ValueError(f"{template!r} is no template: {error}") from error


def render(template: str, payload: bytes) -> str:
    """Return what a value template makes of a payload."""
    values: dict[str, Any] = {"value": payload.decode()}
    try:
        values["value_json"] = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        pass
    return ENVIRONMENT.from_string(template).render(values)


def command(template: str, value: Any) -> bytes:
    """Return what a command template makes of the value that somebody chose."""
    return ENVIRONMENT.from_string(template).render(value=value).encode()
