"""What may be declared, and what is refused with the key that is wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from drivers.line_device.settings import LineDeviceSettings
from tests.drivers.line_device.declared import pump

HANDSHAKE = {"handshake": {"answer": "^ID"}}


def test_the_declaration_of_the_readme_is_right() -> None:
    assert msgspec.convert(pump(), LineDeviceSettings).ending == "\r\n"


def test_a_handshake_is_enough() -> None:
    assert msgspec.convert(HANDSHAKE, LineDeviceSettings).commands == {}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"handshake": {}}, "answer"),
        ({"handshake": {"answer": ""}}, "answer"),
        ({"handshake": {"answer": "("}}, "answer: .*no regular expression"),
        ({"handshake": {"answer": "(?P<colour>.)"}}, "answer: colour"),
        ({"handshake": {"answer": "x", "ask": "a\nb"}}, "ask"),
        ({"ending": "\n\n"}, "ending"),
        ({"checksum": "crc"}, "checksum"),
        ({"limit": 0}, "limit"),
        ({"heartbeat": {"patience": 1, "ping": "P"}}, "every"),
        ({"heartbeat": {"patience": 1, "every": 1}}, "every"),
        ({"heartbeat": {"patience": 1, "pong": "P"}}, "pong"),
        ({"heartbeat": {"patience": 0}}, "patience"),
        ({"publications": {"a/b": {"match": "x", "fields": {}}}}, "key"),
        ({"publications": {"state": {"match": "(?P<a>x)", "fields": {"a": {}}}}}, "state"),
        ({"publications": {"a": {"match": "x", "fields": {}}}}, "fields"),
        ({"publications": {"a": {"match": "x", "fields": {"b": {}}}}}, "no group"),
        ({"publications": {"a": {"match": "", "fields": {"b": {}}}}}, "match"),
        (
            {"publications": {"a": {"match": "(?P<b>x)", "fields": {"b": {"type": "date"}}}}},
            "type",
        ),
        (
            {
                "publications": {
                    "a": {"match": "(?P<b>x)", "fields": {"b": {"type": "str", "scale": 2}}}
                }
            },
            "scale",
        ),
        ({"polls": {"a": {"ask": "T?", "every": 0}}}, "every"),
        ({"commands": {"write": {"write": "x"}}}, "every driver has a write already"),
        ({"commands": {"settings": {"write": "x"}}}, "every driver has a settings already"),
        ({"commands": {"a-b": {"write": "x"}}}, "a-b"),
        ({"commands": {"_a": {"write": "x"}}}, "_a"),
        ({"commands": {"class": {"write": "x"}}}, "class"),
        ({"commands": {"a": {"write": ""}}}, "write"),
        ({"commands": {"a": {"write": "x {b}"}}}, "write: .*differ in b"),
        ({"commands": {"a": {"write": "x", "parameters": {"b": {}}}}}, "write: .*differ in b"),
        ({"commands": {"a": {"write": "x {b:d}", "parameters": {"b": {}}}}}, "write: "),
        ({"commands": {"a": {"write": "x {self}", "parameters": {"self": {}}}}}, "self"),
        ({"commands": {"a": {"write": "x", "answer": "("}}}, "answer"),
        ({"commands": {"a": {"write": "x", "error": "ERR"}}}, "error"),
        ({"commands": {"a": {"write": "x", "answer": "y", "returns": {}}}}, "returns"),
        (
            {"commands": {"a": {"write": "{b}", "parameters": {"b": {"min": 2, "max": 1}}}}},
            "min",
        ),
        (
            {"commands": {"a": {"write": "{b}", "parameters": {"b": {"type": "str", "min": 2}}}}},
            "min",
        ),
        (
            {"commands": {"a": {"write": "{b}", "parameters": {"b": {"choices": ["x"]}}}}},
            "choices",
        ),
        (
            {
                "commands": {
                    "a": {"write": "{b}", "parameters": {"b": {"max": 2.0, "default": 3.0}}}
                }
            },
            "default",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=named):
        msgspec.convert({**HANDSHAKE, **settings}, LineDeviceSettings)
