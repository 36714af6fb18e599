"""A full mailbox of another OS process: its writers keep to its policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.bus.mailbox import Mailbox
from gateway.bus.outlets import DroppingOutlet, RejectingOutlet, outlet_to
from gateway.bus.pump import DEPTH, Pump
from gateway.bus.wire import Folder, Outlet
from gateway.errors import BodyError, MailboxFullError, RecipientGoneError
from gateway.mail.message import Message

Make = Callable[..., Message]
Boxes = Callable[..., Mailbox]


def handed_over(outlet: Outlet, letter: Make, most: int) -> int:
    """Write letters that are numbered from 0 until one is refused; return how many went."""
    for number in range(most):
        try:
            outlet.deliver(letter(f"letter {number}"), 1e9)
        except MailboxFullError:
            return number
    return most


def test_each_policy_has_its_outlet(folder: Folder, pump: Pump) -> None:
    kinds = [type(outlet_to(folder, "a", 1, policy, pump)) for policy in (None, "reject")]
    assert kinds == [Outlet, RejectingOutlet]
    assert type(outlet_to(folder, "a", 1, "drop_oldest", pump)) is DroppingOutlet


def test_who_is_rejected_is_told_at_once(
    letter: Make, box: Boxes, folder: Folder, pump: Pump
) -> None:
    reader = box(size=2, policy="reject")
    outlet = outlet_to(folder, "worker", 1, "reject", pump)
    went = handed_over(outlet, letter, 1000)
    assert 0 < went < 1000
    for number in range(went):
        message = reader.get(5.0)
        assert message is not None
        assert message.subject == f"letter {number}"
    assert reader.get(0.0) is None


def test_who_drops_the_oldest_never_waits_and_keeps_the_order(
    letter: Make, box: Boxes, folder: Folder, pump: Pump
) -> None:
    reader = box(size=8, policy="drop_oldest")
    outlet = outlet_to(folder, "worker", 1, "drop_oldest", pump)
    count = DEPTH * 3
    assert handed_over(outlet, letter, count) == count
    dropped = pump.dropped
    assert dropped > 0
    seen: list[int] = []
    while len(seen) < count - dropped:
        message = reader.get(5.0)
        assert message is not None, f"{len(seen)} of {count - dropped} came"
        seen.append(int(message.subject.removeprefix("letter ")))
    assert seen == sorted(seen)
    assert seen[-1] == count - 1
    assert pump.dropped == dropped


@pytest.mark.parametrize("policy", ["reject", "drop_oldest"])
def test_nobody_is_written_to_in_vain(
    letter: Make, folder: Folder, pump: Pump, policy: Any
) -> None:
    outlet = outlet_to(folder, "nobody", 1, policy, pump)
    with pytest.raises(RecipientGoneError):
        outlet.deliver(letter())
    with pytest.raises(BodyError):
        outlet.deliver(letter(body="\ud800"))


@pytest.mark.parametrize("policy", [None, "reject", "drop_oldest"])
def test_a_large_body_goes_its_way_and_its_headers_are_checked(
    letter: Make, box: Boxes, folder: Folder, pump: Pump, policy: Any
) -> None:
    reader = box(policy=policy or "block")
    outlet = outlet_to(folder, "worker", 1, policy, pump)
    body = b"\x5a" * 200_000
    outlet.deliver(letter(body=body))
    message = reader.get(5.0)
    assert message is not None
    assert message.body == body
    with pytest.raises(BodyError, match="no Unicode"):
        outlet.deliver(letter("\ud800", body=body))
