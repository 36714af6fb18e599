"""Causes say what to do."""

from __future__ import annotations

import errno
import re
import socket
import ssl

import pytest

from routes.mqtt import causes
from routes.mqtt.broker_url import BrokerUrl

PLAIN, TLS = BrokerUrl("broker", 1883), BrokerUrl("broker", 8883, tls=True)


def tls_error(reason):
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "url", "advice"),
    [
        (ConnectionRefusedError(), PLAIN, "is the broker running"),
        (socket.gaierror(-2, "unknown"), PLAIN, "cannot be resolved"),
        (UnicodeError("label too long"), PLAIN, "cannot be resolved"),
        (TimeoutError(), PLAIN, "check the cable"),
        (ConnectionResetError(), PLAIN, "was the broker stopped"),
        (ConnectionResetError(), TLS, "does it speak TLS"),
        (OSError(errno.ENETUNREACH, "x"), PLAIN, "on the network"),
        (OSError(errno.EMFILE, "too many open files"), PLAIN, "too many open files"),
        (tls_error("NO_SHARED_CIPHER"), TLS, "NO_SHARED_CIPHER"),
    ],
)
def test_an_error_becomes_advice(error, url, advice):
    assert advice in causes.of_error(error, url, 3.0, now=0.0)


@pytest.mark.parametrize(
    ("code", "username", "advice"),
    [
        (0x87, "", "set username"),
        (0x86, "gw", "'gw'.*password_file"),
        (0x84, "", "neither MQTT 5 nor"),
        (0x85, "", "client_id"),
        (0x88, "", "not ready"),
        (0x8A, "", "banned"),
        (0x97, "", "had enough"),
        (0x9A, "", "retained"),
        (0x9D, "", "elsewhere"),
        (0x80, "", "as it is"),
    ],
)
def test_a_refusal_becomes_advice(code, username, advice):
    assert re.search(advice, causes.of_refusal(code, "As It Is", username, "gateway-lab"))


@pytest.mark.parametrize("code", range(0x80, 0xA3))
def test_each_goodbye_has_a_sentence(code):
    assert len(causes.of_goodbye(code, "Protocol error", "gateway-lab").split()) > 4


def test_a_rival_is_told_with_what_to_do():
    told = causes.of_rival(3, "gateway-lab", quiet=True)
    assert "took over the session 'gateway-lab': give one of the two another node" in told
    assert "dislikes" not in told
    assert "dislikes a message" in causes.of_rival(3, "gateway-lab", quiet=False)
