"""The session when the broker is away, hangs, or is not what it seems."""

from __future__ import annotations

import logging
import threading
import time
from queue import SimpleQueue

import pytest

from routes.mqtt.connection_state import ConnectionState
from routes.mqtt.incoming import Incoming
from routes.mqtt.properties import Properties
from tests.lab.mosquitto import DEADLINE, Mosquitto
from tests.lab.mqtt_ends import Babbler, Mute
from tests.lab.os_processes import until
from tests.lab.ports import free_port
from tests.routes.mqtt.test_session import (
    await_connected,
    await_disconnected,
    await_drained,
    await_told,
    has_disconnected,
)

pytestmark = pytest.mark.needs("mosquitto")

STATUS = "gateway/lab/status"


def test_a_broker_that_is_down_at_start_is_normal_life(make_session, caplog):
    port = free_port()
    with caplog.at_level(logging.DEBUG, "routes.mqtt"):
        session = make_session(f"mqtt://127.0.0.1:{port}")
        assert "is the broker running" in await_disconnected(session).cause
        with Mosquitto(port=port) as broker:
            await_connected(session)
            assert broker.sub(STATUS)
            complaints = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert session.statistics().attempts > 1
    # Said once, however many attempts it took; then the broker's end was news.
    assert [r.getMessage().count("is the broker running") for r in complaints][:2] == [1]


def test_after_an_outage_the_state_of_the_house_is_told_again(broker, make_session):
    session = make_session(broker.url)
    session.publish("gateway/lab/devices/wheels/state", b"1", qos=1, retain=True)
    session.publish("gateway/lab/devices/arm/state", b"1", qos=1, retain=True)
    await_connected(session)
    await_drained(session)
    broker.kill()
    await_disconnected(session)
    session.publish("gateway/lab/devices/wheels/state", b"2", qos=1, retain=True)
    session.publish("gateway/lab/devices/wheels/state", b"3", qos=1, retain=True)
    broker.start()
    await_connected(session)
    await_drained(session)
    with broker.listen("gateway/#") as heard:
        retained = {m.topic: m.payload for m in heard.wait_for_count(3)}
    assert retained == {
        STATUS: b'{"online":true}',
        "gateway/lab/devices/wheels/state": b"3",
        "gateway/lab/devices/arm/state": b"1",
    }


def test_with_more_topics_than_are_kept_it_still_says_that_it_is_there(broker, make_session):
    session = make_session(broker.url, retained_size=2)
    for number in range(5):
        session.publish(f"gateway/lab/devices/{number}/state", b"1", qos=1, retain=True)
    await_connected(session)
    await_drained(session)
    broker.kill()
    await_disconnected(session)
    broker.start()
    await_connected(session)
    await_drained(session)
    with broker.listen("gateway/#") as heard:
        assert sorted(m.topic for m in heard.wait_for_count(3)) == [
            "gateway/lab/devices/3/state",
            "gateway/lab/devices/4/state",
            STATUS,
        ]


def test_an_outage_is_shown_with_its_cause_and_its_beginning(broker, make_session):
    session = make_session(broker.url)
    since = await_connected(session).since
    broker.kill()
    lost = await_told(session, has_disconnected)
    assert "closed the connection" in lost.cause or "cut the connection" in lost.cause
    refused = session.wait_for_state(lambda state: "nobody listens" in state.cause, DEADLINE)
    assert refused is not None
    assert since <= lost.since == refused.since <= time.time()


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (0x8B, "was shut down"),
        (0x8E, "another client took over the session 'gateway-lab': give one of the two"),
        (0x98, "operator"),
        (0x00, "normal"),
    ],
)
def test_a_broker_that_says_why_it_leaves_is_quoted(make_session, code, cause):
    connack, disconnect = b"\x20\x03\x00\x00\x00", bytes([0xE0, 0x01, code])
    with Babbler(connack + disconnect) as farewell:
        session = make_session(farewell.url, retry_first=30.0, retry_ceiling=30.0)
        assert cause in await_disconnected(session).cause
        assert session.stop(5.0)


def test_during_an_outage_the_queue_is_bounded_and_drops_are_counted(broker, make_session):
    session = make_session(broker.url, queue_size=50)
    await_connected(session)
    await_drained(session)
    broker.kill()
    await_disconnected(session)
    for number in range(200):
        session.publish("telemetry", b"%d" % number, qos=1)
    assert session.statistics().outbox.dropped == 150
    assert session.statistics().outbox.queued == 50
    broker.start()
    await_connected(session)
    outbox = await_drained(session)
    assert outbox.dropped == 150
    assert outbox.accepted == outbox.acknowledged + outbox.dropped + outbox.superseded


def test_what_expires_during_an_outage_is_not_sent_afterwards(broker, make_session):
    session, settled = make_session(broker.url), threading.Event()
    await_connected(session)
    await_drained(session)
    broker.kill()
    await_disconnected(session)
    brief = Properties(expires_in=0.001)
    session.publish("t", b"stale", qos=1, properties=brief)
    session.publish("t", b"stale", qos=1, properties=brief, settled=settled.set)
    lasting = Properties(expires_in=60.0)
    session.publish("t", b"fresh", qos=1, retain=True, properties=lasting)
    broker.start()
    with broker.listen("t") as heard:
        outbox = await_drained(session)
        assert heard.wait_for_count(1)[0].payload == b"fresh"
    assert settled.is_set()
    assert outbox.expired == 2
    assert outbox.accepted == outbox.acknowledged + outbox.expired + outbox.superseded


