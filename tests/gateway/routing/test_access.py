"""Nothing enters from outside that no rule allows."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.access import AccessList, Rule


def test_an_empty_list_lets_nothing_in() -> None:
    assert not AccessList().allows("board@serial", "led")


@given(st.text(), st.text())
def test_both_must_match_as_a_whole(recipient: str, subject: str) -> None:
    access = AccessList([Rule(to="board@serial", subject="led")])
    assert access.allows(recipient, subject) is ((recipient, subject) == ("board@serial", "led"))


@pytest.mark.parametrize(
    ("to", "subject", "allowed"),
    [
        ("board@serial", "led", True),
        ("board@serial", "led\nreset", False),
        ("xboard@serial", "led", False),
        ("board@serial2", "led", False),
        ("fan/1@serial", "reset", True),
        ("fan/1@serial\n", "reset", False),
        ("boss", "ps", False),
        ("", "", False),
    ],
)
def test_globs_say_what_may_enter(to: str, subject: str, allowed: bool) -> None:
    access = AccessList([Rule(to="board@serial", subject="led"), Rule(to="fan*@serial")])
    assert access.allows(to, subject) is allowed


def test_a_rule_with_a_typing_error_is_refused() -> None:
    for wrong in ({"too": "a"}, {"to": ""}, {"to": "a", "subject": ""}, {}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, Rule)
