"""Arguments against the description of a command."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.mqtt.arguments import fits, problem_with

DRIVE = {
    "parameters": {
        "left": {"type": "int", "unit": "mm/s", "required": True},
        "right": {"type": "int", "unit": "mm/s", "required": True},
        "ramp": {"type": "float", "unit": "", "required": False},
    }
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize(
    "arguments", [{"left": 1, "right": -1}, {"left": 1, "right": 2.0, "ramp": 3}]
)
def test_what_fits_is_no_problem(arguments):
    assert problem_with(arguments, DRIVE) == ""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"left": 1}, "'right' is missing, an int in mm/s"),
        ({"left": 1, "right": "fast"}, "'right' is an int in mm/s, not 'fast'"),
        ({"left": True, "right": 1}, "'left' is an int in mm/s, not True"),
        ({"left": 1.5, "right": 1}, "'left' is an int"),
        ({"left": None, "right": 1}, "'left' is an int"),
        ({"left": 1, "rihgt": 1}, "did you mean 'right'?"),
        ({"speed": 1}, "it takes left, ramp, right"),
    ],
)
def test_a_problem_names_the_parameter_and_what_is_right(arguments, problem):
    assert problem in problem_with(arguments, DRIVE)


def test_a_command_without_parameters_says_so():
    assert "takes no arguments" in problem_with({"x": 1}, {"parameters": {}})


@pytest.mark.parametrize(
    ("value", "type_text"),
    [
        *((True, "bool"), (3, "int"), (3.0, "int"), (3, "float"), (0.5, "float"), ("", "str")),
        *((b"", "bytes"), ([1], "list[int]"), ({}, "dict[str, int]"), (None, "None")),
        *((None, "int | None"), ("b", "Literal['a', 'b']"), ("a|b", "Literal['a|b'] | None")),
        *((3, "Speed"), ("x", ""), ("x", "Literal[Colour.RED]"), (1, "str | int")),
    ],
)
def test_what_fits(value, type_text):
    assert fits(value, type_text)


@pytest.mark.parametrize(
    ("value", "type_text"),
    [
        *((1, "bool"), ("true", "bool"), (True, "int"), (3.5, "int"), ("3", "int")),
        *((True, "float"), ("", "float"), (1, "str"), (None, "str"), ("", "bytes")),
        *(({}, "list[int]"), ([], "dict[str, int]"), (0, "None"), ("", "int | None")),
        *(("c", "Literal['a', 'b']"), (True, "Literal[1]")),
    ],
)
def test_what_does_not_fit(value, type_text):
    assert not fits(value, type_text)


@given(st.dictionaries(st.text(), JSON), JSON)
def test_no_description_makes_it_raise(arguments, description):
    problem_with(arguments, description)
    problem_with(arguments, {"parameters": description})
    problem_with(arguments, {"parameters": dict.fromkeys(arguments, description)})
    problem_with(arguments, {"parameters": {name: {"type": description} for name in arguments}})


@given(JSON, st.text())
def test_no_type_makes_it_raise(value, type_text):
    fits(value, type_text)
    fits(value, f"Literal[{type_text}]")
