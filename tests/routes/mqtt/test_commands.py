"""Calls over MQTT: what is understood, what is refused and why."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.mqtt.commands import Call, Refusal, ReplyTo, error_body, parse_call, result_body
from routes.mqtt.incoming import Incoming
from routes.mqtt.topics import Topics

TOPICS = Topics("lab")
LED = "gateway/lab/devices/board/led/call"
REPLY = "gateway/lab/devices/board/led/reply"
LIMIT = 1000


def command(**types):
    return {
        "description": "",
        "parameters": {
            name: {"type": type_text, "unit": "", "required": True}
            for name, type_text in types.items()
        },
        "returns": "None",
    }


DEVICES: dict[str, dict[str, Any]] = {
    "board": {
        "commands": {
            "led": command(on="bool"),
            "ping": command(),
            "odd": command(args="dict", id="int"),
            "tagged": command(id="int"),
            "raw": command(data="bytes"),
        }
    },
    "broken": {"commands": None},
    "a/b": {"commands": {"ping": command()}},
}


def parse(payload=b'{"on":true}', topic=LED, **options):
    if isinstance(payload, str):
        payload = payload.encode()
    return parse_call(Incoming(topic, payload, **options), TOPICS, DEVICES, max_payload=LIMIT)


def topic_of(command):
    return f"gateway/lab/devices/board/{command}/call"


def test_a_call_is_wanted_as_long_as_its_message_lasts():
    assert parse(expires_in=2).expires_in == 2
    assert parse(expires_in=0).expires_in == 1
    assert parse().expires_in is None


# The envelope.


def test_a_plain_object_holds_the_arguments():
    assert parse() == Call("board", "led", {"on": True}, ReplyTo(REPLY))


@pytest.mark.parametrize("payload", ["", "{}", '{"args": {}}', '{"args": null}'])
def test_a_command_without_arguments_may_be_called_by_nothing(payload):
    call = parse(payload, topic_of("ping"))
    assert call.arguments == {}


@pytest.mark.parametrize("identifier", [7, "call-7", 0, "", None])
def test_an_envelope_bears_an_id_beside_the_arguments(identifier):
    call = parse(json.dumps({"args": {"on": False}, "id": identifier}))
    assert call.arguments == {"on": False}
    assert call.reply_to.id == identifier


def test_without_an_envelope_id_is_an_argument():
    assert parse('{"id": 3}', topic_of("tagged")).arguments == {"id": 3}


def test_a_parameter_called_args_is_reached_through_an_envelope():
    call = parse('{"args": {"args": {"x": 1}, "id": 2}}', topic_of("odd"))
    assert call.arguments == {"args": {"x": 1}, "id": 2}


def test_bytes_come_as_base64():
    assert parse('{"data": {"$bytes": "AP8="}}', topic_of("raw")).arguments == {"data": b"\0\xff"}


def test_names_are_decoded():
    assert parse("", "gateway/lab/devices/a%2Fb/ping/call").device == "a/b"


# Where the answer goes.


def test_the_answer_goes_to_the_response_topic_with_its_correlation_data():
    call = parse(response_topic="answers/1", correlation_data=b"7")
    assert call.reply_to == ReplyTo("answers/1", b"7")


def test_a_response_topic_that_is_not_allowed_is_told_on_the_reply_topic():
    for topic in ("", "a/+", "#", "$SYS/x", LED):
        refusal = parse(response_topic=topic, correlation_data=b"7")
        assert (refusal.kind, refusal.code) == ("response_topic", "refused")
        assert refusal.reply_to == ReplyTo(REPLY, b"7")


# What is refused.


@pytest.mark.parametrize(
    ("payload", "topic", "kind", "code", "reason"),
    [
        ("lights on", LED, "no_json", "bad_body", "the call is no JSON: JSON is malformed"),
        (b"\xff\xfe", LED, "no_json", "bad_body", "no JSON"),
        ('{"on": tru', LED, "no_json", "bad_body", "no JSON"),
        ('{"on": NaN}', LED, "no_json", "bad_body", "no JSON"),
        ('{"on": 1e999}', LED, "no_json", "bad_body", "no JSON"),
        ('{"on": "\\ud800"}', LED, "no_json", "bad_body", "no JSON"),
        ('{"on": {"$bytes": "é"}}', LED, "no_json", "bad_body", "no JSON"),
        ('{"on": 99999999999999999999}', LED, "no_json", "bad_body", "64 bits"),
        ("[true]", LED, "no_object", "bad_body", "not [True]"),
        ("null", LED, "no_object", "bad_body", "not None"),
        ('{"$bytes": "AP8="}', LED, "no_object", "bad_body", "no JSON object"),
        (b'"' + b"x" * LIMIT, LED, "too_large", "bad_body", "1001 bytes"),
        ("[" * 40 + "]" * 40, LED, "too_deep", "bad_body", "32 levels"),
        ("[" * 999, LED, "too_deep", "bad_body", "32 levels"),
        ('{"args": {}, "on": true}', LED, "envelope", "bad_body", "'on'"),
        ('{"args": [true]}', LED, "envelope", "bad_body", "args is no JSON object"),
        ('{"args": {}, "id": []}', LED, "envelope", "bad_body", "id is neither"),
        ('{"args": {}, "id": true}', LED, "envelope", "bad_body", "id is neither"),
        ('{"args": {}, "id": 1.5}', LED, "envelope", "bad_body", "id is neither"),
        (f'{{"args": {{}}, "id": "{"x" * 200}"}}', LED, "envelope", "bad_body", "longer"),
        ('{"on": "yes"}', LED, "arguments", "refused", "'on' is a bool, not 'yes'"),
        ('{"on": 1}', LED, "arguments", "refused", "'on' is a bool"),
        ("{}", LED, "arguments", "refused", "'on' is missing"),
        ('{"onn": true}', LED, "arguments", "refused", "did you mean 'on'"),
        ("", topic_of("lead"), "unknown_command", "unknown_address", "it has led, odd"),
        (
            "",
            "gateway/lab/devices/boat/led/call",
            "unknown_device",
            "unknown_address",
            "there is a/b, board",
        ),
        (
            "",
            "gateway/lab/devices/bo%41rd/led/call",
            "unknown_device",
            "unknown_address",
            "spelt",
        ),
        ("", "gateway/lab/devices/broken/led/call", "unknown_command", "unknown_address", "none"),
    ],
)
def test_a_call_that_cannot_be_carried_out_is_refused_with_a_reason(
    payload, topic, kind, code, reason
):
    refusal = parse(payload, topic)
    assert (refusal.kind, refusal.code) == (kind, code)
    assert reason in refusal.reason
    assert refusal.reply_to.topic.endswith("/reply")


def test_a_refusal_bears_the_id_of_its_call():
    assert parse('{"args": {"on": 1}, "id": 7}').reply_to.id == 7


def test_a_retained_call_is_stale():
    refusal = parse(retained=True)
    assert (refusal.kind, refusal.code) == ("stale", "expired")


def test_what_the_broker_sends_again_is_left_out_without_an_answer():
    refusal = parse(duplicate=True)
    assert (refusal.kind, refusal.reply_to) == ("duplicate", None)


@pytest.mark.parametrize("topic", ["", "gateway/lab/devices/board/led", "gateway/lab/status"])
def test_what_is_no_call_is_answered_by_nobody(topic):
    refusal = parse("", topic)
    assert (refusal.kind, refusal.reply_to) == ("not_a_call", None)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_a_call_or_a_refusal(payload):
    parsed = parse(payload)
    assert isinstance(parsed, Call | Refusal)
    if isinstance(parsed, Refusal):
        assert parsed.reply_to is not None
        json.loads(error_body(parsed.reply_to, parsed.code, parsed.reason))


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_arbitrary_json_is_a_call_or_a_refusal(payload):
    assert isinstance(parse(f'{{"on": {payload}}}'), Call | Refusal)


@given(st.text(max_size=80), st.none() | st.text(max_size=20))
def test_arbitrary_topics_are_a_call_or_a_refusal(topic, response_topic):
    assert isinstance(parse(topic=topic, response_topic=response_topic), Refusal)
    assert isinstance(parse(topic=f"{topic}/call"), Refusal)


@pytest.mark.parametrize(
    "payload",
    [b'"' + b'\\"' * 400_000, b'"' * 800_000, b'["' * 400_000, b'{"a":' * 160_000, b"\\" * 800_000],
)
def test_nothing_takes_long_to_refuse(payload):
    # Time on the processor: what else the machine does is no matter of ours.
    began = time.thread_time()
    parsed = parse_call(Incoming(LED, payload), TOPICS, DEVICES, max_payload=1 << 20)
    assert isinstance(parsed, Refusal)
    assert time.thread_time() - began < 2.0


# Answers.


def call(identifier=None):
    return Call("board", "led", {}, ReplyTo(REPLY, None, identifier))


def test_an_answer_bears_the_result_and_the_id():
    assert json.loads(result_body(call(7), {"raw": b"\0"}, max_payload=LIMIT)) == {
        "ok": True,
        "result": {"raw": {"$bytes": "AA=="}},
        "id": 7,
    }


def test_an_answer_to_a_call_without_id_has_none():
    assert json.loads(result_body(call(), None, max_payload=LIMIT)) == {"ok": True, "result": None}


@pytest.mark.parametrize("result", [float("nan"), "x" * LIMIT, "\ud800", [{"a": float("inf")}]])
def test_an_answer_that_cannot_be_written_is_an_error(result):
    answer = json.loads(result_body(call(7), result, max_payload=LIMIT))
    assert (answer["ok"], answer["error"]["code"], answer["id"]) == (False, "bad_body", 7)


@given(st.text())
def test_any_reason_can_be_written(reason):
    answer = json.loads(error_body(ReplyTo(REPLY, None, "a"), "refused", reason))
    assert answer["error"]["code"] == "refused"
