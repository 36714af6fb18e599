"""The broker's URL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from routes.mqtt.broker_url import BrokerUrl


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("mqtt://localhost", BrokerUrl("localhost", 1883)),
        ("mqtt://10.0.0.7:1884/", BrokerUrl("10.0.0.7", 1884)),
        ("mqtts://broker.local", BrokerUrl("broker.local", 8883, tls=True)),
        ("mqtt://gw@broker:1883", BrokerUrl("broker", 1883, username="gw")),
        ("mqtt://g%40w@broker", BrokerUrl("broker", 1883, username="g@w")),
        ("mqtt://[::1]:1883", BrokerUrl("::1", 1883)),
    ],
)
def test_it_reads_what_people_write(text, parsed):
    assert BrokerUrl.parse(text) == parsed


def test_it_prints_without_the_user():
    assert str(BrokerUrl.parse("mqtts://gw@[::1]:1883")) == "mqtts://[::1]:1883"


@pytest.mark.parametrize(
    "text",
    [
        *("", "localhost", "localhost:1883", "http://localhost", "mqtt://", "mqtt://:1883"),
        *("mqtt://host:0", "mqtt://host:99999", "mqtt://host:port", "mqtt://host/path"),
        *("mqtt://host?a=b", "mqtt://a b", "mqtt://[::1"),
    ],
)
def test_it_refuses_with_an_example_of_what_would_be_right(text):
    with pytest.raises(ConfigError, match=r"mqtt://|port 0"):
        BrokerUrl.parse(text)


def test_a_password_in_the_url_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="password_file") as caught:
        BrokerUrl.parse("mqtt://gw:hunter2@broker")
    assert "hunter2" not in str(caught.value)


@given(st.text())
def test_any_text_is_parsed_or_refused(text):
    try:
        url = BrokerUrl.parse(text)
    except ConfigError:
        return
    assert BrokerUrl.parse(str(url)) == BrokerUrl(url.host, url.port, url.tls)
