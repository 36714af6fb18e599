"""The map between the bus and the broker."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.mail.topic import check_topic, matches
from routes.mqtt.topics import Topics, from_level, overlap, refuse_overlaps, to_level

NAMES = st.text(min_size=1, max_size=40)
TOPICS = Topics("kitchen-pi")


@given(NAMES)
def test_any_name_is_one_safe_level_and_comes_back(name):
    level = to_level(name)
    assert from_level(level) == name
    assert not set(level) & set("/+#\0")
    level.encode()


@given(st.text(max_size=20))
def test_a_level_has_one_spelling_or_is_refused(level):
    try:
        name = from_level(level)
    except ValueError:
        return
    assert to_level(name) == level


@pytest.mark.parametrize("level", ["", "%", "%4", "%41", "%2f", "%FF", "a+b", "a%2", "%C3"])
def test_other_spellings_are_refused(level):
    with pytest.raises(ValueError):
        from_level(level)


def test_an_empty_name_has_no_topic():
    with pytest.raises(ValueError):
        Topics("")


@pytest.mark.parametrize(
    ("bus", "broker"),
    [
        ("devices/wheels/state", "gateway/kitchen-pi/devices/wheels/state"),
        ("devices/wheels/events/pong", "gateway/kitchen-pi/devices/wheels/events/pong"),
        ("devices/50%/x", "gateway/kitchen-pi/devices/50%25/x"),
        ("a//b", "gateway/kitchen-pi/a//b"),
    ],
)
def test_topics_of_the_bus_go_under_the_node(bus, broker):
    assert TOPICS.outward(bus) == broker


@pytest.mark.parametrize(
    "bus",
    ["", "a/+", "#", "status", "devices/wheels/drive/call", "devices/wheels/drive/reply"],
)
def test_what_would_pass_for_a_call_or_a_status_is_refused(bus):
    with pytest.raises(ValueError):
        TOPICS.outward(bus)


def test_a_topic_that_encoding_makes_too_long_is_refused():
    with pytest.raises(ValueError, match="too long"):
        TOPICS.outward("%" * 30_000)


@given(NAMES, NAMES, NAMES)
def test_a_call_is_read_back_and_falls_under_what_is_subscribed(node, device, command):
    topics = Topics(node)
    base = f"gateway/{to_level(node)}/devices/{to_level(device)}/{to_level(command)}"
    call = topics.call(f"{base}/call")
    assert (call.device, call.command, call.reply) == (device, command, f"{base}/reply")
    assert topics.default_reply(f"{base}/call") == f"{base}/reply"
    assert matches(topics.calls, f"{base}/call")


@given(st.text(max_size=60))
def test_any_other_topic_is_no_call(topic):
    with pytest.raises(ValueError):
        TOPICS.call(topic)


@given(NAMES, NAMES, NAMES)
def test_an_info_and_a_call_are_where_they_are_looked_for(node, device, command):
    topics = Topics(node)
    info = topics.of_device(device, "info")
    assert matches(topics.infos, info)
    assert topics.device_of(info) == device
    call = topics.call(topics.call_to(device, command))
    assert (call.device, call.command) == (device, command)


@pytest.mark.parametrize(
    "topic",
    [
        *("gateway/other/devices/wheels/info", "gateway/kitchen-pi/devices/wheels/state", ""),
        *("gateway/kitchen-pi/devices/info", "gateway/kitchen-pi/devices/a/b/info"),
    ],
)
def test_any_other_topic_is_no_info(topic):
    with pytest.raises(ValueError):
        TOPICS.device_of(topic)


@pytest.mark.parametrize("topic", ["led/call", "led/reply", "+", ""])
def test_no_device_publishes_what_would_pass_for_a_call(topic):
    with pytest.raises(ValueError):
        TOPICS.of_device("wheels", topic)


LEVELS = st.sampled_from(["a", "b", "+"])
PATTERNS = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]),
    st.lists(LEVELS, min_size=1, max_size=3),
    st.sampled_from([[], ["#"]]),
)
EVERY_TOPIC = ["/".join(each) for n in range(1, 6) for each in itertools.product("abc", repeat=n)]


@given(PATTERNS, PATTERNS)
def test_two_patterns_overlap_where_some_topic_falls_under_both(one, other):
    both = any(matches(one, topic) and matches(other, topic) for topic in EVERY_TOPIC)
    assert overlap(one, other) == overlap(other, one) == both


def test_two_subscriptions_that_overlap_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"'plant/#' and 'plant/\+/on'"):
        refuse_overlaps(["a", "plant/#", "plant/+/on"])
    refuse_overlaps(["plant/+/off", "plant/+/on", TOPICS.calls, TOPICS.infos])


@given(st.lists(NAMES.filter(lambda name: "\0" not in name), min_size=1, max_size=5))
def test_what_goes_out_is_a_topic_and_never_a_call(levels):
    try:
        topic = TOPICS.outward("/".join(levels))
    except ValueError:
        return
    check_topic(topic)
    assert not matches(TOPICS.calls, topic)
    assert topic != TOPICS.status


@pytest.mark.parametrize(
    "topic",
    [
        "answers/1",
        "gateway/kitchen-pi/replies/7",
        "gateway/kitchen-pi/devices/wheels/drive/reply",
        "gateway/other/answers",
    ],
)
def test_answers_may_go_where_their_caller_listens(topic):
    assert TOPICS.may_answer_to(topic)


@pytest.mark.parametrize(
    "topic",
    [
        *("", "a/+", "a/#", "$SYS/broker", "$share/a/b", "a\0b", "\ud800"),
        "gateway/kitchen-pi/status",
        "gateway/kitchen-pi/devices/wheels/state",
        "gateway/kitchen-pi/devices/wheels/drive/call",
        "gateway/other/devices/wheels/drive/call",
        "x" * 70_000,
    ],
)
def test_answers_may_not_speak_for_somebody_else(topic):
    assert not TOPICS.may_answer_to(topic)
