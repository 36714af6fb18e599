"""The router's dealings with Home Assistant and with leftovers, over a real broker.

Home Assistant is played by mosquitto's own clients and the schema of its rules.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.routing.access import Rule
from routes.mqtt.discovery_settings import DiscoverySettings
from routes.mqtt.listening_settings import Listen
from routes.mqtt.router import MqttRouter
from routes.mqtt.settings import Settings
from tests.lab.little_bus import LittleBus, statistics
from tests.lab.mosquitto import DEADLINE, Listener, Mosquitto, Received
from tests.lab.mqtt_ends import OldBroker
from tests.lab.os_processes import until
from tests.routes.mqtt import home_assistant_schema as home
from tests.routes.mqtt.shipped import info_of

pytestmark = pytest.mark.needs("mosquitto")

ENTRY = "homeassistant/device/gateway-lab/bench/config"
ENTRIES = "homeassistant/device/+/+/config"
BASE = "gateway/lab/devices"
LED = "gateway/lab/devices/bench/led/call"


class Board(Process):
    """Plays the serial router with one bench board behind it."""

    def birth(self) -> None:
        self.handled: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self.publish("devices/bench/info", info_of("bench_board"), retain=True)
        self.publish("devices/bench/state", {"state": "healthy", "connected": True}, retain=True)
        self.add_filter(callback=self.on_letter, kind="^letter$")

    def on_letter(self, message: Message) -> None:
        self.handled.put((message.subject, message.body))
        self.reply(message, None)


class Main(Process):
    """Reads what foreign topics bring."""

    def birth(self) -> None:
        self.heard: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self.add_filter(
            callback=lambda message: self.heard.put((message.subject, message.body)),
            kind="^letter$",
        )


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[LittleBus]:
    with LittleBus(tmp_path / "bus") as bus:
        yield bus


@pytest.fixture
def make_router(bus: LittleBus, broker: Mosquitto) -> Callable[..., MqttRouter]:
    """Run an mqtt router for the node `lab` that may call the board's LED and stream."""

    def make(*, url: str = "", configured: tuple[str, ...] = (), **options: Any) -> MqttRouter:
        rules = tuple(Rule(to="*@serial", subject=name) for name in ("led", "stream"))
        settings = Settings(
            broker=url or broker.url, retry_first=0.05, retry_ceiling=0.2, allow=rules, **options
        )
        router = bus.run(
            MqttRouter,
            "mqtt",
            settings=settings,
            node="lab",
            patience=0.0,
            configured=configured,
        )
        assert isinstance(router, MqttRouter)
        return router

    return make


DISCOVERY = DiscoverySettings(spread=0.0)


def entry(listener: Listener, topic: str = ENTRY) -> Received:
    return listener.wait_for_next(lambda message: message.topic == topic)


def test_a_foreign_home_assistant_reads_a_value_and_presses_a_switch(
    bus: LittleBus, broker: Mosquitto, make_router: Callable[..., MqttRouter]
) -> None:
    board = bus.run(Board, "serial")
    assert isinstance(board, Board)
    make_router(discovery=DISCOVERY)
    with broker.listen(ENTRIES) as entries:
        message = entry(entries)
    entities = home.check(message.topic, message.payload)
    assert {key for key in entities if key.startswith("command.")} == {
        "command.led",
        "command.stream",
    }

    volts = entities["publication.analogue.volts"]
    assert volts.state_topic
    assert volts.value_template
    with broker.listen(volts.state_topic) as telemetry:
        board.publish("devices/bench/analogue", {"milliseconds": 1, "raw": 512, "volts": 2.5})
        heard = telemetry.wait_for(lambda _: True)
    assert float(home.render(volts.value_template, heard.payload)) == 2.5

    for each in json.loads(message.payload)["availability"]:
        (said,) = broker.sub(each["topic"])
        assert home.render(each["value_template"], said.payload) == "online"

    led, stream = entities["command.led"], entities["command.stream"]
    assert isinstance(led, home.Switch)
    broker.pub(led.command_topic, led.payload_on)
    assert board.handled.get(timeout=DEADLINE) == ("led", {"on": True})
    assert isinstance(stream, home.Number)
    assert stream.command_template
    broker.pub(stream.command_topic, home.command(stream.command_template, 50))
    assert board.handled.get(timeout=DEADLINE) == ("stream", {"hz": 50})


