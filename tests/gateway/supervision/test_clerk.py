"""What the clerk hears of a life that is over."""

from __future__ import annotations

from random import Random
from typing import Any
from unittest.mock import Mock

import pytest

from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.supervision.clerk import Clerk
from gateway.supervision.member import Member, State
from gateway.supervision.restart import RestartPolicy, Restarts
from gateway.supervision.spec import ProcessSpec

ORDERS = [
    ("subscribe", {"pattern": "rooms/#", "spool": None}),
    ("unsubscribe", "rooms/#"),
    ("will", {"topic": "rooms/hall", "body": "dark"}),
    ("open", "lamp@worker"),
    ("close", "lamp@worker"),
    ("carry", None),
]


def written(subject: str, body: Any) -> Message:
    return Message(
        "m1", "m1", 1, 0.0, "worker", "boss", subject, body, kind="control", sender_incarnation=1
    )


@pytest.mark.parametrize(("subject", "body"), ORDERS)
@pytest.mark.parametrize("state", ["living", "failed"])
def test_orders_of_a_life_are_obeyed_until_it_is_over(
    subject: str, body: Any, state: State
) -> None:
    member = Member(ProcessSpec("worker", Process), Restarts(RestartPolicy(), Random(1)))
    member.state, member.incarnation = state, 1
    if subject == "close":
        member.mailboxes[body] = None
    board, accounts = Mock(), Mock()
    clerk = Clerk({"worker": member}, board, accounts, lambda: None)
    clerk.handlers[subject](written(subject, body))
    assert bool(board.mock_calls or accounts.mock_calls) is (state == "living")
