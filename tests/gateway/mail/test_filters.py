"""Which callbacks a letter goes to."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.mail.filters import CACHED, FilterTable
from gateway.mail.message import HEADERS, Message


def letter(subject: str = "stop", **fields: Any) -> Message:
    return Message("id-7", "thread-7", 3, 12.5, "main", "wheels@serial", subject, **fields)


def nothing(message: Message) -> None: ...


def ids(table: FilterTable, message: Message) -> list[str]:
    return [found.id for found in table.matching(message)]


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_every_header_can_be_asked_for(name: str) -> None:
    message = letter(expiry=5.0, in_reply_to="id-6", route="mqtt", body_type="Pose")
    text = message.header(name)
    exact: dict[str, Any] = {name: f"^{text.replace('.', '[.]')}$"}
    other: dict[str, Any] = {name: "no header holds this"}
    table = FilterTable()
    table.add(nothing, id="exact", **exact)
    table.add(nothing, id="other", **other)
    assert ids(table, message) == ["exact"]


def test_extra_headers_can_be_asked_for_and_an_absent_one_is_empty() -> None:
    table = FilterTable()
    table.add(nothing, id="blue", colour="^blue$")
    table.add(nothing, id="none", colour="^$")
    assert ids(table, letter(headers={"colour": "blue"})) == ["blue"]
    assert ids(table, letter(headers={"shape": "blue"})) == ["none"]
    assert ids(table, letter()) == ["none"]


def test_all_patterns_must_be_found() -> None:
    table = FilterTable()
    table.add(nothing, subject="^stop$", sender="^main$", colour="blue")
    assert ids(table, letter(headers={"colour": "light blue"})) == ["filter-1"]
    assert ids(table, letter()) == []
    assert ids(table, letter("go", headers={"colour": "blue"})) == []


def test_a_filter_without_patterns_takes_everything() -> None:
    table = FilterTable()
    table.add(nothing)
    assert ids(table, letter()) == ["filter-1"]


def test_who_falls_through_gets_only_what_nobody_else_took() -> None:
    table = FilterTable()
    table.add(nothing, id="rest", fallthrough=True)
    table.add(nothing, id="rest of main", fallthrough=True, sender="^main$")
    table.add(nothing, id="stop", subject="^stop$")
    assert ids(table, letter("stop")) == ["stop"]
    assert ids(table, letter("go")) == ["rest", "rest of main"]


def test_filters_are_tried_in_the_order_in_which_they_were_added() -> None:
    table = FilterTable()
    for id in ("c", "a", "b"):
        table.add(nothing, id=id)
    assert ids(table, letter()) == ["c", "a", "b"]
    assert table.remove("a", "nobody") == 1
    assert ids(table, letter()) == ["c", "b"]
    assert len(table) == 2


def test_hits_are_counted() -> None:
    table = FilterTable()
    table.add(nothing, id="stop", description="stops", subject="^stop$")
    table.add(nothing, id="rest", fallthrough=True)
    for subject in ("stop", "go", "stop"):
        table.matching(letter(subject))
    assert [(view.id, view.hits) for view in table] == [("stop", 2), ("rest", 1)]
    assert next(iter(table)).description == "stops"


def test_what_cannot_stand_is_refused_when_it_is_added() -> None:
    table = FilterTable()
    with pytest.raises(ValueError, match="broken"):
        table.add(nothing, subject="(")
    with pytest.raises(ValueError, match="callable"):
        table.add("nothing")  # type: ignore[arg-type]
    table.add(nothing, id="mine")
    with pytest.raises(ValueError, match="already"):
        table.add(nothing, id="mine")
    assert len(table) == 1


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("subjct", "subject"),
        ("Subject", "subject"),
        ("subjects", "subject"),
        ("sendr", "sender"),
        ("sneder", "sender"),
        ("ruote", "route"),
        ("knid", "kind"),
        ("recipent", "recipient"),
        ("fall_through", "fallthrough"),
        ("descripton", "description"),
        ("body", "headers"),
    ],
)
def test_a_header_that_is_hardly_meant_is_refused_and_not_never_found(
    name: str, meant: str
) -> None:
    table = FilterTable()
    wrong: dict[str, Any] = {name: "^stop$"}
    with pytest.raises(TypeError, match=meant):
        table.add(nothing, **wrong)
    assert len(table) == 0


@pytest.mark.parametrize("name", ["room", "x", "body_format", "sensor", "urgency", "uptime"])
def test_a_header_of_ones_own_is_any_other(name: str) -> None:
    table = FilterTable()
    mine: dict[str, Any] = {name: "^kitchen$"}
    table.add(nothing, id="mine", **mine)
    assert ids(table, letter(headers={name: "kitchen"})) == ["mine"]


def test_a_pattern_is_text() -> None:
    wrong: dict[str, Any] = {"priority": 1}
    with pytest.raises(TypeError, match="'priority' is a regular expression, not 1"):
        FilterTable().add(nothing, **wrong)


def test_a_filter_may_be_removed_while_the_table_is_walked() -> None:
    table = FilterTable()
    table.add(nothing, id="a")
    table.add(nothing, id="b")
    for _ in table:
        table.remove("b")
    assert len(table) == 1


RULES = st.tuples(st.booleans(), st.sampled_from("ab"), st.sampled_from(["x", "y", "id-"]))


@given(
    rules=st.lists(RULES, max_size=6),
    second=st.sampled_from(["sender", "message_id", "colour"]),
    letters=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy")), max_size=12),
    removed=st.integers(0, 12),
)
def test_the_table_agrees_with_a_naive_one_however_often_it_is_asked(
    rules: list[tuple[bool, str, str]], second: str, letters: list[tuple[str, str]], removed: int
) -> None:
    table = FilterTable()
    for fallthrough, subject, other in rules:
        patterns: dict[str, Any] = {"subject": subject, second: other}
        table.add(nothing, fallthrough=fallthrough, **patterns)
    stand = dict(enumerate(rules, 1))
    for number, (subject, sender) in enumerate(letters):
        if number == removed:
            table.remove("filter-1")
            stand.pop(1, None)
        message = Message(
            f"id-{number}", "1", 1, 0.0, sender, "worker", subject, headers={"colour": sender}
        )
        matching = {
            f"filter-{index}": fallthrough
            for index, (fallthrough, wanted, other) in stand.items()
            if wanted == subject and other in message.header(second)
        }
        hits = [id for id, fallthrough in matching.items() if not fallthrough]
        assert ids(table, message) == (hits or list(matching))


WORDS = st.text(st.sampled_from("aZ9_- /:é\n.$^|"), max_size=3)


@given(word=WORDS, written=WORDS, more=st.sampled_from(["", "\n", "\n\n", "a", "$"]))
@example(word="", written="", more="\n")
def test_a_pattern_for_one_word_finds_what_the_expression_would(
    word: str, written: str, more: str
) -> None:
    table = FilterTable()
    table.add(nothing, id="found", subject=f"^{word}$")
    for subject in (written + more, word + more):
        found = re.search(f"^{word}$", subject) is not None
        assert ids(table, letter(subject)) == ["found"] * found


def test_what_is_remembered_of_letters_is_bounded() -> None:
    table = FilterTable()
    table.add(nothing, id="even", subject="[02468]$")
    for number in range(3 * CACHED):
        assert ids(table, letter(str(number))) == (["even"] if number % 2 == 0 else [])
    assert len(table._found.filters) == CACHED
