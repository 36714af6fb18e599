"""The same through a real mosquitto into a whole router: `tests.fuzz.mqtt_inbound --broker`.

A foreign client publishes at QoS 1 what a broker lets pass; some of it is retained
from before the router came. In the end every message that the broker had for the
router is in one of its counts: received = answered + refused by kind. The router
is still there, on its first connection, and has had no fault.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from sys import getsizeof
from time import perf_counter
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.mail.message import Message
from gateway.mail.topic import check_topic
from gateway.process.process import Process
from gateway.routing.access import Rule
from routes.mqtt.router import MqttRouter
from routes.mqtt.settings import Settings
from tests.fuzz.mqtt_inbound import GROWTH, SECONDS, resident
from tests.fuzz.mqtt_specimens import DEVICES, MAX_PAYLOAD, NODE, Maker, Publish
from tests.lab.little_bus import LittleBus, statistics
from tests.lab.mosquitto import Mosquitto
from tests.lab.os_processes import until

RETAINED = 20
"""Messages that lie at the broker before the router comes."""


@dataclass
class RouterTally:
    """What was published and what the router made of it."""

    published: int = 0
    answered: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    grown: int = 0
    seconds: float = field(default=0.0, compare=False)

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.refused.items()))
        return (
            f"{self.published:,} published = {self.answered:,} answered + "
            f"{sum(self.refused.values()):,} refused ({kinds}); memory grew by "
            f"{self.grown >> 10:,} kB; {self.published / self.seconds:,.0f} a second"
        )


class House(Process):
    """Plays the route that hosts the devices."""

    def birth(self) -> None:
        """Say what there is."""
        for name, info in DEVICES.items():
            if "/" not in name:
                self.publish(f"devices/{name}/info", info, retain=True)
        self.add_filter(callback=self.on_letter, kind="^letter$")

    def on_letter(self, message: Message) -> None:
        """Answer with what came."""
        self.reply(message, {"was": message.body})


def soak_router(inputs: int, seed: int) -> RouterTally:
    """Publish ``inputs`` messages; `AssertionError` with the seed where one is missing."""
    maker = Maker(Random(f"{seed} mqtt router"))
    tally = RouterTally()
    began = perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-") as folder,
        Mosquitto(lines=["max_queued_messages 0"]) as broker,
        LittleBus(Path(folder) / "bus") as bus,
    ):
        publisher = Publisher(broker.port, maker)
        try:
            kept = {each.topic: each.payload for each in publisher.publish(RETAINED, retain=True)}
            # Of one topic the last is retained, and an empty one clears it.
            tally.published += sum(bool(payload) for payload in kept.values())
            bus.run(House, "serial")
            router = bus.run(MqttRouter, "mqtt", settings=settings(broker), node=NODE)
            assert isinstance(router, MqttRouter)
            # What is published before that is nobody's.
            broker.wait_for_log(rf"gateway-{NODE} 1 gateway/{NODE}/devices/\+/\+/call")
            memory = 0
            while publisher.made < inputs:
                tally.published += len(publisher.publish(min(500, inputs - publisher.made)))
                memory = memory or resident()
            check(router, tally, f"seed {seed}")
        finally:
            publisher.close()
        # The lab keeps the broker's log, some lines a message, and that is not the router's.
        tally.grown = max(0, resident() - memory - sum(map(getsizeof, broker.log)))
        assert tally.grown <= GROWTH, f"seed {seed}: memory grew by {tally.grown} bytes"
        assert not bus.errors, f"seed {seed}: {bus.errors}"
    tally.seconds = perf_counter() - began
    return tally


def settings(broker: Mosquitto) -> Settings:
    """Return those of a router that may call all but `odd`."""
    allowed = ("led", "drive", "mode", "raw", "ping")
    return Settings(
        broker=broker.url,
        allow=tuple(Rule(to="*@serial", subject=name) for name in allowed),
        receive_rate=1_000_000,
        max_payload=MAX_PAYLOAD,
    )


def check(router: MqttRouter, tally: RouterTally, where: str) -> None:
    """Wait until nothing is under way; hold the counts against each other."""

    def counts() -> dict[str, Any]:
        return statistics(router)

    def accounted() -> int:
        told = counts()
        tally.answered, tally.refused = told["calls_answered"], told["calls_refused"]
        return tally.answered + sum(tally.refused.values())

    until(lambda: accounted() >= tally.published, SECONDS)
    told = counts()
    # What a gateway itself has retained comes back to it, and is no call.
    heard = accounted() + told["leftovers_heard"]
    assert told["session"]["received"] == heard, f"{where}: {told}"
    assert accounted() == tally.published, f"{where}: {tally.published} published, {told}"
    assert (told["session"]["connections"], told["session"]["faults"]) == (1, 0), f"{where}: {told}"


class Publisher:
    """A foreign client that publishes what a broker lets pass."""

    def __init__(self, port: int, maker: Maker) -> None:
        self.made = 0
        self._maker = maker
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id="fuzz", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.max_queued_messages_set(0)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def publish(self, count: int, *, retain: bool = False) -> list[Publish]:
        """Make ``count`` messages; return those that went to where calls are heard."""
        chosen = [each for each in (self._next() for _ in range(count)) if passes(each)]
        sent = [
            self._client.publish(each.topic.decode(), each.payload, 1, retain, properties_of(each))
            for each in chosen
        ]
        for each in sent:
            each.wait_for_publish(SECONDS)
            assert each.is_published(), "the broker does not take what it should"
        return chosen

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def _next(self) -> Publish:
        self.made += 1
        return self._maker.make()


def passes(publish: Publish) -> bool:
    """Tell whether a broker takes ``publish`` and has it for the router."""
    try:
        topic = publish.topic.decode()
        check_topic(topic)
        check_topic((publish.response_topic or b"x").decode())
    except ValueError:
        return False
    levels = topic.split("/")
    heard = len(levels) == 6 and topic.startswith(f"gateway/{NODE}/devices/")
    return heard and levels[-1] == "call" and topic.isprintable()


def properties_of(publish: Publish) -> Properties:
    """Return the MQTT 5 properties of ``publish``, as paho has them."""
    properties = Properties(PacketTypes.PUBLISH)
    if publish.response_topic is not None:
        properties.ResponseTopic = publish.response_topic.decode()
    if publish.correlation_data is not None:
        properties.CorrelationData = publish.correlation_data
    if publish.user:
        properties.UserProperty = [("message_id", "m-1")] * publish.user
    return properties
