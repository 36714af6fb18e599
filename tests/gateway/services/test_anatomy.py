"""What a class shows to who has a proxy."""

from __future__ import annotations

from functools import cached_property, partialmethod
from typing import Any, NamedTuple

import msgspec
import pytest

from gateway.services.anatomy import anatomy, is_public, value_type
from tests.lab.little_robot import Robot, Slotted


class Odd:
    size: int = 3
    table = {"a": 1}

    class Inner:
        pass

    @cached_property
    def cached(self) -> int:
        return 1

    def _hidden(self) -> None: ...

    def method(self, way: int) -> int:
        return way

    partly = partialmethod(method, 3)


class Struct(msgspec.Struct):
    left: int


class Tuple(NamedTuple):
    left: int


def test_methods_of_every_kind_are_methods_and_the_rest_are_properties() -> None:
    found = anatomy(Robot)
    for name in ("grip", "scan", "add", "kind"):
        assert found[name] == "method"
    for name in ("half", "reader", "wheels"):
        assert found[name] == "property"
    assert not [name for name in found if name.startswith("_")]


@pytest.mark.parametrize(
    ("kind", "name", "what"),
    [
        (Odd, "cached", "property"),
        (Odd, "table", "property"),
        (Odd, "partly", "method"),
        (Odd, "Inner", None),
        (Odd, "_hidden", None),
        (Slotted, "speed", "property"),
        (Slotted, "_hidden", None),
        (Struct, "left", "property"),
        (Tuple, "left", "property"),
        (Tuple, "count", "method"),
    ],
)
def test_what_is_odd_is_told_apart(kind: type, name: str, what: str | None) -> None:
    assert anatomy(kind).get(name) == what


def test_the_type_of_a_property_is_what_its_author_wrote() -> None:
    assert value_type(Robot, "half") is float
    assert value_type(Odd, "size") is int
    assert value_type(Robot, "wheels") is Any
    assert value_type(Robot, "nothing") is Any


def test_nothing_of_the_object_is_touched() -> None:
    class Counts:
        reads = 0

        @property
        def value(self) -> int:
            type(self).reads += 1
            return self.reads

    anatomy(Counts)
    assert Counts.reads == 0


@pytest.mark.parametrize(
    ("name", "is_one"), [("speed", True), ("_speed", False), ("a.b", False), ("", False)]
)
def test_a_public_name_is_an_identifier_without_an_underscore(name: str, is_one: bool) -> None:
    assert is_public(name) is is_one
