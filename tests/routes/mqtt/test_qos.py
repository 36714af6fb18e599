"""The most specific pattern decides on the quality of service."""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.topic import matches
from routes.mqtt.qos import QosTable
from routes.mqtt.settings import Settings


def test_without_a_table_what_must_not_be_lost_goes_at_qos_1():
    table = QosTable({}, otherwise=0)
    assert table.of("devices/wheels/odometry", retain=False) == 0
    assert table.of("devices/wheels/state", retain=True) == 1
    assert table.of("devices/wheels/events/stall", retain=False) == 1
    assert table.of("devices/wheels/events/pong", retain=False) == 0
    assert QosTable({}, otherwise=1).of("devices/wheels/odometry", retain=False) == 1


def test_a_pattern_decides_whatever_would_hold_without_it():
    table = QosTable({"devices/+/state": 0, "devices/+/events/+": 0}, otherwise=1)
    assert table.of("devices/wheels/state", retain=True) == 0
    assert table.of("devices/wheels/events/stall", retain=False) == 0


FROM_SPECIFIC_TO_GENERAL = [
    "devices/wheels/odometry",
    "devices/wheels/+",
    "devices/wheels/#",
    "devices/+/odometry",
    "devices/+/+",
    "devices/+/#",
    "devices/#",
    "+/wheels/odometry",
    "+/#",
    "#",
]


@pytest.mark.parametrize("at", range(len(FROM_SPECIFIC_TO_GENERAL)))
def test_a_name_goes_before_plus_and_plus_before_hash(at):
    first, *others = FROM_SPECIFIC_TO_GENERAL[at:]
    for order in permutations([first, *others[:3]]):
        table = QosTable({pattern: int(pattern == first) for pattern in order}, otherwise=0)
        assert table.of("devices/wheels/odometry", retain=False) == 1


def test_a_topic_itself_goes_before_what_also_stands_for_more():
    for order in permutations({"a/b": 1, "a/b/#": 0, "a/+": 0}.items()):
        assert QosTable(dict(order), otherwise=0).of("a/b", retain=False) == 1


levels = st.sampled_from(["a", "b", "+"])
patterns = st.lists(levels, min_size=1, max_size=4).flatmap(
    lambda some: st.sampled_from(["/".join(some), "/".join([*some, "#"])])
)


@given(
    st.dictionaries(patterns, st.sampled_from([0, 1]), max_size=6),
    st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join),
    st.randoms(),
)
def test_the_order_in_the_file_means_nothing_and_only_what_matches_counts(table, topic, random):
    shuffled = list(table.items())
    random.shuffle(shuffled)
    found = QosTable(table, otherwise=0).of(topic, retain=False)
    assert QosTable(dict(shuffled), otherwise=0).of(topic, retain=False) == found
    allowed = {qos for pattern, qos in table.items() if matches(pattern, topic)} or {0}
    assert found in allowed


@pytest.mark.parametrize(
    ("table", "advice"),
    [
        ({"devices/#/state": 1}, "# stands at the end"),
        ({"devices/a+/state": 1}, "fill a whole level"),
        ({"": 1}, "empty"),
        ({"gateway/lab/devices/+/state": 1}, "write it as the bus does: 'devices/\\+/state'"),
        ({"gateway/#": 1}, "as the bus does"),
        ({"devices/+/state": 2}, "qos"),
    ],
)
def test_a_mistake_says_what_would_be_right(table, advice):
    with pytest.raises(msgspec.ValidationError, match=advice):
        msgspec.convert({"qos": table}, Settings)
