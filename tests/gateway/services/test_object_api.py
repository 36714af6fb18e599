"""An object as an API."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import RefusedError, UnknownApiError
from gateway.rpc.api_map import read_map
from gateway.rpc.handler import Handler
from gateway.services import object_api
from gateway.services.object_api import ObjectApi
from tests.lab.little_robot import Robot, Slotted


class Typed:
    limit: int = 3

    def __init__(self) -> None:
        self.free = 1


def invoke(api: ObjectApi, path: str, body: Any = None) -> Any:
    (handler,) = api.find(path)
    return handler.invoke(body)


def test_a_property_is_read_without_an_argument_and_set_with_one() -> None:
    api = ObjectApi(Robot(3))
    assert invoke(api, "half") == 1.5
    invoke(api, "half", {"*": [5]})
    assert invoke(api, "speed") == 10
    assert invoke(api, "wheels") == 4
    assert invoke(ObjectApi(Slotted()), "speed") == 1


@pytest.mark.parametrize("body", [{"*": [1, 2]}, {"value": 1}, [1]])
def test_a_property_takes_one_argument_at_the_most(body: Any) -> None:
    with pytest.raises(RefusedError):
        invoke(ObjectApi(Robot(3)), "half", body)


def test_what_is_set_is_checked_against_the_annotation() -> None:
    api = ObjectApi(Typed())
    with pytest.raises(RefusedError, match="limit: Expected `int`, got `str`"):
        invoke(api, "limit", {"*": ["much"]})
    with pytest.raises(RefusedError, match="half: Expected `float`"):
        invoke(ObjectApi(Robot()), "half", {"*": ["much"]})
    invoke(api, "free", {"*": ["anything"]})
    assert invoke(api, "free") == "anything"


def test_attributes_are_there_as_soon_as_the_object_has_them() -> None:
    robot: Any = Robot()
    api = ObjectApi(robot)
    assert api.kind_of("colour") is None
    assert api.find("colour") == ()
    robot.colour = "red"
    assert api.kind_of("colour") == "attribute"
    assert invoke(api, "colour") == "red"
    del robot.colour
    assert api.kind_of("colour") is None
    with pytest.raises(AttributeError):
        invoke(api, "colour")


def test_attributes_may_change_while_somebody_asks_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where a worker sets one at that moment."""
    robot = Robot()
    api = ObjectApi(robot)

    def sets_one(name: str) -> bool:
        setattr(robot, f"{name}_too", 1)
        return True

    monkeypatch.setattr(object_api, "is_public", sets_one)
    assert api.kinds()["speed"] == "attribute"


def test_what_the_object_has_no_more_is_not_made_anew_by_setting_it() -> None:
    robot: Any = Robot()
    api = ObjectApi(robot)
    assert invoke(api, "name") == "robbie"
    del robot.name
    with pytest.raises(UnknownApiError, match="'name'"):
        invoke(api, "name", {"*": ["rob"]})
    assert not hasattr(robot, "name")


def test_the_map_tells_kind_type_and_help() -> None:
    told = ObjectApi(Robot()).describe()
    assert told["grip"]["kind"] == "method"
    assert told["grip"]["parameters"]["force"]["type"] == "int"
    assert told["half"] == {
        "description": "Half the speed.",
        "parameters": {"value": {"type": "float", "unit": "", "required": False}},
        "returns": "float",
        "stream": False,
        "kind": "property",
    }
    assert told["speed"]["kind"] == "attribute"
    assert "_secret" not in told


def test_a_function_is_added_and_removed_and_takes_no_name_that_there_is() -> None:
    api, changes = ObjectApi(Robot()), []
    api.on_change(lambda: changes.append(api.functions()))
    api.add_function("spin", lambda: 7)
    assert api.kind_of("spin") == "function"
    assert list(api.functions()) == ["spin"]
    assert invoke(api, "spin") == 7
    for taken in ("spin", "grip", "half", "speed"):
        with pytest.raises(RefusedError, match="already"):
            api.add_function(taken, print)
    with pytest.raises(ValueError, match="is no name"):
        api.add_function("_spin", print)
    assert api.remove_function("spin")
    assert not api.remove_function("spin")
    assert not api.remove_function("grip")
    assert api.find("spin") == ()
    assert len(changes) >= 2, "or a desk would remember it"


def test_functions_that_were_registered_while_it_was_made_must_not_hide_anything() -> None:
    api = ObjectApi()
    api.add_function("grip", print)
    with pytest.raises(RefusedError, match="grip"):
        api.embody(Robot())


def test_a_handler_is_made_when_it_is_first_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Noted(Handler):
        def __init__(self, path: str, *rest: Any, **options: Any) -> None:
            made.append(path)
            super().__init__(path, *rest, **options)

    monkeypatch.setattr(object_api, "Handler", Noted)
    api = ObjectApi(Robot())
    assert api.kinds()["grip"] == "method"
    assert made == []
    assert api.find("grip") == api.find("grip")
    assert made == ["grip"]


class Gauge:
    """What is read, and what is set as well."""

    limit: int = 3

    @property
    def level(self) -> float:
        """How full it is."""
        return 0.5

    @property
    def alarm(self) -> float:
        """When it rings."""
        return 0.9

    @alarm.setter
    def alarm(self, value: float) -> None:
        """Set it."""

    def empty(self) -> None:
        """Let it all out."""


def test_a_list_says_what_is_read_what_is_set_and_what_is_called() -> None:
    listed = [str(entry) for entry in read_map(ObjectApi(Gauge()).describe()).values()]
    assert listed == ["alarm: float", "empty()", "level: float (read only)", "limit: int"]


@pytest.mark.parametrize("kind", [["property"], {}, None, 3])
def test_a_map_from_elsewhere_may_say_anything_of_a_kind(kind: object) -> None:
    assert str(read_map({"a": {"kind": kind}})["a"]) == "a(…) -> Any"


def test_a_value_of_which_the_map_says_nothing_may_be_set() -> None:
    told = {"a": {"kind": "property", "returns": "int"}}
    assert str(read_map(told)["a"]) == "a: int"
