"""What stands in a letter for something that stays where it is."""

from __future__ import annotations

import sys
import threading
from functools import partial
from typing import Any

import pytest

from gateway.errors import BodyError, RefusedError
from gateway.process.process import Process
from gateway.rpc import api_of, later, remote
from gateway.rpc.arguments import packed
from gateway.rpc.ends import desk_of
from gateway.rpc.references import MARK, found_in, plain
from gateway.testing.stage import play


class Thing:
    """Stays where it is."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __refer__(self) -> dict[str, Any]:
        return {"thing": self.name}


class Knows:
    """Finds things, and knows one that says nothing of itself."""

    own = object()

    def find(self, told: dict[str, Any]) -> Any:
        return f"the {told['thing']}"

    def refer(self, value: object) -> dict[str, Any] | None:
        return {"thing": "own"} if value is self.own else None


def test_there_and_back_at_any_depth() -> None:
    value = [Thing("lamp"), {"deep": (Thing("arm"), {1})}, 3]
    made, refers = plain(value, "it")
    assert refers
    assert found_in(made, Knows().find) == ["the lamp", {"deep": ["the arm", [1]]}, 3]
    assert plain({"a": {1}}, "it") == ({"a": [1]}, False)


def test_a_body_says_whether_it_holds_some() -> None:
    assert packed((1,), {"b": [2]}) == {"*": [1], "b": [2]}
    for args, kwargs in (((Thing("a"),), {}), ((), {"x": {"y": [Thing("a")]}})):
        body = packed(args, dict(kwargs))
        assert body is not None
        assert body[MARK] is True


def test_who_knows_it_refers_to_what_says_nothing_of_itself() -> None:
    known = Knows()
    assert plain(known.own, "it", known) == ({"$reference": {"thing": "own"}}, True)


@pytest.mark.parametrize("value", [threading.Lock(), [lambda: 3], {"a": object()}])
def test_what_stands_for_nothing_cannot_be_sent(value: Any) -> None:
    with pytest.raises(BodyError, match="it cannot be sent: it holds a"):
        plain(value, "it")


def test_what_looks_like_one_and_is_none_stays_as_it_is() -> None:
    for value in ({"$reference": 3}, {"$reference": {"thing": "a"}, "more": 1}):
        assert found_in(value, Knows().find) == value


def test_what_looks_like_one_is_not_sent_beside_one() -> None:
    """It may come from outside, and would be found over there."""
    alike = {"$reference": {"thing": "safe"}}
    assert packed((alike,), {}) == {"*": [alike]}, "where nobody looks for any"
    for args in ((Thing("a"), alike), ([Thing("a"), {"deep": alike}],)):
        with pytest.raises(BodyError, match=r"would be taken for another"):
            packed(args, {})
    with pytest.raises(BodyError):
        packed((Thing("a"),), {"b": alike})


def test_who_knows_it_refers_to_it_at_any_depth() -> None:
    known = Knows()
    assert plain([{"me": known.own}], "it", known)[0] == [{"me": {"$reference": {"thing": "own"}}}]


def test_what_can_be_called_is_handed_over_as_a_remote_function() -> None:
    for value in (print, lambda: 1, partial(print), Thing("a").__refer__):
        with pytest.raises(BodyError, match=r"hand over .*remote_function\(process, function\)"):
            plain(value, "it")


class Taker(Process):
    def birth(self) -> None:
        api = api_of(self)
        api.add("take", lambda what: what)
        api.add("give", lambda: {"ports": {1}, "thing": Thing("lamp")})


class Knowing(Taker):
    def birth(self) -> None:
        super().birth()
        desk_of(self).references = Knows()


def test_a_desk_takes_and_gives_some_where_somebody_knows_what_they_stand_for() -> None:
    def scene(main: Process) -> None:
        knowing, other = remote(main, "knowing"), remote(main, "other")
        assert knowing.take([Thing("arm")]) == ["the arm"]
        with pytest.raises(RefusedError, match=r"needs gateway\.services\.Services\(process\)"):
            knowing.give()
        with pytest.raises(RefusedError, match="takes no proxies"):
            other.take(Thing("arm"))
        with pytest.raises(BodyError):
            other.give()
        desk_of(main).references = Knows()
        assert knowing.give() == {"ports": [1], "thing": "the lamp"}
        assert later(knowing.give)().result() == {"ports": [1], "thing": "the lamp"}

    play(scene, knowing=Knowing, other=Taker)


@pytest.mark.usefixtures("uncollected")
def test_what_contains_itself_or_is_nested_too_deep_cannot_be_sent() -> None:
    endless: list[Any] = []
    endless.append({"again": endless})
    # What msgspec takes and we do not depends on the interpreter's own stack.
    for depth in (5000, 800 if sys.version_info < (3, 12) else 990):
        deep: list[Any] = [Thing("a")]
        for _ in range(depth):
            deep = [deep]
        with pytest.raises(BodyError, match="it contains itself, or is nested too deep"):
            packed((), {"value": deep})
    with pytest.raises(BodyError, match="it contains itself, or is nested too deep"):
        packed((), {"value": endless})
