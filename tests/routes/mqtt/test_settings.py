"""What the configuration may say about the broker."""

from __future__ import annotations

import msgspec
import pytest

from gateway.errors import ConfigError
from routes.mqtt.settings import SessionSettings, Settings
from routes.mqtt.spool_settings import SpoolSettings


def read(**values):
    return msgspec.convert(values, SessionSettings)


def test_the_defaults_stand():
    assert read().url.place == "localhost:1883"


def test_the_user_may_stand_in_the_url_or_beside_it():
    assert read(broker="mqtt://gw@host").user == read(broker="mqtt://host", username="gw").user


def test_without_their_tables_there_is_neither_discovery_nor_listening():
    settings = msgspec.convert({}, Settings)
    assert (settings.discovery, settings.listen) == (None, ())


def test_what_is_always_on_flash_needs_a_folder_for_it(monkeypatch):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match="set flash to a folder"):
        SpoolSettings(always=("alarms/#",)).terms("mqtt")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/gateway")
    terms = SpoolSettings(always=("alarms/#",)).terms("mqtt")
    assert terms is not None
    assert terms.always == ("alarms/#",)


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
