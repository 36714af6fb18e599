"""Routes are asked, and never twice while they owe an answer."""

from __future__ import annotations

from gateway.errors import MailboxFullError
from gateway.mail.message import Message
from gateway.watchdog.questions import PATIENCE, Questions


def answer(to: str) -> Message:
    return Message("9", "9", 2, 0.0, "x", "health", "", {}, kind="reply", in_reply_to=to)


def test_who_owes_an_answer_is_not_asked_again() -> None:
    asked: list[str] = []

    def ask(route: str) -> str:
        asked.append(route)
        return f"letter {len(asked)}"

    questions = Questions(ask)
    questions.ask({"serial": 1, "mqtt": 1}, 0.0)
    assert questions.take(answer("letter 1")) == "serial"
    assert questions.take(answer("letter 1")) is None
    questions.ask({"serial": 1, "mqtt": 1}, 5.0)
    assert asked == ["serial", "mqtt", "serial"]
    assert questions.silent(PATIENCE) == ["mqtt"]
    questions.ask({"serial": 1}, 6.0)
    assert (len(questions), questions.silent(100.0)) == (1, ["serial"])


def test_who_lives_anew_is_asked_anew_since_the_question_went_with_the_former_life() -> None:
    letters = map(str, range(9))
    questions = Questions(lambda route: next(letters))
    questions.ask({"serial": 1.5}, 0.0)
    questions.ask({"serial": 9.5}, 20.0)
    assert (len(questions), questions.silent(20.0 + PATIENCE - 1)) == (1, [])
    assert questions.take(answer("0")) is None
    assert questions.take(answer("1")) == "serial"


def test_who_cannot_be_asked_is_named_with_the_reason() -> None:
    def ask(route: str) -> str:
        raise MailboxFullError("it reads nothing")

    assert Questions(ask).ask({"mqtt": 1}, 0.0) == {"mqtt": "it reads nothing"}
