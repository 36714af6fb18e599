"""A broker that means ill costs a cause, a count and a back-off; never the thread, never memory."""

from __future__ import annotations

import time
from queue import SimpleQueue

import pytest

from routes.mqtt.incoming import Incoming
from tests.lab.hostile_broker import (
    DISCONNECT,
    PINGREQ,
    PUBLISH,
    HostileBroker,
    Talk,
    acknowledgement,
    answer,
    fixed,
    kind,
    publish,
)
from tests.lab.mosquitto import DEADLINE
from tests.lab.os_processes import until
from tests.routes.mqtt.test_session import (
    await_connected,
    await_disconnected,
    await_drained,
    await_told,
    has_disconnected,
)
from tests.routes.mqtt.test_session_takeover import least_time

LEVELS = {"5": 5, "3.1.1": 4}


@pytest.fixture(params=LEVELS)
def level(request):
    """The protocol level that the broker speaks."""
    return LEVELS[request.param]


def leave(talk: Talk) -> None:
    """Hang up at once."""


def balanced(outbox):
    done = outbox.acknowledged + outbox.dropped + outbox.superseded + outbox.refused
    ends = done + outbox.given_up + outbox.expired
    return outbox.accepted == ends + outbox.queued + outbox.in_flight


# It refuses.


@pytest.mark.parametrize("code", [0x80, 0x85, 0x89, 0x97, 0x9C])
def test_a_refusal_is_told_counted_and_not_stormed(make_session, code):
    with HostileBroker(leave, code=code) as broker:
        began = time.monotonic()
        session = make_session(broker.url, retry_first=0.05, retry_ceiling=0.4)
        assert await_disconnected(session).cause.startswith("the broker ")
        assert until(lambda: session.statistics().refusals >= 4, DEADLINE)
        refusals, took = session.statistics().refusals, time.monotonic() - began
        assert took >= least_time(refusals - 1, 0.05, 0.4)
        assert session.stop(5.0)
        statistics = session.statistics()
    assert (statistics.connections, statistics.faults) == (0, 0)
    assert balanced(statistics.outbox)


@pytest.mark.parametrize("code", [2, 3, 4, 5, 6, 77, 255])
def test_a_refusal_under_3_1_1_is_told_and_counted(make_session, code):
    with HostileBroker(leave, level=4, code=code) as broker:
        session = make_session(broker.url)
        assert await_disconnected(session).cause
        assert until(
            lambda: session.statistics().refusals + session.statistics().violations > 1, DEADLINE
        ), session.state
        assert session.stop(5.0)
    assert (session.statistics().connections, session.statistics().faults) == (0, 0)


def test_what_the_broker_says_beside_its_code_is_quoted(make_session):
    words = b"\x1f\x00\x0etwo gateways\x07!"
    with HostileBroker(leave, code=0x89, properties=words) as broker:
        session = make_session(broker.url)
        assert "(it says: two gateways!)" in await_disconnected(session).cause
        assert session.stop(5.0)


# It closes at once.


