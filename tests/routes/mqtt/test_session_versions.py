"""MQTT 5 first, 3.1.1 where the broker is older."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from routes.mqtt.incoming import Incoming
from routes.mqtt.properties import Properties
from tests.lab.mosquitto import DEADLINE, Received
from tests.lab.mqtt_ends import OldBroker
from tests.lab.ports import free_port
from tests.routes.mqtt.test_session import await_connected, await_disconnected, await_drained


@pytest.fixture
def amqtt_url() -> Iterator[str]:
    """A running amqtt, which refuses MQTT 5 in its CONNACK."""
    from amqtt.broker import Broker

    url = f"127.0.0.1:{free_port()}"
    settings = {
        "listeners": {"default": {"type": "tcp", "bind": url}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    ready, leave = threading.Event(), asyncio.Event()
    loops: SimpleQueue[asyncio.AbstractEventLoop] = SimpleQueue()

    async def serve() -> None:
        broker = Broker(settings)
        await broker.start()
        loops.put(asyncio.get_running_loop())
        ready.set()
        await leave.wait()
        await broker.shutdown()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(DEADLINE)
    yield f"mqtt://{url}"
    loops.get().call_soon_threadsafe(leave.set)
    thread.join(DEADLINE)


def test_a_broker_that_refuses_mqtt_5_is_spoken_to_in_3_1_1(amqtt_url, make_session):
    received: SimpleQueue[Incoming] = SimpleQueue()
    session = make_session(amqtt_url, subscriptions=["in/#"], on_message=received.put)
    assert await_connected(session).protocol == "3.1.1"
    # MQTT 5 with a will, at which amqtt falls silent; the probe, which it refuses; 3.1.1.
    assert session.statistics().attempts == 3
    speaker = make_session(amqtt_url, client_id="speaker")
    assert await_connected(speaker).protocol == "3.1.1"
    await_drained(session)
    speaker.publish("in/a", b"hello", qos=1)
    incoming = received.get(timeout=DEADLINE)
    assert (incoming.payload, incoming.response_topic) == (b"hello", None)


@pytest.mark.needs("mosquitto")
def test_a_broker_that_hangs_up_on_mqtt_5_is_spoken_to_in_3_1_1(broker, make_session):
    with OldBroker(broker.port) as old:
        session = make_session(old.url)
        assert await_connected(session).protocol == "3.1.1"
        session.publish("t", b"1", qos=1, retain=True)
        await_drained(session)
        assert broker.sub("t")[0].payload == b"1"
        assert session.stop(5.0)
        assert b"stopped" in broker.sub("gateway/lab/status")[0].payload


@pytest.mark.needs("mosquitto")
def test_under_3_1_1_what_has_no_place_there_is_left_out(broker, make_session):
    with OldBroker(broker.port) as old, broker.listen("in/#") as heard:
        session = make_session(old.url)
        assert await_connected(session).protocol == "3.1.1"
        properties = Properties(
            expires_in=60.0, response_topic="r", correlation_data=b"7", user=(("a", "b"),)
        )
        session.publish("in/a", b"1", qos=1, properties=properties)
        assert heard.wait_for_count(1) == [Received("in/a", b"1", 1, False)]
        assert session.stop(5.0)


@pytest.mark.needs("mosquitto")
def test_a_restarted_broker_is_still_spoken_to_in_mqtt_5(broker, make_session):
    session = make_session(broker.url)
    await_connected(session)
    for _ in range(3):
        broker.kill()
        await_disconnected(session)
        broker.start()
        assert await_connected(session).protocol == "5"
