"""What the configuration may say about the broker."""

from __future__ import annotations

import msgspec
import pytest

from routes.mqtt.settings import SessionSettings, Settings


def read(**values):
    return msgspec.convert(values, SessionSettings)


def test_the_defaults_stand():
    assert read().url.place == "localhost:1883"


def test_the_user_may_stand_in_the_url_or_beside_it():
    assert read(broker="mqtt://gw@host").user == read(broker="mqtt://host", username="gw").user


def test_without_their_tables_there_is_neither_discovery_nor_listening():
    settings = msgspec.convert({}, Settings)
    assert (settings.discovery, settings.listen) == (None, ())


def test_the_table_alone_switches_discovery_on():
    settings = msgspec.convert({"discovery": {}}, Settings)
    assert settings.discovery is not None
    assert settings.discovery.enabled


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({"discovery": {"prefix": "home/#"}}, "prefix"),
        ({"discovery": {"prefix": "home//x"}}, "none of them empty"),
        ({"discovery": {"prefix": "$SYS"}}, "prefix"),
        ({"discovery": {"status_topic": "a/+"}}, "status_topic"),
        ({"discovery": {"spread": -1}}, "spread"),
        ({"discovery": {"leave_out": [""]}}, "leave_out"),
        ({"discovery": {"colour": "red"}}, "colour"),
        ({"discovery": "on"}, "discovery"),
        ({"listen": [{"topic": "a"}]}, "listen"),
    ],
)
def test_a_mistake_in_what_is_announced_or_heard_says_where_it_is(values, advice):
    with pytest.raises(msgspec.ValidationError, match=advice):
        msgspec.convert(values, Settings)


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({"broker": "localhost"}, "mqtt://"),
        ({"borker": "mqtt://host"}, "borker"),
        ({"keepalive": 0}, "keepalive"),
        ({"queue_size": "many"}, "queue_size"),
        ({"telemetry_qos": 2}, "telemetry_qos"),
        ({"broker": "mqtt://a@host", "username": "b"}, "two user names"),
        ({"password_file": "secret"}, "username"),
        ({"broker": "mqtts://host", "key_file": "k"}, "cert_file"),
        ({"ca_file": "ca.crt"}, "mqtts://"),
        ({"cert_credential": "crt"}, "mqtts://"),
        ({"password_credential": "pw"}, "username"),
        ({"broker": "mqtts://host", "key_credential": "k"}, "cert_credential"),
        ({"username": "a", "password_file": "f", "password_credential": "c"}, "leave one out"),
        ({"username": "a", "password_credential": "/etc/pw"}, "LoadCredential.*'/etc/pw'"),
        ({"username": "a", "password_credential": ".."}, "LoadCredential"),
        ({"retry_first": 9.0, "retry_ceiling": 1.0}, "retry_ceiling"),
    ],
)
def test_a_mistake_says_what_is_wrong(values, advice):
    with pytest.raises(msgspec.ValidationError, match=advice):
        read(**values)
