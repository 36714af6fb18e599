"""One connection, driven by hand."""

from __future__ import annotations

import os
import socket

import pytest

from routes.mqtt.broker_url import BrokerUrl
from routes.mqtt.connection import Connection
from routes.mqtt.letter import Letter
from routes.mqtt.login import Login, Will
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
def connection(broker, wake, acknowledged):
    """An admitted connection."""
    connection = Connection(
        BrokerUrl("127.0.0.1", broker.port),
        version="5",
        login=Login("lab"),
        will=Will("status", b"lost"),
        keepalive=10,
        connect_timeout=3.0,
        packet_limit=1 << 20,
        on_message=lambda incoming: None,
        on_acknowledged=lambda letter, denied: acknowledged.append((letter, denied)),
    )
    connection.open()
    while not connection.admitted:
        assert connection.turn(DEADLINE, wake)
    yield connection
    connection.close()


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