def test_without_a_table_nothing_is_announced_nor_asked_for(
    bus: LittleBus, broker: Mosquitto, make_router: Callable[..., MqttRouter]
) -> None:
    bus.run(Board, "serial")
    make_router()
    broker.wait_for_log(r"Received PUBLISH from gateway-lab .*gateway/lab/devices/bench/info")
    assert not [line for line in broker.log if "homeassistant" in line]


def test_at_a_birth_all_is_said_again(
    bus: LittleBus, broker: Mosquitto, make_router: Callable[..., MqttRouter]
) -> None:
    bus.run(Board, "serial")
    router = make_router(discovery=DISCOVERY)
    broker.wait_for_log(r"gateway-lab 1 homeassistant/status")
    with broker.listen(ENTRIES) as entries:
        first = entry(entries)
        broker.pub("homeassistant/status", "online")
        again = entry(entries)
    assert again.payload == first.payload
    assert statistics(router)["discovery"]["births"] == 1


@pytest.fixture(params=["5", "3.1.1"])
def url(broker: Mosquitto, request: pytest.FixtureRequest) -> Iterator[str]:
    """The broker, or one before it that speaks 3.1.1 alone, where there is no "no local"."""
    if request.param == "5":
        yield broker.url
        return
    with OldBroker(broker.port) as old:
        yield old.url


def test_what_an_earlier_run_left_is_cleared_and_nobody_elses(
    bus: LittleBus, broker: Mosquitto, make_router: Callable[..., MqttRouter], url: str
) -> None:
    """The second life has neither the board nor the pump; the pump is configured all the same."""
    board = bus.run(Board, "serial")
    router = make_router(discovery=DISCOVERY, url=url)
    gone = [ENTRY, f"{BASE}/bench/info", f"{BASE}/bench/state"]
    for topic in gone:
        broker.sub(topic)
    bus.end(router)
    bus.end(board)
    bus._retained.clear()

    kept = {
        "homeassistant/device/gateway-lab/other/config": '{"origin": {"name": "other"}}',
        "homeassistant/device/gateway-attic/bench/config": '{"origin":{"name":"hardware-gateway"}}',
        "homeassistant/sensor/x/config": "{}",
        "gateway/attic/devices/bench/info": "{}",
        f"{BASE}/pump/info": "{}",
        f"{BASE}/pump/state": "{}",
    }
    for topic, payload in kept.items():
        broker.pub(topic, payload, retain=True)
    with broker.listen(*gone) as heard:
        heard.wait_for_count(len(gone))
        heard.skip()
        again = make_router(discovery=DISCOVERY, configured=("pump",), url=url)
        cleared: set[str] = set()
        while cleared != set(gone):
            cleared.add(heard.wait_for_next(lambda m: not m.payload).topic)
    for topic, payload in kept.items():
        (message,) = broker.sub(topic)
        assert message.payload == payload.encode()
    assert until(lambda: statistics(again)["discovery"]["foreign"] == 1, DEADLINE)
    # While an old broker is spoken to, it is let go before the broker behind it.
    bus.end(again)


def test_a_device_that_is_there_keeps_its_topics_without_being_configured(
    bus: LittleBus, broker: Mosquitto, make_router: Callable[..., MqttRouter]
) -> None:
    bus.run(Board, "serial")
    router = make_router(discovery=DISCOVERY)
    for topic in (ENTRY, f"{BASE}/bench/info"):
        broker.sub(topic)
    bus.end(router)
    broker.pub(f"{BASE}/pump/info", "{}", retain=True)
    with broker.listen(f"{BASE}/+/info", ENTRY) as heard:
        heard.wait_for_count(3)
        again = make_router(discovery=DISCOVERY)
        heard.wait_for(lambda m: m.topic == f"{BASE}/pump/info" and not m.payload)
        heard.wait_for(lambda m: m.topic == ENTRY and not m.retained)
        assert [m.topic for m in heard.messages if not m.payload] == [f"{BASE}/pump/info"]
    assert until(lambda: statistics(again)["leftovers_cleared"] == 4, DEADLINE)


