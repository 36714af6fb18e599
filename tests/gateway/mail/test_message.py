"""Replies and bounces keep the thread."""

from __future__ import annotations

import pytest

from gateway.errors import (
    GatewayError,
    LinkAbsentError,
    MailboxFullError,
    RefusedError,
    error_for,
)
from gateway.mail.message import Message, bounce_of, error_in, reply_to

LETTER = Message(
    "id-1",
    "thread-1",
    4,
    10.0,
    "main",
    "worker",
    "lift",
    b"x",
    0,
    99.0,
    incarnation=3,
    sender_incarnation=7,
    receipt=True,
    headers={"a": "b"},
)


def test_a_reply_keeps_the_thread_and_raises_the_index() -> None:
    answer = reply_to(LETTER, "id-2", 11.0, {"ok": True})
    assert (answer.thread_id, answer.thread_index) == ("thread-1", 5)
    assert (answer.sender, answer.recipient) == ("worker", "main")
    assert (answer.in_reply_to, answer.kind, answer.subject) == ("id-1", "reply", "lift")
    assert answer.priority == LETTER.priority


def test_a_reply_is_for_the_life_that_asked_and_never_expires() -> None:
    answer = reply_to(LETTER, "id-2", 11.0, None)
    assert (answer.incarnation, answer.sender_incarnation) == (7, 3)
    assert (answer.expiry, answer.receipt, answer.headers) == (None, False, None)


@pytest.mark.parametrize(
    "error",
    [RefusedError("no"), MailboxFullError("full"), LinkAbsentError("gone"), GatewayError("?")],
)
def test_a_bounce_carries_its_error_there_and_back(error: GatewayError) -> None:
    bounce = bounce_of(LETTER, "id-2", 11.0, error)
    assert bounce.kind == "bounce"
    told = error_in(bounce)
    assert type(told) is type(error)
    assert str(told) == str(error)


@pytest.mark.parametrize("body", [None, [], {}, "no", {"code": 5}, {"code": "from the future"}])
def test_a_malformed_bounce_is_a_plain_error(body: object) -> None:
    assert type(error_in(reply_to(LETTER, "2", 0.0, body, kind="bounce"))) is GatewayError


def test_an_unknown_code_is_a_plain_error() -> None:
    assert type(error_for("from the future", "why")) is GatewayError
