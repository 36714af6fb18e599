"""Properties are packed as the protocol has it: paho, and mosquitto, read them back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from gateway.mail.message import Message
from routes.mqtt.properties import NONE, Properties, of_message

texts = st.text(max_size=200).filter(str.isprintable)


def read_back(packed):
    read = PahoProperties(PacketTypes.PUBLISH)
    _, size = read.unpack(packed)
    assert size == len(packed)
    return read


@given(
    left=st.none() | st.floats(-1e12, 1e12),
    response_topic=st.none() | st.text("ab/", min_size=1),
    correlation_data=st.none() | st.binary(max_size=300),
    content_type=texts,
    user=st.lists(st.tuples(texts, texts), max_size=4).map(tuple),
)
def test_paho_reads_what_is_packed(left, response_topic, correlation_data, content_type, user):
    properties = Properties(
        response_topic=response_topic,
        correlation_data=correlation_data,
        content_type=content_type,
        user=user,
    )
    read = read_back(properties.pack(left))
    assert getattr(read, "ResponseTopic", None) == response_topic
    assert getattr(read, "CorrelationData", None) == correlation_data
    assert getattr(read, "ContentType", "") == content_type
    assert getattr(read, "UserProperty", []) == list(user)
    expiry = getattr(read, "MessageExpiryInterval", None)
    assert (expiry is None) == (left is None)
    assert expiry is None or expiry == min(max(1, -(-left // 1)), 0xFFFF_FFFF)


def test_nothing_is_one_byte_and_weighs_nothing():
    assert (NONE.pack(None), NONE.size, Properties().size) == (b"\0", 0, 0)


@pytest.mark.parametrize(
    "values",
    [
        {"response_topic": "a/#"},
        {"response_topic": ""},
        {"response_topic": "\ud800"},
        {"correlation_data": b"x" * 65_536},
        {"content_type": "a\0b"},
        {"content_type": "x" * 65_536},
        {"user": (("name", "\ud800"),)},
        {"user": (("name", "line\nbreak"),)},
        {"user": (("name", "\ufdd0"),)},
        {"user": (("x" * 65_536, ""),)},
        {"expires_in": float("nan")},
    ],
)
def test_what_the_protocol_cannot_carry_is_refused(values):
    with pytest.raises(ValueError, match=r"topic|property|correlation|surrogates|nan"):
        Properties(**values)


def test_a_letter_of_ours_tells_its_ids_and_what_is_left_of_it():
    letter = Message("m-7", "t-3", 1, 0.0, "board", "mqtt", "odometry", expiry=1010.0)
    properties = of_message(letter, now=1000.0)
    assert properties.expires_in == 10.0
    assert properties.content_type == "application/json"
    assert dict(properties.user) == {"message_id": "m-7", "thread_id": "t-3"}
    assert of_message(Message("m", "t", 1, 0.0, "a", "b", "c"), now=0.0).expires_in is None
