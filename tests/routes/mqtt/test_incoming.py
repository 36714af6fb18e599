"""What comes from paho is copied, and not without bounds."""

from __future__ import annotations

from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from routes.mqtt.incoming import PAIRS, Incoming


def message(topic=b"in/a", **properties):
    made = MQTTMessage(topic=topic)
    made.payload = b"x"
    made.properties = Properties(PacketTypes.PUBLISH)
    for name, value in properties.items():
        setattr(made.properties, name, value)
    return made


def test_a_message_of_3_1_1_has_no_properties():
    plain = MQTTMessage(topic=b"in/a")
    plain.payload = b"x"
    assert Incoming.of(plain) == Incoming("in/a", b"x")


def test_no_more_user_properties_are_kept_than_anybody_looks_at():
    pairs = [(f"name {number}", "value") for number in range(1000)]
    assert Incoming.of(message(UserProperty=pairs)).user == tuple(pairs[:PAIRS])


def test_a_topic_that_is_no_utf_8_is_empty():
    assert Incoming.of(message(b"\xff")).topic == ""


def test_what_is_left_of_a_message_is_told():
    incoming = Incoming.of(message(MessageExpiryInterval=7, ContentType="text/plain"))
    assert (incoming.expires_in, incoming.content_type) == (7, "text/plain")
