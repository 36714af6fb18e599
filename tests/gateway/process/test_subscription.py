"""A subscription hands on each retained value once, and never an older one after a newer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.message import Message
from gateway.process.subscription import Subscription


def publication(topic: str, sequence: int, incarnation: int = 1, retain: bool = True) -> Message:
    return Message(
        "1",
        "1",
        sequence,
        0.0,
        "owner",
        "",
        topic,
        kind="publication",
        sender_incarnation=incarnation,
        retain=retain,
    )


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5)), max_size=20))
def test_retained_values_only_ever_get_newer(stamps: list[tuple[int, int]]) -> None:
    heard: list[tuple[int, int]] = []
    subscription = Subscription(
        "a/+", lambda m: heard.append((m.sender_incarnation, m.thread_index))
    )
    for incarnation, sequence in stamps:
        subscription.offer(publication("a/b", sequence, incarnation))
    assert heard == sorted(set(heard))
    assert heard[-1:] == ([max(stamps)] if stamps else [])


def test_what_is_not_retained_is_always_news_and_other_topics_are_none() -> None:
    heard: list[str] = []
    subscription = Subscription("a/+", lambda m: heard.append(m.subject))
    for topic in ("a/b", "a/b", "b", "a/c"):
        subscription.offer(publication(topic, 1, retain=False))
    assert heard == ["a/b", "a/b", "a/c"]
