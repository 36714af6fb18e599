"""Two clients of one id at a real mosquitto: both are told, and neither spins."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from routes.mqtt.connection_state import ConnectionState
from tests.lab.mosquitto import DEADLINE
from tests.lab.mqtt_ends import Babbler, OldBroker
from tests.lab.os_processes import until
from tests.routes.mqtt.test_session import await_connected, await_disconnected, await_drained

pytestmark = pytest.mark.needs("mosquitto")

ADVICE = "another client took over the session 'gateway-lab': give one of the two another node"


@pytest.fixture(params=["5", "3.1.1"])
def ways(request, broker):
    """Two ways to one broker, and what is spoken on them."""
    with ExitStack() as stack:
        if request.param == "5":
            yield request.param, [broker.url, broker.url]
        else:
            old = [stack.enter_context(OldBroker(broker.port)) for _ in range(2)]
            yield request.param, [each.url for each in old]


def least_time(waits, first, ceiling):
    """Return the seconds that so many waits take at the least, while the back-off grows."""
    return sum(min(first * 2**number, ceiling) / 2 for number in range(waits))


def test_two_gateways_of_one_id_are_both_told_and_come_back_ever_more_rarely(ways, make_session):
    version, urls = ways
    began = time.monotonic()
    # This mosquitto throws the older one out without a word, whatever is spoken.
    states: list[ConnectionState] = []
    options = {"retry_first": 0.05, "retry_ceiling": 0.8, "on_state": states.append}
    sessions = [make_session(url, **options) for url in urls]
    for session in sessions:
        told = session.wait_for_state(lambda state: ADVICE in state.cause, 3 * DEADLINE)
        assert told is not None, session.state
    assert until(lambda: all(s.statistics().connections >= 9 for s in sessions), 3 * DEADLINE)
    for session in sessions:
        connections, took = session.statistics().connections, time.monotonic() - began
        # One more or less: it may be waiting, or have come back this moment.
        assert took >= least_time(connections - 2, 0.05, 0.8)
        assert session.statistics().takeovers > 0
        assert session.statistics().faults == 0
    for session in sessions:
        assert session.stop(5.0)
    assert {state.protocol for state in states if state.is_connected} == {version}


def test_whoever_is_left_stays_and_says_all_that_it_has_to_say(broker, make_session):
    first, second = make_session(broker.url), make_session(broker.url)
    for session in (first, second):
        assert session.wait_for_state(lambda state: ADVICE in state.cause, DEADLINE)
    assert second.stop(5.0)
    await_connected(first)
    first.publish("t", b"1", qos=1, retain=True)
    assert await_drained(first).given_up == 0
    assert broker.sub("t")[0].payload == b"1"


def test_a_broker_that_says_who_took_over_needs_to_say_it_once(make_session):
    connack, taken_over = b"\x20\x03\x00\x00\x00", b"\xe0\x01\x8e"
    with Babbler(connack + taken_over) as broker:
        session = make_session(broker.url, retry_first=30.0, retry_ceiling=30.0)
        assert ADVICE in await_disconnected(session).cause
        assert session.statistics().takeovers == 1
        assert session.stop(5.0)


def test_a_broker_that_is_restarted_again_and_again_is_no_rival(broker, make_session):
    session = make_session(broker.url)
    for _ in range(4):
        await_connected(session)
        broker.kill()
        # Gone, and found to be gone: that is what a rival does not bring about.
        assert session.wait_for_state(lambda state: "nobody listens" in state.cause, DEADLINE)
        broker.start()
    assert session.statistics().takeovers == 0
