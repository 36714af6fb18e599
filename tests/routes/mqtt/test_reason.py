"""A reason code comes with the broker's own words, which may be shown anywhere."""

from __future__ import annotations

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from routes.mqtt.reason import Reason


def said(**words):
    properties = Properties(PacketTypes.CONNACK)
    for name, text in words.items():
        setattr(properties, name, text)
    return Reason.of(ReasonCode(PacketTypes.CONNACK, "Use another server"), properties)


def test_without_words_there_is_nothing_to_quote():
    reason = Reason.of(ReasonCode(PacketTypes.CONNACK, "Server busy"))
    assert reason == (0x89, "Server busy", "")
    assert reason.quote == ""


def test_the_brokers_words_and_its_other_place_are_quoted():
    reason = said(ReasonString="moved", ServerReference="b.example:1883")
    assert reason.quote == " (it says: moved b.example:1883)"


def test_words_are_short_and_can_be_printed():
    assert said(ReasonString="a\x1b[31m\nb\u202e").words == "a[31mb"
    assert len(said(ReasonString="x" * 60_000).words) == 200
