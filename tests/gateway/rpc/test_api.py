"""The tree of handlers by itself: who is asked for a path, and in which order."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RefusedError
from gateway.rpc import Api, command
from gateway.rpc.handler import Handler, arguments

NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(".".join)


def names(api: Api, path: str) -> list[str]:
    return [handler.function() for handler in api.find(path)]


@given(st.lists(st.tuples(st.sampled_from(["add", "catch_all", "otherwise"]), PATHS)), PATHS)
def test_whoever_may_have_a_call_is_asked_in_the_order_that_is_promised(
    registered: list[tuple[str, str]], path: str
) -> None:
    api = Api()
    for number, (how, at) in enumerate(registered):
        told = f"{how} {at} {number}"
        if how == "add":
            api.add(at, lambda told=told: told)
        else:
            getattr(api, how)(lambda told=told: told, at)

    def wanted(how: str, ats: list[str]) -> list[str]:
        return [
            f"{how} {at} {number}"
            for branch in ats
            for number, (each, at) in enumerate(registered)
            if each == how and at == branch
        ]

    steps = path.split(".")
    branches = [".".join(steps[:length]) for length in range(len(steps))]
    assert names(api, path) == [
        *wanted("catch_all", branches),
        *reversed(wanted("add", [path])),
        *wanted("otherwise", branches[::-1]),
    ]


class Hand:
    """Hangs on an arm."""

    @command
    def wave(self) -> str:
        return "waved"


class Arm:
    """Has a hand, and knows where it hangs itself."""

    def __init__(self) -> None:
        self.hand = Hand()
        self._hidden = Hand()
        self.itself = self
        self.length = 3

    @command
    def lift(self) -> str:
        return "lifted"

    def secret(self) -> str:
        return "not marked"


def test_what_hangs_on_an_object_is_a_branch_and_what_is_not_marked_is_not_there() -> None:
    api = Api(Arm())
    api.include(Arm(), "left")
    assert api.paths() == ["hand.wave", "left.hand.wave", "left.lift", "lift"]


class Mute:
    def nod(self) -> None:
        """Not marked: nobody outside can call it."""


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (Mute(), "Mute has no method that can be called: mark some with @command"),
        (Mute, r"Mute is a class: make one, Mute\(…\), and serve that"),
    ],
)
def test_an_object_with_nothing_to_call_is_refused(source: object, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Api(source)


def test_a_branch_registers_where_it_is() -> None:
    api = Api()
    branch = api.branch("arm").branch("left")
    branch.add("lift", lambda: "lifted")
    branch.include(Hand())
    branch.catch_all(lambda: "first")
    branch.otherwise(lambda: "last")

    @branch.add("decorated")
    def decorated() -> str:
        return "decorated"

    assert names(api, "arm.left.lift") == ["first", "lifted", "last"]
    assert names(api, "arm.left.decorated") == ["first", "decorated", "last"]
    assert names(api, "arm.right.lift") == []
    assert "arm.left.wave" in api.paths()


def test_what_was_removed_is_not_asked_any_more_and_who_wants_to_know_is_told() -> None:
    api = Api()
    changes: list[int] = []
    api.on_change(lambda: changes.append(1))

    def one() -> str:
        return "one"

    def two() -> str:
        return "two"

    api.add("it", one)
    api.add("it", two)
    api.otherwise(one)
    assert names(api, "it") == ["two", "one", "one"]
    assert api.remove("it", two) == 1
    assert names(api, "it") == ["one", "one"]
    assert api.remove("it") == 1
    assert api.remove("", one) == 1
    assert names(api, "it") == []
    assert len(changes) == 6


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "_a", "a._b", "a b", "1a", "a-b"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is no path"):
        Api().add(path, print)
    with pytest.raises(ValueError, match="is no path"):
        Api().branch(path)


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="must be callable"):
        Api().add("it", 3)  # type: ignore[call-overload]


def loose(first: Any, /, *more: Any, **named: Any) -> list[Any]:
    return [first, more, named]


def test_a_function_that_takes_anything_is_given_what_came() -> None:
    handler = Handler("it", loose)
    assert handler.invoke({"*": [1, 2], "x": 3}) == [1, (2,), {"x": 3}]
    with pytest.raises(RefusedError, match="missing"):
        handler.invoke({"x": 3})
    # Of some builtins nothing is known.
    assert Handler("it", max).invoke({"*": [3, 5]}) == 5


@pytest.mark.parametrize("body", [3, "text", [1], {"*": 3}])
def test_what_holds_no_arguments_is_refused(body: Any) -> None:
    with pytest.raises(RefusedError):
        arguments(body)
    for function in (loose, lambda a=1: a):
        with pytest.raises(RefusedError):
            Handler("it", function).invoke(body)


def test_a_map_tells_what_is_known() -> None:
    api = Api()
    api.add("loose", loose)
    api.add("typed", lambda: 1)
    told = api.describe()
    assert told["loose"] == {
        "description": "",
        "parameters": None,
        "returns": "list[Any]",
        "stream": False,
    }
    assert told["typed"]["parameters"] == {}


def test_a_path_from_anywhere_costs_no_more_than_the_branches_that_there_are() -> None:
    api = Api()
    api.catch_all(print, at="a")
    api.catch_all(print, at="a.b")
    api.catch_all(print, at="ab")
    tracemalloc.start()
    try:
        found = api.find("a." * 20_000 + "b")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [handler.path for handler in found] == ["a"]
    assert most < 1_000_000


def test_a_marked_method_may_have_the_name_of_what_its_object_holds() -> None:
    class Lamp:
        def __init__(self) -> None:
            self.__dict__["calls"] = None

        @command
        def calls(self) -> str:
            return f"{type(self).__name__} was called"

        @staticmethod
        @command
        def free() -> str:
            return "free"

    api = Api(Lamp())
    assert api.paths() == ["calls", "free"]
    assert [api.find(path)[0].invoke(None) for path in api.paths()] == ["Lamp was called", "free"]