@pytest.mark.parametrize("silent", [True, False])
def test_a_broker_that_hangs_up_is_not_stormed(make_session, level, silent):
    with HostileBroker(leave, level=level, silent=silent) as broker:
        began = time.monotonic()
        session = make_session(broker.url, retry_first=0.05, retry_ceiling=0.4)
        assert "closed the connection" in await_told(session, has_disconnected).cause
        assert until(lambda: session.statistics().attempts >= 10, DEADLINE)
        attempts, took = session.statistics().attempts, time.monotonic() - began
        # While it looks for the right version, every other attempt waits for nothing.
        assert took >= least_time((attempts - 1) // 3, 0.05, 0.4)
        assert session.stop(5.0)
        assert session.statistics().faults == 0


def test_a_broker_that_recovers_gets_everything(make_session, level):
    with HostileBroker(leave, leave, leave, kind, level=level) as broker:
        session = make_session(broker.url)
        for number in range(100):
            session.publish("t", b"%d" % number, qos=1)
        outbox = await_drained(session)
        assert session.stop(5.0)
    assert (outbox.acknowledged, outbox.given_up) == (101, 0)
    assert balanced(outbox)


# It throttles.


def test_no_more_is_in_flight_than_the_broker_takes(make_session):
    pending: list[int] = []
    most: list[int] = []

    def one_at_a_time(talk: Talk) -> None:
        # What has come is answered only when nothing more comes by itself.
        while (packet := talk.hear()) is not None:
            if packet.type != PUBLISH:
                talk.say(answer(packet, 5))
                continue
            pending.append(packet.identifier)
            most.append(len(pending))
            if len(pending) == 3:
                talk.say(b"".join(acknowledgement(each, 5) for each in pending))
                pending.clear()

    receive_maximum = b"\x21\x00\x03"
    with HostileBroker(one_at_a_time, properties=receive_maximum) as broker:
        session = make_session(broker.url, in_flight=100)
        for number in range(98):
            session.publish("t", b"%d" % number, qos=1)
        assert until(lambda: session.statistics().outbox.acknowledged == 99, DEADLINE)
        assert max(most) == 3
        session.stop(0.2)


def test_what_finds_no_room_goes_again_in_its_order(make_session):
    heard: list[bytes] = []
    refused: list[int] = []

    def full_at_first(talk: Talk) -> None:
        while (packet := talk.hear()) is not None:
            told = packet.type == PUBLISH and packet.topic == "t"
            full = told and len(refused) < 25
            if full:
                refused.append(packet.identifier)
            elif told:
                heard.append(packet.body[-2:])
            talk.say(answer(packet, 5, 0x97 if full else 0))

    with HostileBroker(full_at_first) as broker:
        began = time.monotonic()
        session = make_session(broker.url, retry_first=0.05, retry_ceiling=0.4, in_flight=20)
        for number in range(40):
            session.publish("t", b"%02d" % number, qos=1)
        found = session.wait_for_state(lambda state: "throttles us" in state.cause, DEADLINE)
        assert found is not None
        assert found.is_connected
        outbox = await_drained(session)
        took, statistics = time.monotonic() - began, session.statistics()
        assert session.stop(5.0)
    assert statistics.throttled == 25
    assert statistics.connections == 1
    assert outbox.refused == 0
    assert balanced(outbox)
    # Some were refused together, at first; then one at a time.
    assert took >= least_time(5, 0.05, 0.4)
    assert len(heard) == 40
    assert heard == sorted(heard)


@pytest.mark.parametrize("code", [0x96, 0x97])
def test_a_broker_that_has_had_enough_is_quoted(make_session, code):
    def enough(talk: Talk) -> None:
        talk.say(fixed(DISCONNECT << 4, bytes([code])))

    with HostileBroker(enough) as broker:
        session = make_session(broker.url)
        assert "has had enough of us" in await_disconnected(session).cause
        assert session.stop(5.0)


def test_a_broker_that_wants_to_hear_from_us_more_often_does(make_session):
    heard: SimpleQueue[int] = SimpleQueue()

    def note(talk: Talk) -> None:
        while (packet := talk.hear()) is not None:
            heard.put(packet.type)
            talk.say(answer(packet, 5))

    server_keep_alive = b"\x13\x00\x01"
    with HostileBroker(note, properties=server_keep_alive) as broker:
        session = make_session(broker.url, keepalive=3600)
        while heard.get(timeout=DEADLINE) != PINGREQ:
            pass
        assert session.stop(5.0)


@pytest.mark.parametrize(
    "properties",
    [b"\x21\x00\x00", b"\x27\x00\x00\x00\x00", b"\x24\x02", b"\x24\xff", b"\x7f", b"\x21"],
)
def test_an_answer_to_connect_that_makes_no_sense_costs_an_attempt(make_session, properties):
    with HostileBroker(kind, properties=properties) as broker:
        session = make_session(broker.url)
        assert session.wait_for_state(lambda state: state.state != "connecting", DEADLINE)
        assert session.stop(5.0)
    assert session.statistics().faults == 0


# It sends what is no MQTT.

MALFORMED = {
    "a type that there is not": b"\x00\x00",
    "the other one": b"\xff\x00",
    "a length that never ends": b"\x30\xff\xff\xff\xff\x7f",
    "a CONNECT": fixed(0x10, b"\x00\x04MQTT\x05\x02\x00\x0a\x00\x00\x00"),
    "a second CONNACK": b"\x20\x03\x00\x00\x00",
    "a second CONNACK of nothing": b"\x20\x00",
    "a PUBLISH of nothing": b"\x30\x00",
    "a topic longer than its packet": b"\x30\x04\xff\xffab",
    "a PUBLISH of QoS 3": publish("in/a", b"", qos=3),
    "a PUBLISH of QoS 2": publish("in/a", b"", qos=2),
    "a PUBREL": b"\x62\x02\x00\x01",
    "properties longer than their packet": fixed(0x30, b"\x00\x01a\x7f"),
    "a property that there is not": fixed(0x30, b"\x00\x01a\x02\x7f\x00"),
    "a property that is cut short": fixed(0x30, b"\x00\x01a\x03\x08\x00\x09"),
    "a property of another packet": fixed(0x30, b"\x00\x01a\x03\x21\x00\x01"),
    "a property that is no UTF-8": fixed(0x30, b"\x00\x01a\x04\x08\x00\x01\xff"),
    "a PUBACK of one byte": b"\x40\x01\x00",
    "a PUBACK with a reason that there is not": b"\x40\x03\x00\x01\x77",
    "a SUBACK of nothing": b"\x90\x00",
    "a SUBACK with a reason that there is not": b"\x90\x04\x00\x01\x00\x77",
    "a DISCONNECT with a reason that there is not": b"\xe0\x01\x77",
    "an AUTH": b"\xf0\x02\x18\x00",
    "a UNSUBACK of nothing": b"\xb0\x00",
    "zeros": b"\x00" * 64,
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_mqtt_costs_one_connection(make_session, name):
    words = MALFORMED[name]

    def babble(talk: Talk) -> None:
        talk.say(words)
        kind(talk)

    with HostileBroker(babble, kind) as broker:
        session = make_session(broker.url, keepalive=1)
        ended = await_told(session, has_disconnected)
        assert until(lambda: session.statistics().connections == 2, DEADLINE)
        await_connected(session)
        session.publish("t", b"1", qos=1)
        outbox, statistics = await_drained(session), session.statistics()
        assert session.stop(5.0)
    assert statistics.faults == 0
    assert statistics.connections == 2
    # "HTTP" begins as an acknowledgement does, of which the rest does not come.
    assert statistics.violations == (name != "another protocol")
    assert ended.cause
    assert balanced(outbox)


HARMLESS = {
    "a PUBACK for what was never sent": acknowledgement(999, 5),
    "a PUBREC for what was never sent": b"\x50\x02\x03\xe7",
    "a SUBACK for what was never asked": b"\x90\x04\x03\xe7\x00\x01",
    "a PINGRESP for nothing": b"\xd0\x00" * 10,
    "a topic that is no UTF-8": fixed(0x30, b"\x00\x02\xff\xfe\x00"),
    "an alias that was never agreed": fixed(0x30, b"\x00\x00\x03\x23\x00\x01"),
    "a PUBLISH with wildcards": publish("in/+/#", b""),
}


@pytest.mark.parametrize("words", HARMLESS.values(), ids=HARMLESS)
def test_what_is_only_odd_costs_nothing(make_session, words):
    def odd(talk: Talk) -> None:
        talk.say(words)
        kind(talk)

    with HostileBroker(odd) as broker:
        session = make_session(broker.url)
        for number in range(30):
            session.publish("t", b"%d" % number, qos=1)
        outbox, statistics = await_drained(session), session.statistics()
        assert session.stop(5.0)
    assert (statistics.connections, statistics.faults, statistics.violations) == (1, 0, 0)
    assert outbox.acknowledged == 31


def test_a_violation_is_told_and_counted(make_session):
    def insist(talk: Talk) -> None:
        talk.say(publish("in/a", b"", qos=2))
        kind(talk)

    with HostileBroker(insist) as broker:
        session = make_session(broker.url, retry_ceiling=0.4)
        cause = await_disconnected(session).cause
        assert "broke the protocol, it sent a message of QoS 2, for which nobody asked" in cause
        assert until(lambda: session.statistics().violations >= 3, DEADLINE)
        assert session.stop(5.0)


def test_a_message_before_the_answer_to_connect_is_none(make_session):
    received: SimpleQueue[Incoming] = SimpleQueue()

    def hasty(talk: Talk) -> None:
        talk.say(publish("in/a", b"") + b"\x20\x03\x00\x00\x00")
        kind(talk)

    with HostileBroker(hasty, silent=True) as broker:
        session = make_session(broker.url, on_message=received.put)
        assert "does not speak MQTT" in await_disconnected(session).cause
        assert session.stop(5.0)
    assert received.empty()
    assert session.statistics().violations > 0


@pytest.mark.parametrize("size", [2 << 20, 268_435_455])
def test_a_packet_that_is_far_too_large_is_not_read(make_session, level, size):
    def boast(talk: Talk) -> None:
        # The head of a packet, and as much of it as anybody reads.
        talk.say(b"\x30" + _length(size))
        while talk.say(b"x" * 65_536):
            pass

    with HostileBroker(boast, level=level) as broker:
        session = make_session(broker.url)
        found = session.wait_for_state(lambda state: f"of {size} bytes" in state.cause, DEADLINE)
        assert found is not None, session.state
        assert session.stop(5.0)
    assert session.statistics().violations > 0


def _length(size: int) -> bytes:
    return bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14 & 127 | 128, size >> 21])


