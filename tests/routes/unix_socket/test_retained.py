"""What is kept of what is retained."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.mail.message import Message
from routes.unix_socket.retained import Retained


def said(topic: str, body: object, *, time: float = 0.0, retain: bool = True) -> Message:
    return Message("1", "1", 1, time, "serial", "", topic, body, kind="publication", retain=retain)


def test_the_newest_is_kept_in_the_order_of_times() -> None:
    retained = Retained()
    for message in (
        said("devices/b/state", {"state": "absent"}, time=2.0),
        said("devices/a/state", {"state": "open"}, time=1.0),
        said("devices/a/state", {"state": "proven"}, time=3.0),
        said("devices/a/odometry", 5, retain=False),
    ):
        retained.take(message)
    assert [kept.time for kept in retained.under("devices/#")] == [2.0, 3.0]
    assert retained.states("devices") == [
        {"name": "a", "state": "proven"},
        {"name": "b", "state": "absent"},
    ]


def test_an_older_value_that_comes_late_changes_nothing() -> None:
    retained = Retained()
    for body, incarnation, sequence in (("b", 2, 1), ("a", 1, 9), ("c", 2, 2), ("b", 2, 1)):
        message = said("devices/a/state", {"state": body})
        stamp = {"sender_incarnation": incarnation, "thread_index": sequence}
        retained.take(replace(message, **stamp))
    assert retained.states("devices") == [{"name": "a", "state": "c"}]


def test_an_empty_body_ends_it() -> None:
    retained = Retained()
    retained.take(said("devices/a/state", {"state": "open"}))
    retained.take(said("devices/a/state", None))
    assert len(retained) == 0


def test_one_too_many_and_the_oldest_is_forgotten() -> None:
    retained = Retained(limit=2)
    for name in "abc":
        retained.take(said(f"devices/{name}/state", {}))
    assert [state["name"] for state in retained.states("devices")] == ["b", "c"]


def test_a_state_that_is_no_object_is_left_out() -> None:
    retained = Retained()
    retained.take(said("routes/x/state", "odd"))
    assert retained.states("routes") == []
