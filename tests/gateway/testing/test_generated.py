from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from gateway.errors import RefusedError
from gateway.mail.signature import Command, command, commands_of
from gateway.testing.generated import (
    NoExampleError,
    argument_sets,
    fitting,
    wrong,
    wrong_argument_sets,
)


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Point(msgspec.Struct):
    x: Annotated[int, Meta(ge=3)]
    y: float


ANNOTATIONS: list[Any] = [
    *(bool, int, float, str, bytes, datetime, type(None), Colour, Point),
    *(Literal["a", 1], int | None, int | str, list[int], tuple[int, str], dict[str, int]),
    Annotated[int, Meta(gt=0, lt=2)],
    Annotated[int, Meta(ge=5, multiple_of=5)],
    Annotated[float, Meta(gt=0, le=1)],
    Annotated[str, Meta(min_length=2, max_length=3)],
    Annotated[bytes, Meta(min_length=1, max_length=1)],
    Annotated[list[Annotated[int, Meta(ge=0, le=9)]], Meta(min_length=1)],
    Annotated[dict[str, bool], Meta(min_length=1)],
]


@pytest.mark.parametrize("annotation", ANNOTATIONS, ids=str)
def test_what_is_made_up_fits_and_what_is_wrong_does_not(annotation: Any) -> None:
    def convert(value: Any) -> None:
        msgspec.convert(value, annotation, builtin_types=(bytes, datetime))

    values = fitting(annotation)
    assert values
    for value in values:
        convert(value)
    for value in wrong(annotation):
        with pytest.raises((msgspec.ValidationError, OverflowError)):
            convert(value)


@given(st.integers(-1000, 1000), st.integers(0, 1000))
def test_the_limits_of_a_number_are_tried_and_stepped_over(low: int, span: int) -> None:
    annotation = Annotated[int, Meta(ge=low, le=low + span)]
    assert {low, low + span} <= set(fitting(annotation))
    assert all(each in wrong(annotation) for each in (low - 1, low + span + 1))


def test_text_with_a_pattern_cannot_be_made_up() -> None:
    with pytest.raises(NoExampleError, match=r"\^a"):
        fitting(Annotated[str, Meta(pattern="^a")])
    with pytest.raises(NoExampleError, match="SetType"):
        fitting(set[int])


class Robot:
    @command
    def drive(
        self, left: Annotated[int, Meta(ge=-5, le=5)], gear: Literal["slow", "fast"] = "slow"
    ) -> None:
        """Drive."""


DRIVE: Command = commands_of(Robot)["drive"]


def test_every_set_of_arguments_is_taken_and_what_may_be_left_out_is_once() -> None:
    sets = argument_sets(DRIVE.shape)
    for body in sets:
        DRIVE.check(body)
    assert {body["left"] for body in sets} >= {-5, 5, 0}
    assert {body.get("gear") for body in sets} == {"slow", "fast", None}


def test_every_wrong_set_is_refused_with_the_parameter() -> None:
    tried = list(wrong_argument_sets(DRIVE.shape))
    assert {name for name, _ in tried} == {"left", "gear", "nonsense"}
    assert ("left", {"gear": tried[0][1]["gear"]}) in tried  # left out
    for name, body in tried:
        with pytest.raises(RefusedError, match=name):
            DRIVE.check(body)


def test_a_right_body_that_is_given_is_what_is_spoilt() -> None:
    for name, body in wrong_argument_sets(DRIVE.shape, {"left": 4, "gear": "fast"}):
        if name != "left":
            assert body["left"] == 4
