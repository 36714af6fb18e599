"""The session against a real mosquitto: who is there, what is said, how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from queue import SimpleQueue

import pytest

from routes.mqtt.incoming import Incoming
from routes.mqtt.properties import Properties
from tests.lab.mosquitto import DEADLINE, Mosquitto
from tests.lab.mqtt_ends import Deaf
from tests.lab.os_processes import until

pytestmark = pytest.mark.needs("mosquitto")

STATUS = "gateway/lab/status"
ONLINE = b'{"online":true}'


def await_connected(session, timeout=DEADLINE):
    state = session.wait_for_state(lambda state: state.is_connected, timeout)
    assert state is not None, session.state
    return state


def await_disconnected(session, timeout=DEADLINE):
    state = session.wait_for_state(lambda state: state.state == "disconnected", timeout)
    assert state is not None, session.state
    return state


def await_told(session, accepts, timeout=DEADLINE):
    """Wait until the session has told of such a state, which may be over; return the first."""
    assert until(lambda: any(map(accepts, list(session.told))), timeout), session.told
    return next(filter(accepts, session.told))


def has_disconnected(state):
    return state.state == "disconnected"


def await_drained(session):
    """Wait until the broker has all that was published before; return what came of it."""
    assert session.flush(DEADLINE), session.statistics()
    return session.statistics().outbox


# Who is there.


def test_it_connects_with_mqtt_5_and_says_that_it_is_there(broker, make_session):
    session = make_session(broker.url)
    state = await_connected(session)
    assert (state.protocol, state.broker) == ("5", broker.url)
    (birth,) = broker.sub(STATUS)
    assert (birth.payload, birth.retained) == (ONLINE, True)


def test_the_birth_is_the_first_word_on_a_connection(broker, make_session):
    with broker.listen("#") as heard:
        session = make_session(broker.url)
        session.publish("gateway/lab/devices/a/state", b"1", qos=1, retain=True)
        session.publish("gateway/lab/devices/a/value", b"2")
        assert heard.wait_for_count(3)[0].topic == STATUS


def test_a_stopped_session_leaves_a_retained_farewell(broker, make_session):
    session = make_session(broker.url)
    await_connected(session)
    assert session.stop(5.0)
    (farewell,) = broker.sub(STATUS)
    assert farewell.payload == b'{"online":false,"cause":"stopped"}'


CLIENT = """
import random, sys, threading
from gateway.clock import RealClock
from routes.mqtt.network_loop import Status
from routes.mqtt.session import Session
from routes.mqtt.settings import SessionSettings
Session(
    SessionSettings(broker=sys.argv[1]), client_id="victim", clock=RealClock(),
    status=Status("gateway/victim/status", b"online", b"offline", b"lost"),
    random=random.Random(1),
).start()
threading.Event().wait(30)
"""


def test_the_broker_publishes_the_will_of_a_killed_gateway(broker):
    with broker.listen("gateway/victim/status") as heard:
        victim = subprocess.Popen(
            [sys.executable, "-c", CLIENT, broker.url], cwd=Path(__file__).parents[3]
        )
        try:
            heard.wait_for(lambda message: message.payload == b"online")
        finally:
            victim.send_signal(signal.SIGKILL)
            victim.wait(DEADLINE)
        heard.wait_for(lambda message: message.payload == b"lost")
    (will,) = broker.sub("gateway/victim/status")
    assert (will.payload, will.retained) == (b"lost", True)


# What is said.


def test_publish_reaches_a_foreign_client(broker, make_session):
    session = make_session(broker.url)
    with broker.listen("gateway/lab/devices/#") as heard:
        session.publish("gateway/lab/devices/wheels/odometry", b"\x00\xff", qos=0)
        session.publish("gateway/lab/devices/wheels/state", b"{}", qos=1, retain=True)
        first, second = sorted(heard.wait_for_count(2))
    assert (first.topic, first.payload, first.qos) == (
        "gateway/lab/devices/wheels/odometry",
        b"\x00\xff",
        0,
    )
    assert (second.topic, second.qos) == ("gateway/lab/devices/wheels/state", 1)


def test_what_is_published_leaves_at_once(broker, make_session):
    session = make_session(broker.url, keepalive=600, acknowledge_timeout=600)
    await_connected(session)
    await_drained(session)
    for _ in range(5):
        session.publish("t", b"", qos=1)
        # Nothing else would wake the network thread for a minute.
        assert session.flush(DEADLINE)


def test_a_message_comes_with_its_response_topic_and_correlation_data(broker, make_session):
    received: SimpleQueue[Incoming] = SimpleQueue()
    session = make_session(broker.url, subscriptions=["in/#"], on_message=received.put)
    await_connected(session)
    broker.wait_for_log(r"gateway-lab 1 in/#")
    broker.pub("in/a", b'{"on":true}', response_topic="answers/1", correlation_data="7")
    incoming = received.get(timeout=DEADLINE)
    assert incoming.topic == "in/a"
    assert incoming.payload == b'{"on":true}'
    assert (incoming.response_topic, incoming.correlation_data) == ("answers/1", b"7")
    assert not incoming.retained


def test_a_retained_message_from_before_is_marked(broker, make_session):
    broker.pub("in/a", "old", retain=True)
    received: SimpleQueue[Incoming] = SimpleQueue()
    make_session(broker.url, subscriptions=["in/#"], on_message=received.put)
    assert received.get(timeout=DEADLINE).retained


def test_correlation_data_goes_back_with_a_reply(broker, make_session):
    session = make_session(broker.url)
    with broker.listen("answers/#") as heard:
        properties = Properties(correlation_data=b"call-7")
        session.publish("answers/1", b"{}", qos=1, urgent=True, properties=properties)
        assert heard.wait_for_count(1)[0].correlation_data == "call-7"


def test_under_mqtt_5_a_message_bears_its_properties(broker, make_session):
    received: SimpleQueue[Incoming] = SimpleQueue()
    listener = make_session(
        broker.url, client_id="other", subscriptions=["in/#"], on_message=received.put
    )
    broker.wait_for_log(r"other 1 in/#")
    session = make_session(broker.url)
    properties = Properties(
        expires_in=3600.0,
        response_topic="answers/1",
        correlation_data=b"7",
        content_type="application/json",
        user=(("message_id", "m-1"), ("thread_id", "t-1")),
    )
    session.publish("in/a", b"{}", qos=1, properties=properties)
    incoming = received.get(timeout=DEADLINE)
    assert incoming.expires_in is not None
    assert 3500 < incoming.expires_in <= 3600
    assert incoming == Incoming(
        topic="in/a",
        payload=b"{}",
        response_topic="answers/1",
        correlation_data=b"7",
        expires_in=incoming.expires_in,
        content_type="application/json",
        user=(("message_id", "m-1"), ("thread_id", "t-1")),
    )
    assert listener.statistics().received == 1


def test_a_foreign_client_can_tell_repeats_by_the_message_id(broker, make_session):
    session = make_session(broker.url)
    with broker.listen("in/#") as heard:
        user = (("message_id", "m-1"), ("thread_id", "t-1"))
        session.publish("in/a", b"", qos=1, properties=Properties(user=user))
        assert heard.wait_for_count(1)[0].user == "message_id:m-1 thread_id:t-1"


def test_the_broker_forgets_a_retained_message_when_it_expires(broker, make_session):
    session = make_session(broker.url)
    await_connected(session)
    with broker.listen("in/#") as heard:
        session.publish("in/a", b"1", qos=1, retain=True, properties=Properties(expires_in=3.0))
        session.publish("in/b", b"2", qos=1, retain=True)
        heard.wait_for_count(2)
    assert until(lambda: broker.sub("in/#")[0].topic == "in/b", DEADLINE)


def test_its_own_words_do_not_come_back(broker, make_session):
    received: SimpleQueue[Incoming] = SimpleQueue()
    session = make_session(broker.url, subscriptions=["in/#"], on_message=received.put)
    broker.wait_for_log(r"gateway-lab 1 in/#")
    session.publish("in/own", b"", qos=1)
    await_drained(session)
    broker.pub("in/foreign", "")
    assert received.get(timeout=DEADLINE).topic == "in/foreign"


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0b", "a/\ud800"])
def test_a_topic_that_nobody_can_publish_to_is_misuse(make_session, topic):
    session = make_session("mqtt://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"topic|surrogates"):
        session.publish(topic, b"")


def test_a_payload_over_the_limit_is_refused_and_counted(broker, make_session):
    session = make_session(broker.url, max_payload=100)
    assert not session.publish("t", b"x" * 101)
    assert session.publish("t", b"x" * 100)
    assert session.statistics().too_large == 1


def test_many_threads_publish_and_nothing_is_lost(broker, make_session):
    session = make_session(broker.url, queue_size=4000)
    await_connected(session)
    with broker.listen("many/#") as heard:

        def shout(name):
            for number in range(200):
                session.publish(f"many/{name}", b"%d" % number, qos=1)

        threads = [threading.Thread(target=shout, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        messages = heard.wait_for_count(800)
    for name in "abcd":
        mine = [int(m.payload) for m in messages if m.topic == f"many/{name}"]
        assert mine == list(range(200))


# How it ends.


def test_stop_flushes_what_is_queued(broker, make_session):
    session = make_session(broker.url)
    await_connected(session)
    with broker.listen("last/#") as heard:
        for number in range(300):
            session.publish("last/word", b"%d" % number, qos=1)
        assert session.stop(5.0)
        assert len(heard.wait_for_count(300)) == 300


def test_stop_ends_in_time_under_a_frozen_broker(broker, make_session):
    session = make_session(broker.url)
    await_connected(session)
    broker.freeze()
    session.publish("never/taken", b"", qos=1)
    assert session.stop(1.0)
    assert session.statistics().outbox.queued == 2
    broker.thaw()


def test_leave_is_taken_when_the_farewell_is_said(broker, make_session):
    session = make_session(broker.url)
    await_connected(session)
    assert session.stop(5.0)
    broker.wait_for_log("Received DISCONNECT from gateway-lab")


def test_the_farewell_has_the_time_that_an_empty_queue_did_not_take(broker, make_session):
    session = make_session(broker.url)
    await_connected(session)
    broker.freeze()
    # Later than 0.3 of the deadline, which is what it has behind a queue that took its time.
    thawed = threading.Timer(2.0, broker.thaw)
    thawed.start()
    assert session.stop(5.0)
    thawed.join()
    broker.wait_for_log("Received DISCONNECT from gateway-lab")


def test_with_the_farewell_unsaid_no_leave_is_taken_so_that_the_will_stands(make_session):
    with Deaf() as deaf:
        session = make_session(deaf.url)
        await_connected(session)
        session.stop(0.5)
        assert session.stop(DEADLINE), "its thread goes on"
        said = deaf.said.get(timeout=DEADLINE)
    # The farewell is the last packet (MQTT 5.0, section 3.14: DISCONNECT begins with E0).
    assert said.endswith(b'"cause":"stopped"}')
    assert session.state.cause == "the session was stopped"


def test_who_is_stopped_at_once_is_not_taken_for_dead(broker, make_session):
    with broker.listen(STATUS) as heard:
        for number in range(20):
            session = make_session(broker.url, client_id=f"brief-{number}")
            # At some moment of its coming, another one each time.
            session.wait_for_state(lambda state: state.is_connected, number * 0.0003)
            assert session.stop(5.0)
        broker.pub(STATUS, "end")
        heard.wait_for(lambda message: message.payload == b"end")
    assert not [message for message in heard.messages if b"lost" in message.payload]


def test_what_is_not_taken_by_the_deadline_shows(broker, make_session):
    session = make_session(broker.url)
    await_connected(session)
    broker.freeze()
    session.stop(0.5)
    assert session.stop(DEADLINE), "its thread goes on"
    assert session.statistics().outbox.queued == 1
    broker.thaw()
    with broker.listen(STATUS) as heard:
        heard.wait_for(lambda message: b"lost" in message.payload)


def test_nothing_is_taken_after_stop(broker, make_session):
    session = make_session(broker.url)
    assert session.stop(5.0)
    assert not session.publish("t", b"")
    assert session.state.state == "disconnected"


def test_stop_during_a_back_off_is_immediate(make_session):
    session = make_session("mqtt://127.0.0.1:9", retry_first=60.0, retry_ceiling=60.0)
    await_disconnected(session)
    assert session.stop(DEADLINE)


def test_a_session_is_started_once(broker, make_session):
    session = make_session(broker.url)
    with pytest.raises(RuntimeError, match="once"):
        session.start()


def test_two_brokers_do_not_share_anything(make_session):
    with Mosquitto() as one, Mosquitto() as other:
        first, second = make_session(one.url), make_session(other.url)
        await_connected(first)
        await_connected(second)
        other.kill()
        assert await_disconnected(second)
        assert first.state.is_connected
