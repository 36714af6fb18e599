"""Words of a line to values and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.line_device.values import Kind, Value, fields_of, read, write
from gateway.errors import ProtocolError


@pytest.mark.parametrize(
    ("kind", "text", "scale", "value"),
    [
        ("int", "-42", 1.0, -42),
        ("int", "25", 0.1, 2),
        ("int", "2.6", 10.0, 26),
        ("float", "3", 0.1, 0.3),
        ("float", "1e3", 1.0, 1000.0),
        ("float", ".5", 1.0, 0.5),
        ("bool", "off", 1.0, False),
        ("bool", " HIGH ", 1.0, True),
        ("str", " as it is ", 1.0, " as it is "),
    ],
)
def test_words_are_values(kind: Kind, text: str, scale: float, value: Value) -> None:
    found = read(kind, text, scale)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *[("int", "1.5"), ("int", ""), ("int", "1_0"), ("int", "٣"), ("int", "9" * 19)],
        *[("float", "nan"), ("float", "inf"), ("float", "."), ("float", "1e999"), ("float", "x")],
        *[("bool", "2"), ("bool", "")],
    ],
)
def test_what_is_no_such_value_is_a_protocol_error(kind: Kind, text: str) -> None:
    with pytest.raises(ProtocolError, match=f"is no {kind}"):
        read(kind, text)


@given(kind=st.sampled_from(["int", "float", "str", "bool"]), text=st.text(max_size=40))
def test_any_text_is_a_value_or_a_protocol_error(kind: Kind, text: str) -> None:
    try:
        read(kind, text)
    except ProtocolError:
        pass


@pytest.mark.parametrize("template", ["{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:{b}}", "{", "}"])
def test_a_template_names_parameters_and_nothing_else(template: str) -> None:
    with pytest.raises(ValueError, match=r"parameter|encountered|expected|Single"):
        list(fields_of(template))


def test_braces_of_the_line_itself_are_doubled() -> None:
    assert list(fields_of("{{}} {a}")) == ["a"]
    assert write("{{}} {a:04.1f}", {"a": 2.25}, ("0", "1")) == "{} 02.2"