def test_more_leftovers_than_are_kept_cost_no_value_that_is_kept(
    bus: LittleBus, broker: Mosquitto, make_router: Callable[..., MqttRouter]
) -> None:
    bus.run(Board, "serial")
    infos = [f"{BASE}/gone-{number}/info" for number in range(50)]
    for topic in infos:
        broker.pub(topic, "{}", retain=True)
    router = make_router(retained_size=50)
    assert until(lambda: statistics(router)["leftovers_cleared"] == 4 * len(infos), DEADLINE)
    assert statistics(router)["session"]["outbox"]["forgotten"] == 0


def test_switched_off_what_was_announced_is_taken_back(
    bus: LittleBus, broker: Mosquitto, make_router: Callable[..., MqttRouter]
) -> None:
    bus.run(Board, "serial")
    router = make_router(discovery=DISCOVERY)
    broker.sub(ENTRY)
    bus.end(router)
    with broker.listen(ENTRIES) as entries:
        assert entry(entries).payload
        make_router(discovery=DiscoverySettings(enabled=False))
        assert not entry(entries).payload


def test_a_command_that_is_not_allowed_any_more_loses_its_switch(
    bus: LittleBus, broker: Mosquitto, make_router: Callable[..., MqttRouter]
) -> None:
    bus.run(Board, "serial")
    router = make_router(discovery=DISCOVERY)
    broker.sub(ENTRY)
    bus.end(router)
    with broker.listen(ENTRIES) as entries:
        assert "command.led" in home.check(ENTRY, entry(entries).payload)
        make_router(discovery=DiscoverySettings(leave_out=("bench/led",)))
        found = entries.wait_for(lambda m: b'"command.led":{"platform":"switch"}' in m.payload)
        assert "command.led" not in home.check(ENTRY, found.payload)


LISTEN = Listen(topic="plant/+/command", to="main", subject="plant")


def test_a_foreign_topic_brings_mail_to_the_one_mailbox(
    bus: LittleBus, broker: Mosquitto, make_router: Callable[..., MqttRouter]
) -> None:
    main = bus.run(Main, "main")
    assert isinstance(main, Main)
    broker.pub("plant/3/command", '"old"', retain=True)
    router = make_router(listen=(LISTEN,))
    broker.wait_for_log(r"gateway-lab 1 plant/\+/command")
    broker.pub("plant/3/command", "ON")
    broker.pub("plant/3/status", "{}")
    broker.pub("plant/3/command", '{"litres": 2}')
    body = {"topic": "plant/3/command", "payload": {"litres": 2}}
    assert main.heard.get(timeout=DEADLINE) == ("plant", body)
    assert main.heard.empty()
    counts = statistics(router)["listening"]["plant/+/command"]
    assert counts["refused"] == {"retained": 1, "no_json": 1}


def test_a_mailbox_that_is_not_there_costs_a_count(
    bus: LittleBus, broker: Mosquitto, make_router: Callable[..., MqttRouter]
) -> None:
    router = make_router(listen=(LISTEN,))

    def counts() -> dict[str, Any]:
        found: dict[str, Any] = statistics(router)["listening"]["plant/+/command"]
        return found

    broker.wait_for_log(r"gateway-lab 1 plant/\+/command")
    broker.pub("plant/3/command", "1")
    assert until(lambda: counts() == {"delivered": 0, "refused": {"undeliverable": 1}}, DEADLINE)
    main = bus.run(Main, "main")
    assert isinstance(main, Main)
    broker.pub("plant/3/command", "2")
    assert main.heard.get(timeout=DEADLINE)[1]["payload"] == 2


@pytest.mark.parametrize("topic", ["gateway/lab/#", "gateway/lab/devices/+/info", "plant/3/#"])
def test_topics_that_would_come_twice_stop_the_route(
    bus: LittleBus, make_router: Callable[..., MqttRouter], topic: str
) -> None:
    make_router(listen=(LISTEN, Listen(topic=topic, to="main", subject="x")))
    assert [str(error) for error in bus.errors if topic in str(error)]
    bus.errors.clear()
