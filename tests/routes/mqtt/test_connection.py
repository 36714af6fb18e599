"""One connection, driven by hand."""

from __future__ import annotations

import os
import socket

import pytest

from routes.mqtt.broker_url import BrokerUrl
from routes.mqtt.connection import Connection
from routes.mqtt.letter import Letter
from routes.mqtt.login import Login, Will
from tests.lab.hostile_broker import HostileBroker, publish
from tests.lab.mosquitto import DEADLINE

pytestmark = pytest.mark.needs("mosquitto")


@pytest.fixture
def wake():
    """A descriptor that never becomes readable by itself."""
    descriptor = os.eventfd(0, os.EFD_NONBLOCK)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def acknowledged():
    """The letters that the broker took or denied, in order."""
    return []


@pytest.fixture
def arrived():
    """What the broker delivered, in order."""
    return []


@pytest.fixture
def connection(broker, wake, acknowledged, arrived):
    """An admitted connection."""
    connection = make_connection(broker.port, arrived, acknowledged)
    yield admitted(connection, wake)
    connection.close()


def admitted(connection, wake):
    connection.open()
    while not connection.admitted:
        assert connection.turn(DEADLINE, wake)
    return connection


def turn_on(connection, wake):
    while connection.turn(DEADLINE, wake):
        pass


def make_connection(port, arrived, acknowledged):
    return Connection(
        BrokerUrl("127.0.0.1", port),
        version="5",
        login=Login("lab"),
        will=Will("status", b"lost"),
        keepalive=10,
        connect_timeout=3.0,
        packet_limit=1 << 20,
        on_message=arrived.append,
        on_acknowledged=lambda letter, denied: acknowledged.append((letter, denied)),
    )


def test_small_packets_are_not_held_back(connection):
    sock = connection._client.socket()
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_letter_of_qos_1_is_in_flight_until_it_is_acknowledged(connection, wake, acknowledged):
    letter = Letter("t", b"", qos=1)
    connection.send(letter, 0.0)
    assert (connection.in_flight, acknowledged) == (1, [])
    while not acknowledged:
        assert connection.turn(DEADLINE, wake)
    assert (connection.in_flight, acknowledged) == (0, [(letter, None)])


def test_a_letter_of_qos_0_is_done_when_the_socket_has_it(connection, acknowledged):
    letter = Letter("t", b"")
    connection.send(letter, 0.0)
    assert acknowledged == [(letter, None)]


def test_being_woken_ends_the_turn(connection, wake):
    os.eventfd_write(wake, 1)
    assert connection.turn(DEADLINE, wake)


def test_after_leave_was_taken_there_is_nothing_to_turn(connection, wake):
    connection.disconnect()
    assert not connection.turn(DEADLINE, wake)
    assert not connection.can_send


def test_an_identifier_in_use_is_not_given_away_again(connection, broker, wake, acknowledged):
    broker.freeze()
    first, second = Letter("t", b"1", qos=1), Letter("t", b"2", qos=1)
    connection.send(first, 0.0)
    (used,) = connection._awaiting
    connection._client._last_mid = used - 1 or 65_535
    connection.send(second, 0.0)
    assert connection.in_flight == 2
    broker.thaw()
    while len(acknowledged) < 2:
        assert connection.turn(DEADLINE, wake)
    assert acknowledged == [(first, None), (second, None)]


def test_what_the_owner_raises_is_not_taken_for_a_malformed_packet(broker, wake):
    def fail(incoming):
        raise ValueError("a bug")

    connection = make_connection(broker.port, [], [])
    connection._on_message = fail
    admitted(connection, wake)
    try:
        connection.subscribe(["in/#"])
        broker.wait_for_log("lab 1 in/#")
        broker.pub("in/a", "")
        with pytest.raises(ValueError, match="a bug"):
            turn_on(connection, wake)
        assert not connection.violation
    finally:
        connection.close()


def test_a_broker_that_reads_nothing_is_soon_not_read_either(wake, arrived):
    message = publish("in/a", b"", qos=1) * 100

    def flood(talk):
        talk.narrow()
        while talk.say(message):
            pass

    with HostileBroker(flood) as broker:
        connection = admitted(make_connection(broker.port, arrived, []), wake)
        sock = connection._client.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        most = 0

        def turn(seconds):
            nonlocal most
            assert connection.turn(seconds, wake)
            most = max(most, len(connection._client._out_packet))

        # It is read from as long as the sockets take our acknowledgements, and a little longer.
        while most < 50:
            turn(DEADLINE)
        count = -1
        while count != len(arrived):
            count = len(arrived)
            for _ in range(20):
                turn(0.01)
        connection.close()
    # The sockets may have taken some since: what counts is what waited at any time.
    assert 50 <= most <= 200
    assert len(arrived) > most