# It floods.


@pytest.mark.parametrize(
    "packet",
    [publish("in/a", b"x"), publish("in/a", b"x", qos=1), b"\xd0\x00", acknowledgement(9, 5)],
    ids=["QoS 0", "QoS 1", "answers to no question", "acknowledgements of nothing"],
)
def test_a_flood_is_told_counted_and_met_with_a_back_off(make_session, packet):
    received: list[Incoming] = []

    def flood(talk: Talk) -> None:
        while talk.say(packet * 100):
            pass

    with HostileBroker(flood) as broker:
        session = make_session(broker.url, receive_rate=20, on_message=received.append)
        found = session.wait_for_state(lambda state: "floods us" in state.cause, DEADLINE)
        assert found is not None, session.state
        assert "receive_rate = 20" in found.cause
        assert until(lambda: session.statistics().floods >= 3, DEADLINE)
        assert session.stop(5.0)
        statistics = session.statistics()
    assert statistics.faults == 0
    # Ten seconds' worth and one read's, on each connection.
    assert len(received) == statistics.received <= statistics.connections * 250


def test_a_burst_within_the_rate_is_all_delivered(make_session):
    received: SimpleQueue[Incoming] = SimpleQueue()

    def burst(talk: Talk) -> None:
        talk.say(b"".join(publish("in/a", b"%d" % number) for number in range(4000)))
        kind(talk)

    with HostileBroker(burst) as broker:
        session = make_session(broker.url, on_message=received.put)
        numbers = [int(received.get(timeout=DEADLINE).payload) for _ in range(4000)]
        assert session.stop(5.0)
    assert numbers == list(range(4000))
    assert session.statistics().connections == 1


def test_stop_is_heard_through_a_flood(make_session):
    def flood(talk: Talk) -> None:
        while talk.say(publish("in/a", b"x") * 100):
            pass

    with HostileBroker(flood) as broker:
        session = make_session(broker.url, receive_rate=1_000_000)
        await_connected(session)
        session.stop(1.0)
        assert session.stop(DEADLINE), "its thread goes on"
