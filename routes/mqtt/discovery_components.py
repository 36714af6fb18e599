"""What a device publishes and can be told, as the entities of Home Assistant.

=========================================  =================================
a publication's field, or its whole body   becomes a
=========================================  =================================
``int``, ``float``                         ``sensor`` with unit and classes
``bool``                                   ``binary_sensor``
``Literal['a', 'b']``                      ``sensor`` of the class ``enum``
``datetime``                               ``sensor`` of the class ``timestamp``
``str``                                    ``sensor``, its first 255 characters
=========================================  =================================

=========================================  =================================
a command that needs                       becomes a
=========================================  =================================
nothing                                    ``button``
one ``bool``                               ``switch``
one ``int`` or ``float``                   ``number``
one ``Literal['a', 'b']``                  ``select``
one ``str``                                ``text``
=========================================  =================================

Each may also be None, which Home Assistant shows as unknown. What may be left out
of a call counts only where nothing else is needed, and there is one of it. A
command shows what the publication of its own name says; where there is none, what
it was told last. Everything else is left out: commands that need two things,
lists, topics with a ``+``.

Pure, and raises nothing for what an info holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from gateway.device.link_state import LinkState
from gateway.mail.codec import to_json
from routes.mqtt.discovery_kinds import Kind, choices_of, kind_of
from routes.mqtt.discovery_names import quoted, safe
from routes.mqtt.discovery_units import classes_of, spelling
from routes.mqtt.topics import Topics

FAR: Final = 1e9
"""The bound of a number that has none, since Home Assistant wants one."""
FINEST: Final = 0.001
"""The least step of a number that Home Assistant takes."""


class Component(NamedTuple):
    """One entity: ``path`` is what people leave it out by, ``key`` what it is known by."""

    key: str
    path: str
    config: dict[str, Any]


class Value(NamedTuple):
    """Something that is published: where, how it is got out of the JSON, what it is."""

    topic: str
    expression: str
    type: str
    unit: str

    @property
    def state(self) -> dict[str, Any]:
        """The keys that read it."""
        return {"state_topic": self.topic, "value_template": f"{{{{ {self.expression} }}}}"}


def components_of(
    device: str, info: Mapping[str, Any], topics: Topics, allows: Callable[[str], bool]
) -> Iterator[Component]:
    """Yield the entities of ``device``; ``allows`` tells which commands may be called from there.

    A command that nobody may call would be a switch that does nothing.
    """
    yield _state(device, topics.of_device(device, "state"))
    whole: dict[str, Value] = {}
    published: list[Component] = []
    for publication in _tables(info.get("publications")):
        topic = str(publication.get("topic", ""))
        place = _place(device, topic, topics)
        if place is None:
            continue
        fields = _table(publication.get("fields"))
        if not fields:
            body, unit = str(publication.get("body", "")), str(publication.get("unit", ""))
            whole[topic] = Value(place, "value_json", body, unit)
        for field, described in fields.items():
            kind, unit = str(described.get("type", "")), str(described.get("unit", ""))
            value = Value(place, f"value_json[{quoted(field)}]", kind, unit)
            published += _reading(f"{safe(topic)}.{safe(field)}", (topic, field), device, value)
    for name, described in _table(info.get("commands")).items():
        # A command without a name has no topic.
        if not name or not allows(name):
            continue
        config = _control(described, whole.get(name))
        if config is None:
            continue
        if "state_topic" in config:
            del whole[name]
        config = {**config, "command_topic": topics.call_to(device, name), "qos": 1}
        named = {"platform": config.pop("platform"), "name": _words(name)}
        yield Component(f"command.{safe(name)}", f"{device}/{name}", {**named, **config})
    for topic, value in whole.items():
        published += _reading(safe(topic), (topic,), device, value)
    yield from published


def _state(device: str, topic: str) -> Component:
    """Return how far the device is proven, and why, which is to be seen above all when it is not.

    So its availability is the gateway's alone: see `routes.mqtt.discovery`.
    """
    config = {
        "platform": "sensor",
        "name": "State",
        "state_topic": topic,
        "value_template": "{{ value_json.state }}",
        "device_class": "enum",
        "options": [each.value for each in LinkState],
        "json_attributes_topic": topic,
        "entity_category": "diagnostic",
    }
    return Component("state", f"{device}/state", config)


def _reading(key: str, words: tuple[str, ...], device: str, value: Value) -> Iterator[Component]:
    kind = kind_of(value.type)
    extra: dict[str, Any]
    match kind:
        case None:
            return
        case "number" | "integer":
            classes = classes_of(value.unit)
            extra = {
                "unit_of_measurement": spelling(value.unit),
                "device_class": classes.device_class,
                "state_class": classes.state_class,
            }
        case "bool":
            extra = {"payload_on": "True", "payload_off": "False"}
        case "choice":
            extra = {"device_class": "enum", "options": choices_of(value.type)}
        case "time":
            extra = {"device_class": "timestamp"}
        case "text":
            extra = {"value_template": f"{{{{ ({value.expression} | string)[:255] }}}}"}
    platform = "binary_sensor" if kind == "bool" else "sensor"
    config = {"platform": platform, "name": _words(*words), **value.state, **extra}
    yield Component(f"publication.{key}", "/".join((device, *words)), _filled(config))


def _control(described: Mapping[str, Any], value: Value | None) -> dict[str, Any] | None:
    """Return what sets a command off; None where that takes more than one thing."""
    parameters = _table(described.get("parameters"))
    needed = [name for name, each in parameters.items() if each.get("required") is True]
    if len(needed) > 1:
        return None
    if needed or len(parameters) == 1:
        (name,) = needed or parameters
        found = _setting(name, parameters[name], value)
        if found is not None or needed:
            return found
    return {"platform": "button", "payload_press": "{}"}


def _setting(name: str, parameter: Mapping[str, Any], value: Value | None) -> dict[str, Any] | None:
    kind, unit = kind_of(str(parameter.get("type", ""))), str(parameter.get("unit", ""))
    shown = value.state if value is not None and _shows(kind_of(value.type), kind) else {}
    template = f"{{{{ {{'args': {{{quoted(name)}: value}}}} | tojson }}}}"
    config: dict[str, Any]
    match kind:
        case "bool":
            config = {
                "platform": "switch",
                "payload_on": _call(name, True),
                "payload_off": _call(name, False),
                **({"state_on": "True", "state_off": "False"} if shown else {}),
            }
        case "number" | "integer":
            span = _span(parameter, whole=kind == "integer")
            if span is None:
                return None
            config = {
                "platform": "number",
                "command_template": template,
                **span,
                "unit_of_measurement": spelling(unit),
                "device_class": classes_of(unit).device_class,
            }
        case "choice":
            options = choices_of(str(parameter.get("type", "")))
            config = {"platform": "select", "command_template": template, "options": options}
        case "text":
            config = {"platform": "text", "command_template": template}
        case _:
            return None
    return _filled({**config, **(shown or {"optimistic": True})})


def _span(parameter: Mapping[str, Any], *, whole: bool) -> dict[str, float] | None:
    low, high = (_number(parameter.get(name)) for name in ("minimum", "maximum"))
    low, high = -FAR if low is None else low, FAR if high is None else high
    if low >= high:
        return None
    step, thousandth = FINEST, (high - low) / 1000
    if FINEST < thousandth < FAR / 1000:
        step = 10.0 ** math.floor(math.log10(thousandth))
    return {"min": low, "max": high, "step": 1 if whole else step}


def _shows(published: Kind | None, told: Kind | None) -> bool:
    return published == told or {published, told} in ({"number", "integer"}, {"choice", "text"})


def _call(name: str, value: bool) -> str:
    return to_json({"args": {name: value}}).decode()


def _place(device: str, topic: str, topics: Topics) -> str | None:
    try:
        return topics.of_device(device, topic)
    except ValueError:
        return None  # a pattern, or nothing that MQTT has a place for


def _number(value: object) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    return value if usable and math.isfinite(value) else None  # type: ignore[arg-type,return-value]


def _filled(config: dict[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in config.items() if each != ""}


def _table(value: object) -> dict[str, Mapping[str, Any]]:
    if not isinstance(value, Mapping):
        return {}
    return {str(name): each for name, each in value.items() if isinstance(each, Mapping)}


def _tables(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _words(*names: str) -> str:
    text = " ".join(names).replace("_", " ").replace("/", " ").strip()[:100]
    return text[:1].upper() + text[1:] or "-"
