"""A foreign Home Assistant and a real board: it reads a voltage and lights the LED."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.bench import Bench, settled
from tests.lab.gateway_process import NODE
from tests.lab.mosquitto import Listener, Mosquitto, Received
from tests.lab.simavr import Simavr
from tests.routes.mqtt import home_assistant_schema as home

pytestmark = pytest.mark.needs("simavr", "mosquitto")

ENTRY = f"homeassistant/device/gateway-{NODE}/bench/config"
MQTT = """
[routes.mqtt.discovery]
spread = 0.0
"""


@pytest.fixture
def announced(broker: Mosquitto, board: Simavr, tmp_path: Path) -> Iterator[Bench]:
    """The usual scene, with the devices announced."""
    board.start()
    with settled(tmp_path, broker, board, mqtt=MQTT) as bench:
        yield bench


def proven(entries: Listener) -> Received:
    """Return the entry of the board once it has said who it is."""
    return entries.wait_for_next(lambda message: b'"model":"bench-board"' in message.payload)


def is_available(broker: Mosquitto, entry: dict[str, object]) -> bool:
    """Tell whether Home Assistant would show the board as available."""
    availability = entry["availability"]
    assert isinstance(availability, list)
    said = [(each, broker.sub(each["topic"])[0]) for each in availability]
    return all(
        home.render(each["value_template"], message.payload) == "online" for each, message in said
    )


def test_home_assistant_reads_the_board_and_the_board_obeys(announced: Bench) -> None:
    bench, broker = announced, announced.broker
    with broker.listen(ENTRY) as entries:
        message = proven(entries)
        broker.pub("homeassistant/status", "online")
        assert proven(entries).payload == message.payload
    entities = home.check(message.topic, message.payload)
    # What may be called is said by `allow`, and nothing else is offered.
    assert {key for key in entities if key.startswith("command.")} == {
        *("command.led", "command.stream", "command.counters"),
    }

    volts = entities["publication.analogue.volts"]
    assert isinstance(volts, home.Sensor)
    assert volts.value_template
    (telemetry,) = broker.sub(volts.state_topic)
    # Half of 5 V, as near as 10 bits and the emulator's millivolts come.
    assert abs(float(home.render(volts.value_template, telemetry.payload)) - 2.5) < 0.02

    led, counters = entities["command.led"], entities["command.counters"]
    assert isinstance(led, home.Switch)
    for payload, on in ((led.payload_on, True), (led.payload_off, False)):
        broker.pub(led.command_topic, payload)
        bench.board.wait_for_led(on)
    assert isinstance(counters, home.Button)
    with broker.listen(counters.command_topic.replace("/call", "/reply")) as replies:
        broker.pub(counters.command_topic, counters.payload_press)
        assert json.loads(replies.wait_for_next(lambda _: True).payload)["ok"]

    entry = json.loads(message.payload)
    assert is_available(broker, entry)
    bench.board.kill()
    bench.settle(connected=False)
    assert not is_available(broker, entry)
