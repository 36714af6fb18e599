"""What docs/mqtt.md says of settings and topics is so."""

from __future__ import annotations

import tomllib

import msgspec
import pytest

from routes.mqtt.discovery_settings import DiscoverySettings
from routes.mqtt.listening_settings import Listen
from routes.mqtt.settings import Settings
from tests.lab.mqtt_page import PAGE, blocks, row_of


@pytest.mark.parametrize("text", blocks("toml"))
def test_each_example_is_a_configuration_of_the_route(text: str) -> None:
    table = tomllib.loads(text)["routes"]["mqtt"]
    msgspec.convert(table, Settings)


@pytest.mark.parametrize(
    ("topic", "retained"),
    [
        ("status", True),
        ("devices/board/state", True),
        ("devices/board/analogue", False),
        ("devices/plc/registers/supply", False),
        ("devices/board/led/call", False),
        ("devices/board/led/reply", False),
        ("devices/board/events/pong", False),
        ("processes/serial/state", True),
        ("health", True),
        ("updates/state", True),
        ("log/serial", False),
        ("tail/1", False),
        ("mail/attic-pi", False),
    ],
)
def test_the_tree_has_what_is_published(topic: str, retained: bool) -> None:
    row = row_of(topic)
    assert row is not None
    assert row.retained is retained


@pytest.mark.parametrize("topic", ["", "x", "devices", "processes/serial", "log/a/b", "gossip"])
def test_the_tree_has_nothing_else(topic: str) -> None:
    row = row_of(topic)
    assert row is None or row.pattern == "devices/+/#"


@pytest.mark.parametrize("settings", [DiscoverySettings, Listen])
def test_every_setting_is_on_the_page(settings: type[msgspec.Struct]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in settings.__struct_fields__ if f"`{name}`" not in page] == []
