"""Rounds of questions: who answers, who does not, who is not asked twice."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import MailboxFullError
from gateway.mail.message import Kind, Message
from routes.unix_socket.roll_call import RollCall


class Post:
    """Notes who is asked what; every letter's id is its number."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, str]] = []
        self.full: set[str] = set()

    def __call__(self, to: str, subject: str) -> str:
        if to in self.full:
            raise MailboxFullError(to)
        self.letters.append((to, subject))
        return str(len(self.letters))


def answer(number: int, body: Any, kind: Kind = "reply") -> Message:
    return Message("r", "r", 2, 0.0, "x", "me", "x", body, in_reply_to=str(number), kind=kind)


def member(name: str, state: str = "living", incarnation: int = 1) -> dict[str, Any]:
    return {"name": name, "state": state, "incarnation": incarnation}


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def roll_call(post: Post) -> RollCall:
    roll_call = RollCall(post, boss="boss")
    roll_call.begin(10.0, {"me": {"frames": 1}})
    return roll_call


def found(roll_call: RollCall) -> dict[str, tuple[bool, Any]]:
    return {one["name"]: (one["answers"], one["statistics"]) for one in roll_call.end()}


def test_everybody_who_lives_is_asked(post: Post, roll_call: RollCall) -> None:
    assert post.letters == [("boss", "ps")]
    members = [member("me"), member("a"), member("b"), member("c", "failed")]
    assert roll_call.take(answer(1, members))
    assert post.letters[1:] == [("a", "$statistics"), ("b", "$statistics")]
    assert roll_call.take(answer(2, {"frames": 7}))
    assert not roll_call.is_over
    assert roll_call.take(answer(3, None, "bounce"))
    assert roll_call.is_over
    assert found(roll_call) == {
        "me": (True, {"frames": 1}),
        "a": (True, {"frames": 7}),
        "b": (False, None),
        "c": (False, None),
    }


def test_other_letters_are_not_ours(roll_call: RollCall) -> None:
    assert not roll_call.take(answer(9, {}))


def test_without_the_boss_nothing_is_known(roll_call: RollCall) -> None:
    roll_call.take(answer(1, None, "bounce"))
    assert not roll_call.heard_boss
    assert roll_call.end() == []


def test_a_question_that_is_open_is_not_asked_again(post: Post, roll_call: RollCall) -> None:
    roll_call.take(answer(1, [member("stuck")]))
    roll_call.end()
    for number in (3, 4):
        roll_call.begin(20.0, {})
        assert roll_call.take(answer(number, [member("stuck")]))
        assert found(roll_call) == {"stuck": (False, None)}
    assert post.letters.count(("stuck", "$statistics")) == 1
    # It has woken: its late answer is taken in, and it is asked like everybody.
    roll_call.begin(20.0, {})
    assert roll_call.take(answer(2, {"frames": 7}))
    assert roll_call.take(answer(5, [member("stuck")]))
    assert post.letters.count(("stuck", "$statistics")) == 2


def test_a_late_answer_counts_in_the_round_it_comes_in(post: Post, roll_call: RollCall) -> None:
    roll_call.take(answer(1, [member("slow")]))
    roll_call.end()
    roll_call.begin(20.0, {})
    roll_call.take(answer(3, [member("slow")]))
    assert not roll_call.is_over
    roll_call.take(answer(2, {"frames": 7}))
    assert roll_call.is_over
    assert found(roll_call) == {"slow": (True, {"frames": 7})}


def test_a_new_life_is_asked_anew(post: Post, roll_call: RollCall) -> None:
    roll_call.take(answer(1, [member("a")]))
    roll_call.end()
    roll_call.begin(20.0, {})
    roll_call.take(answer(3, [member("a", incarnation=2)]))
    assert post.letters.count(("a", "$statistics")) == 2
    assert not roll_call.take(answer(2, {"frames": 7}))


def test_a_silent_boss_is_not_asked_again(post: Post, roll_call: RollCall) -> None:
    roll_call.end()
    roll_call.begin(20.0, {})
    assert post.letters == [("boss", "ps")]


def test_one_without_room_does_not_answer(post: Post, roll_call: RollCall) -> None:
    post.full.add("stuck")
    roll_call.take(answer(1, [member("stuck")]))
    assert roll_call.is_over
    assert found(roll_call) == {"stuck": (False, None)}
