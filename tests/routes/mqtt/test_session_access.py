"""Who may come in, and what the broker forbids or finds too large."""

from __future__ import annotations

from queue import SimpleQueue

import pytest

from routes.mqtt.incoming import Incoming
from tests.lab.mosquitto import DEADLINE, Mosquitto
from tests.lab.mqtt_ends import OldBroker
from tests.routes.mqtt.test_session import (
    await_connected,
    await_disconnected,
    await_drained,
    await_told,
)

pytestmark = pytest.mark.needs("mosquitto")


@pytest.fixture
def guarded():
    """A broker that admits gw with the password sesame, and nobody else."""
    with Mosquitto(passwords={"gw": "sesame"}) as broker:
        yield broker


@pytest.fixture
def password_file(tmp_path):
    """The file in which the gateway has its password."""
    path = tmp_path / "password"
    path.write_text("sesame\n")
    return path


def test_the_right_password_is_admitted(guarded, make_session, password_file):
    await_connected(make_session(guarded.url, username="gw", password_file=str(password_file)))


def test_a_wrong_password_says_what_to_check_and_its_correction_is_noticed(
    guarded, make_session, password_file
):
    password_file.write_text("simsalabim")
    session = make_session(guarded.url, username="gw", password_file=str(password_file))
    cause = await_disconnected(session).cause
    assert "'gw'" in cause
    assert "password_file" in cause
    password_file.write_text("sesame")
    await_connected(session)


def test_a_wrong_password_is_told_alike_under_3_1_1(guarded, make_session, password_file):
    password_file.write_text("simsalabim")
    with OldBroker(guarded.port) as old:
        session = make_session(old.url, username="gw", password_file=str(password_file))
        assert session.wait_for_state(lambda state: "password_file" in state.cause, DEADLINE)
        assert session.stop(5.0)


def test_nobody_without_a_name_says_what_to_set(guarded, make_session):
    assert "set username" in await_disconnected(make_session(guarded.url)).cause


def test_a_missing_password_file_is_a_cause_not_an_end(guarded, make_session, password_file):
    password_file.unlink()
    session = make_session(guarded.url, username="gw", password_file=str(password_file))
    assert f"password_file {password_file}" in await_disconnected(session).cause
    password_file.write_text("sesame")
    await_connected(session)
    assert session.statistics().faults == 0


def test_what_the_access_list_forbids_is_counted_and_costs_nothing_else(make_session, caplog):
    acl = {"acl": "topic readwrite gateway/#\ntopic write drained\n"}
    with Mosquitto(lines=["acl_file acl"], files=acl) as broker:
        session = make_session(broker.url)
        await_connected(session)
        for _ in range(3):
            session.publish("forbidden/a", b"", qos=1)
        session.publish("gateway/lab/allowed", b"1", qos=1, retain=True)
        await_drained(session)
        statistics = session.statistics()
        assert broker.sub("gateway/lab/allowed")
        session.stop(5.0)
    assert (statistics.denied, statistics.outbox.refused, statistics.connections) == (3, 3, 1)
    assert caplog.text.count("forbids (not authorized) publishing to forbidden/a:") == 1


def test_what_the_broker_finds_too_large_is_not_sent(make_session):
    with Mosquitto(lines=["max_packet_size 2000"]) as broker:
        session = make_session(broker.url)
        await_connected(session)
        session.publish("large", b"x" * 3000, qos=1, retain=True)
        session.publish("small", b"x", qos=1, retain=True)
        await_drained(session)
        assert broker.sub("small")
        statistics = session.statistics()
        assert (statistics.outbox.refused, statistics.connections) == (1, 1)
        session.stop(5.0)


def test_what_makes_an_old_broker_hang_up_is_given_up(make_session):
    with Mosquitto(lines=["max_packet_size 2000"]) as broker, OldBroker(broker.port) as old:
        session = make_session(old.url)
        await_connected(session)
        session.publish("large", b"x" * 3000, qos=1)
        assert session.wait_for_state(
            lambda state: session.statistics().outbox.given_up == 1, DEADLINE
        )
        await_connected(session)
        await_drained(session)
        session.stop(5.0)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_huge_message_from_outside_never_reaches_us(broker, make_session, version):
    received: SimpleQueue[Incoming] = SimpleQueue()
    with OldBroker(broker.port) as old:
        url = broker.url if version == "5" else old.url
        session = make_session(
            url, subscriptions=["in/#"], on_message=received.put, max_payload=1000
        )
        assert await_connected(session).protocol == version
        broker.wait_for_log(r"gateway-lab 1 in/#")
        broker.pub("in/huge", b"x" * 8_000_000)
        if version == "3.1.1":
            lost = await_told(session, lambda state: "8000" in state.cause)
            assert "max_payload" in lost.cause
        assert session.wait_for_state(
            lambda state: state.is_connected and session.statistics().outbox.in_flight == 0,
            DEADLINE,
        )
        # The second subscription, where there was a second connection.
        count = session.statistics().connections
        assert count == {"5": 1, "3.1.1": 2}[version]
        await_drained(session)
        broker.pub("in/small", b"x")
        assert received.get(timeout=DEADLINE).topic == "in/small"
        session.stop(5.0)
