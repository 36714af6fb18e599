"""Topics and patterns, against a model that does it the slow way."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.topic import LIMIT, check_pattern, check_topic, matches

levels = st.sampled_from(["", "a", "b", "ab", "$SYS"])
topics = st.lists(levels, min_size=1, max_size=4).map("/".join).filter(bool)
patterns = (
    st.tuples(st.lists(levels | st.just("+"), max_size=4), st.sampled_from([[], ["#"]]))
    .map(lambda parts: "/".join([*parts[0], *parts[1]]))
    .filter(bool)
)


class Place(StrEnum):
    KITCHEN = "kitchen"


def naive(pattern: list[str], topic: list[str]) -> bool:
    """MQTT 5.0, section 4.7, by recursion."""
    if pattern == ["#"]:
        return True
    if not pattern or not topic:
        return not pattern and not topic
    return pattern[0] in ("+", topic[0]) and naive(pattern[1:], topic[1:])


@given(patterns, topics)
def test_matching_agrees_with_the_standard(pattern: str, topic: str) -> None:
    wanted, given_ = pattern.split("/"), topic.split("/")
    hidden = topic.startswith("$") and wanted[0] in ("+", "#")
    assert matches(pattern, topic) is (not hidden and naive(wanted, given_))


@given(topics)
def test_a_topic_is_a_pattern_that_matches_itself(topic: str) -> None:
    check_topic(topic)
    check_pattern(topic)
    assert matches(topic, topic)
    assert matches("#", topic) is not topic.startswith("$")


@given(patterns)
def test_every_pattern_made_by_the_rules_is_one(pattern: str) -> None:
    check_pattern(pattern)


@pytest.mark.parametrize("text", ["", "a\0b", "\udcff", "a" * (LIMIT + 1), "é" * (LIMIT // 2 + 1)])
def test_what_is_neither_topic_nor_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        check_topic(text)
    with pytest.raises(ValueError):
        check_pattern(text)


@pytest.mark.parametrize("text", ["+", "#", "a/+", "a/#", "a+", "#/a"])
def test_a_topic_has_no_wildcards(text: str) -> None:
    with pytest.raises(ValueError, match="belong into patterns"):
        check_topic(text)


@pytest.mark.parametrize("text", ["#/a", "a/#/b", "a+/b", "a/b#", "++", "##", "a/+#"])
def test_wildcards_fill_a_level_and_the_hash_ends(text: str) -> None:
    with pytest.raises(ValueError, match="no pattern"):
        check_pattern(text)


@pytest.mark.parametrize("text", [5, None, b"weather", Place.KITCHEN])
@pytest.mark.parametrize("check", [check_topic, check_pattern])
def test_what_is_no_text_is_refused(check: Callable[[Any], None], text: object) -> None:
    with pytest.raises(TypeError, match="a topic is text"):
        check(text)
