from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from gateway.config.check import Checker
from gateway.config.provenance import Origin, Provenance


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    topic: str
    qos: Literal[0, 1] = 0


class Ranged(msgspec.Struct, frozen=True):
    low: int = 0
    high: int = 1

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("high must not be below the other")


class Everything(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    port: str
    baud: Annotated[int, Meta(ge=50, le=4000, description="bits a second")] = 115
    parity: Literal["N", "E"] = "N"
    timeout: Annotated[float, Meta(gt=0)] | None = None
    colour: Colour = Colour.RED
    name: Annotated[str, Meta(pattern="^[a-z]+$", description="small letters")] = "a"
    quiet: bool = False
    rules: list[Rule] = []
    pairs: tuple[int, ...] = ()
    point: tuple[int, str] = (0, "")
    limits: dict[str, int] = {}
    rule: Rule | None = None
    span: Ranged = Ranged()
    host_name: str = msgspec.field(default="", name="host-name")
    free: Any = None


def check(table: Any, cls: type[msgspec.Struct] = Everything) -> tuple[Any, list[str]]:
    checker = Checker(Provenance())
    made = checker.struct(table, cls, ("x",))
    return made, [str(mistake) for mistake in checker.mistakes]


GOOD = {
    "port": "/dev/x",
    "baud": 50,
    "parity": "E",
    "timeout": 1,
    "colour": "green",
    "rules": [{"topic": "a", "qos": 1}],
    "pairs": [1, 2],
    "point": [1, "a"],
    "limits": {"a": 1},
    "rule": {"topic": "b"},
    "host-name": "h",
    "free": [{"any": "thing"}],
}


def test_what_fits_becomes_the_struct() -> None:
    made, mistakes = check(GOOD)
    assert mistakes == []
    assert made == msgspec.convert(GOOD, Everything)
    assert made.rules == [Rule("a", 1)]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"baud": "fast"}, 'x.baud: cannot be "fast"; write a whole number from 50 to 4000'),
        (
            {"baud": 49},
            "x.baud: cannot be 49; write a whole number from 50 to 4000 (bits a second)",
        ),
        ({"baud": "960"}, "(bits a second): 960 without quotes"),
        ({"baud": 96.5}, "x.baud: cannot be 96.5; write a whole number"),
        ({"baud": True}, "x.baud: cannot be true; write a whole number"),
        ({"parity": "X"}, 'x.parity: cannot be "X"; write one of "E", "N"'),
        ({"timeout": 0}, "x.timeout: cannot be 0; write a number above 0"),
        ({"timeout": float("nan")}, "x.timeout: cannot be nan; write a number above 0"),
        ({"timeout": float("inf")}, "x.timeout: cannot be inf"),
        ({"free": float("inf")}, "x.free: cannot be inf"),
        ({"colour": "blue"}, 'x.colour: cannot be "blue"; write one of "red", "green"'),
        ({"name": "A"}, 'x.name: cannot be "A"; write text: small letters'),
        ({"quiet": "true"}, "write true or false: true without quotes"),
        ({"quiet": 1}, "x.quiet: cannot be 1; write true or false"),
        ({"port": 5}, 'x.port: cannot be 5; write text: "5" with quotes'),
        ({"buad": 1}, "x.buad: unknown key; did you mean 'baud'?"),
        ({"host_name": "a"}, "x.host_name: unknown key; did you mean 'host-name'?"),
        (
            {"rules": "a"},
            'x.rules: cannot be "a"; write an array; each element: a table with topic',
        ),
        ({"rules": [{"topic": "a"}, {"qos": 1}]}, "x.rules[1].topic: is missing; write text"),
        ({"rules": [{"topic": "a", "qos": 2}]}, "x.rules[0].qos: cannot be 2; write one of 0, 1"),
        ({"pairs": [1, "b"]}, 'x.pairs[1]: cannot be "b"; write a whole number'),
        ({"point": [1]}, "x.point: does not fit: "),
        ({"limits": {"a b": "c"}}, 'x.limits."a b": cannot be "c"; write a whole number'),
        ({"rule": {"tpoic": "b", "topic": "a"}}, "x.rule.tpoic: unknown key"),
        ({"rule": 3}, "x.rule: cannot be 3; write a table with topic, qos"),
        ({"span": {"low": 5, "high": 2}}, "x.span.high: high must not be below the other"),
    ],
)
def test_each_mistake_says_what_would_be_right(wrong: dict[str, Any], said: str) -> None:
    made, mistakes = check({"port": "p", **wrong})
    assert made is None
    assert len(mistakes) == 1
    assert said in mistakes[0]


def test_all_mistakes_are_found_at_once() -> None:
    table = {"baud": 1, "parity": 2, "buad": 3, "rules": [{}, {"topic": 1}], "span": {"low": "a"}}
    keys = {mistake.split(": ")[0] for mistake in check(table)[1]}
    assert keys == {
        *("x.port", "x.baud", "x.parity", "x.buad"),
        *("x.rules[0].topic", "x.rules[1].topic", "x.span.low"),
    }


def test_an_unknown_key_does_not_hide_what_the_struct_itself_objects_to() -> None:
    _, mistakes = check({"low": 3, "high": 1, "middle": 2}, Ranged)
    assert len(mistakes) == 2


def test_a_table_is_asked_for_where_none_stands() -> None:
    assert check(3) == (None, ["x: cannot be 3; write a table: [x]"])


def test_a_struct_in_a_tagged_union_may_bear_its_tag() -> None:
    class Tagged(msgspec.Struct, frozen=True, tag="tagged"):
        size: int = 0

    assert check({"type": "tagged", "size": 1}, Tagged) == (Tagged(1), [])


def test_a_mistake_stands_at_its_line_or_at_that_of_the_table_around_it() -> None:
    checker = Checker(Provenance({("x",): Origin("f.toml", 3), ("x", "baud"): Origin("g.toml", 7)}))
    checker.struct({"baud": 1}, Everything, ("x",))
    places = {mistake.key: (mistake.file, mistake.line) for mistake in checker.mistakes}
    assert places == {"x.baud": ("g.toml", 7), "x.port": ("f.toml", 3)}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(list(Everything.__struct_encode_fields__)), values))
def test_it_agrees_with_msgspec_on_what_fits(table: dict[str, Any]) -> None:
    made, mistakes = check(table)
    assert (made is None) == bool(mistakes)
    if made is not None:
        assert made == msgspec.convert(table, Everything)
    elif "inf" not in str(mistakes) and "nan" not in str(mistakes):
        # A struct within may forbid what msgspec alone would let pass; ours do not.
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(table, Everything)
