"""Calls without an answer yet."""

from __future__ import annotations

import pytest

from routes.mqtt.commands import Call, ReplyTo
from routes.mqtt.pending import PendingCalls


def call(device):
    return Call(device, "ping", {}, ReplyTo("answers"))


def test_an_answer_finds_its_call_once():
    pending = PendingCalls(2)
    assert pending.add("t1", call("a"), 10.0)
    assert pending.take("t1") == call("a")
    assert pending.take("t1") is None


def test_one_call_too_many_is_refused():
    pending = PendingCalls(1)
    assert pending.add("t1", call("a"), 10.0)
    assert pending.is_full
    assert not pending.add("t2", call("b"), 10.0)
    assert len(pending) == 1


def test_late_calls_are_returned_and_forgotten():
    pending = PendingCalls(3)
    for name, deadline in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        pending.add(name, call(name), deadline)
    assert pending.next_deadline == 1.0
    assert pending.expire(2.0) == [call("b"), call("c")]
    assert pending.take("b") is None
    assert pending.next_deadline == 3.0


def test_all_can_be_cleared():
    pending = PendingCalls(3)
    pending.add("a", call("a"), 3.0)
    assert pending.clear() == [call("a")]
    assert (len(pending), pending.next_deadline) == (0, None)


def test_a_limit_of_none_is_misuse():
    with pytest.raises(ValueError):
        PendingCalls(0)
