"""What the boss keeps of topics: never an older value after a newer one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.message import Message
from gateway.supervision.archive import LIMIT, Archive


def value(topic: str, body: Any, sequence: int, incarnation: int = 1, sender: str = "o") -> Message:
    return Message("1", "1", sequence, 0.0, sender, "", topic, body, sender_incarnation=incarnation)


@given(st.lists(st.tuples(st.integers(1, 2), st.integers(1, 5)), min_size=1))
def test_the_newest_is_kept_in_whatever_order_they_come(stamps: list[tuple[int, int]]) -> None:
    archive = Archive()
    for incarnation, sequence in stamps:
        newest_so_far = archive.sequence("t") < (incarnation, sequence)
        message = value("t", f"{incarnation}.{sequence}", sequence, incarnation)
        assert archive.keep(message) is newest_so_far
    [kept] = archive.retained("#")
    assert kept.body == "{}.{}".format(*max(stamps))


def test_patterns_choose_and_an_empty_body_ends_it() -> None:
    archive = Archive()
    for topic in ("a/b", "a/c", "b"):
        archive.keep(value(topic, topic, 1))
    assert [kept.subject for kept in archive.retained("a/+")] == ["a/b", "a/c"]
    archive.keep(value("a/b", None, 2))
    assert [kept.subject for kept in archive.retained("a/+")] == ["a/c"]


def test_another_owner_takes_a_topic_over() -> None:
    archive = Archive()
    archive.keep(value("t", "old", 9, 5, "first"))
    assert archive.keep(value("t", "new", 1, 1, "second"))
    assert archive.retained("t")[0].body == "new"


def test_what_is_kept_is_bounded() -> None:
    archive = Archive()
    for number in range(LIMIT + 5):
        archive.keep(value(f"t/{number}", 1, 1))
    kept = archive.retained("#")
    assert len(kept) == LIMIT
    assert kept[0].subject == "t/5"


def test_subscriptions_are_noted_once_and_leave_with_their_mailbox() -> None:
    archive = Archive()
    assert archive.subscribe("a", "x/#", 3)
    assert not archive.subscribe("a", "x/#", 4)
    assert archive.subscribe("a", "y", 5)
    assert archive.subscribe("b", "x/#", 6)
    assert [(known.mailbox, known.since) for known in archive.subscriptions] == [
        ("a", 3),
        ("a", 5),
        ("b", 6),
    ]
    archive.declare_will("a", "t", 1)
    archive.declare_will("a", "t", 2)
    assert archive.leave("a") == {"t": 2}
    assert archive.leave("a") == {}
    assert [known.mailbox for known in archive.subscriptions] == ["b"]


def test_a_subscription_is_ended_once_and_the_others_stay() -> None:
    archive = Archive()
    for mailbox, pattern in (("a", "x"), ("a", "y"), ("b", "x")):
        archive.subscribe(mailbox, pattern, 1)
    assert archive.unsubscribe("a", "x")
    assert not archive.unsubscribe("a", "x")
    assert not archive.unsubscribe("c", "y")
    left = [(known.mailbox, known.pattern) for known in archive.subscriptions]
    assert left == [("a", "y"), ("b", "x")]
    assert archive.subscribe("a", "x", 2)