def test_a_frozen_broker_is_noticed_by_its_silence(broker, make_session):
    session = make_session(broker.url, keepalive=1)
    await_connected(session)
    broker.freeze()
    lost = await_disconnected(session)
    assert "has not answered for 1 s" in lost.cause
    broker.thaw()
    await_connected(session)


def test_a_broker_that_is_frozen_at_the_start_is_noticed(broker, make_session):
    broker.freeze()
    session = make_session(broker.url, connect_timeout=0.2)
    assert "said nothing for 0.2 s" in await_disconnected(session).cause
    broker.thaw()
    await_connected(session)


@pytest.mark.parametrize("qos", [0, 1])
def test_under_a_frozen_broker_nobody_is_blocked_and_little_is_in_flight(broker, make_session, qos):
    session = make_session(broker.url, queue_size=100, in_flight=5)
    await_connected(session)
    await_drained(session)
    broker.freeze()
    for _ in range(20):
        began = time.monotonic()
        for _ in range(500):
            session.publish("flood", b"x" * 30_000, qos=qos)
        assert time.monotonic() - began < 2.0
        # The sockets hold some megabytes, the queue 100 letters, and paho none.
        if not session.flush(0.2):
            break
    else:
        raise AssertionError("300 MB and no end: somebody keeps them in memory")
    outbox = session.statistics().outbox
    assert outbox.dropped > 100
    assert outbox.in_flight <= 6
    assert outbox.queued <= 100
    broker.thaw()
    after = await_drained(session)
    assert after.acknowledged + after.dropped == after.accepted


def test_a_broker_that_answers_but_never_acknowledges_is_left(broker, make_session):
    # Quality of service 1 is answered by a broker that is alive: freeze it for
    # less than the keepalive.
    session = make_session(broker.url, acknowledge_timeout=0.5, keepalive=30, retry_first=0.2)
    await_connected(session)
    await_drained(session)
    broker.freeze()
    session.publish("t", b"", qos=1)
    assert "acknowledges nothing for 0.5 s" in await_disconnected(session).cause
    broker.thaw()
    await_connected(session)
    await_drained(session)


def test_a_callback_that_raises_costs_the_connection_not_the_thread(broker, make_session, caplog):
    received: SimpleQueue[Incoming] = SimpleQueue()

    def fail_once(incoming):
        received.put(incoming)
        if incoming.payload == b"bad":
            raise ZeroDivisionError("a bug")

    session = make_session(broker.url, subscriptions=["in/#"], on_message=fail_once)
    broker.wait_for_log(r"gateway-lab 1 in/#")
    with broker.listen(STATUS) as heard:
        broker.pub("in/a", "bad")
        heard.wait_for_next(lambda message: b"lost" in message.payload)
        heard.wait_for_next(lambda message: b"true" in message.payload)
    await_connected(session)
    broker.pub("in/a", "good")
    seen = [received.get(timeout=DEADLINE).payload for _ in range(2)]
    assert seen == [b"bad", b"good"]
    statistics = session.statistics()
    assert (statistics.faults, statistics.connections) == (1, 2)
    assert "ZeroDivisionError" in caplog.text


def test_whoever_waits_for_a_letter_and_raises_costs_the_connection_not_the_thread(
    broker, make_session
):
    def fail():
        raise RuntimeError("a bug")

    session = make_session(broker.url)
    await_connected(session)
    session.publish("t", b"1", qos=1, settled=fail)
    assert until(lambda: session.statistics().faults == 1, DEADLINE)
    await_connected(session)
    session.publish("t", b"2", qos=1)
    outbox = await_drained(session)
    assert (outbox.acknowledged, outbox.accepted) == (3, 3)
    assert session.statistics().connections == 2


def test_a_listener_to_states_that_raises_costs_nothing(broker, make_session):
    def fail(state):
        raise RuntimeError("a bug")

    session = make_session(broker.url, on_state=fail)
    await_connected(session)
    await_drained(session)
    statistics = session.statistics()
    assert (statistics.faults, statistics.connections) == (1, 1)


def test_states_are_told_as_they_change(broker, make_session):
    states: SimpleQueue[ConnectionState] = SimpleQueue()
    make_session(broker.url, on_state=states.put)
    assert states.get(timeout=DEADLINE).state == "connected"
    broker.kill()
    assert states.get(timeout=DEADLINE).state == "disconnected"


def test_an_unknown_host_is_named(make_session):
    session = make_session("mqtt://no-such-host.invalid")
    assert "'no-such-host.invalid' cannot be resolved" in await_disconnected(session).cause


def test_something_mute_on_the_port_is_noticed(make_session):
    with Mute() as mute:
        session = make_session(mute.url, connect_timeout=0.2)
        assert "said nothing" in await_disconnected(session).cause
        assert session.stop(5.0)


@pytest.mark.parametrize(
    "words",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x20\x00",
        b"\x20\x03\x00\x00\x00",
        b"\x20\x01\x00",
        b"\x20\x04\x00\x87\xff\xff",
        b"\x30\xff\xff\xff\xff\xff",
        b"\x30\x02\x00\x05",
        b"\x90\x00",
        b"\xe0\x02\x99\x99",
        b"\x00" * 64,
        b"",
    ],
)
def test_what_speaks_no_mqtt_costs_an_attempt_and_no_more(make_session, words):
    with Babbler(words) as babbler:
        session = make_session(babbler.url, connect_timeout=0.3)
        await_disconnected(session)
        for _ in range(3):
            await_disconnected(session)
        assert session.state.cause
        assert session.stop(5.0)
    assert session.statistics().faults == 0
