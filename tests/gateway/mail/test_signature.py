"""Commands: what their signatures say, and which letters they take."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from gateway.errors import RefusedError
from gateway.mail.signature import Command, Unit, command, commands_of, marked_in

Speed = Annotated[int, Meta(ge=-500, le=500), Unit("mm/s")]


class Robot:
    """A class with commands; a driver's other parts do not matter here."""

    @command
    def drive(self, left: Speed, right: Speed = 0) -> None:
        """Set both wheel speeds.

        The board refuses more than 500.
        """

    @command
    def beep(self) -> Annotated[float, Unit("s")]:
        """Beep."""
        return 0.5

    @command
    def lamp(self, *, colour: Literal["red", "green"], raw: bytes = b"") -> str | None:
        return colour

    def secret(self) -> None:
        """No command."""


class Rover(Robot):
    """Inherits, overrides, adds."""

    @command
    def dig(self, depth: float) -> int:
        return 1


COMMANDS = commands_of(Robot)
SPEED = {"type": "int", "unit": "mm/s", "minimum": -500, "maximum": 500}


def test_only_marked_methods_are_commands_and_they_are_inherited() -> None:
    assert set(COMMANDS) == {"drive", "beep", "lamp"}
    assert set(commands_of(Rover)) == {"drive", "beep", "lamp", "dig"}


def test_a_command_without_an_instance_is_one_and_an_override_has_to_be_marked_again() -> None:
    class Tool:
        @staticmethod
        @command
        def twice(number: int) -> int:
            return 2 * number

        @classmethod
        @command
        def name(cls) -> str:
            return cls.__name__

        @command
        def grip(self) -> None: ...

    class Open(Tool):
        def grip(self) -> None: ...

    assert (marked_in(Tool), marked_in(Open)) == (["grip", "twice"], ["twice"])


def test_the_description_holds_types_units_and_what_is_required() -> None:
    assert COMMANDS["drive"].describe() == {
        "description": "Set both wheel speeds.\n\nThe board refuses more than 500.",
        "parameters": {
            "left": {**SPEED, "required": True},
            "right": {**SPEED, "required": False},
        },
        "returns": "None",
        "returns_unit": "",
    }
    assert COMMANDS["beep"].describe()["returns"] == "float"
    assert COMMANDS["beep"].describe()["returns_unit"] == "s"
    assert COMMANDS["lamp"].describe()["parameters"]["colour"]["choices"] == ["red", "green"]
    assert "choices" not in COMMANDS["lamp"].describe()["parameters"]["raw"]
    assert COMMANDS["lamp"].describe()["parameters"]["colour"]["type"] == "Literal['red', 'green']"
    assert COMMANDS["lamp"].describe()["returns"] == "str | None"


def test_what_says_not_what_it_returns_may_return_anything() -> None:
    def silent(force: int):
        return force

    def nothing(force: int) -> None: ...

    returns = [Command(each.__name__, each, bound=True).returns for each in (silent, nothing)]
    assert returns == ["Any", "None"]


@pytest.mark.parametrize(
    ("name", "body", "arguments"),
    [
        ("beep", None, {}),
        ("beep", {}, {}),
        ("drive", {"left": 1}, {"left": 1}),
        ("drive", {"left": 1, "right": -500}, {"left": 1, "right": -500}),
        ("lamp", {"colour": "red", "raw": b"\x00"}, {"colour": "red", "raw": b"\x00"}),
    ],
)
def test_a_body_that_fits_becomes_keyword_arguments(
    name: str, body: Any, arguments: dict[str, Any]
) -> None:
    assert COMMANDS[name].check(body) == arguments


def test_a_whole_number_is_a_float_where_one_is_wanted() -> None:
    assert commands_of(Rover)["dig"].check({"depth": 2}) == {"depth": 2.0}


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("drive", None, "needs the parameter 'left'"),
        ("drive", {"left": "1"}, r"parameter 'left': Expected `int`, got `str`"),
        ("drive", {"left": 1.5}, r"parameter 'left': Expected `int`, got `float`"),
        ("drive", {"left": True}, r"parameter 'left': Expected `int`, got `bool`"),
        ("drive", {"left": None}, r"parameter 'left': Expected `int`, got `null`"),
        ("drive", {"left": 501}, r"parameter 'left': Expected `int` <= 500"),
        ("drive", {"lefft": 1}, r"no parameter 'lefft' \(did you mean 'left'\?\)"),
        ("drive", {"left": 1, "colour": "red"}, "no parameter 'colour';"),
        ("drive", [1, 2], "by name, not as list"),
        ("drive", 7, "by name, not as int"),
        ("beep", {"for": 3}, "no parameter 'for'"),
        ("lamp", {"colour": "blue"}, "parameter 'colour': Invalid enum value 'blue'"),
        ("lamp", {"colour": "red", "raw": "AA=="}, r"parameter 'raw': Expected `bytes`"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_what_would_be_right(
    name: str, body: Any, said: str
) -> None:
    with pytest.raises(RefusedError, match=said) as refusal:
        COMMANDS[name].check(body)
    assert str(refusal.value).endswith(f"right is {COMMANDS[name]}")


def test_the_signature_is_told_as_people_write_it() -> None:
    assert str(COMMANDS["drive"]) == (
        "drive(left: int [mm/s] -500…500, right: int [mm/s] -500…500 (optional))"
    )


def untyped(self: object, speed) -> None:
    """Lacks a type."""


def many(self: object, *speeds: int) -> None:
    """Takes any number."""


def named(self: object, **speeds: int) -> None:
    """Takes any name."""


def positional(self: object, speed: int, /) -> None:
    """Takes no name."""


@pytest.mark.parametrize("method", [untyped, many, named, positional])
def test_a_signature_that_no_letter_can_fill_is_the_authors_mistake(method: Any) -> None:
    with pytest.raises(TypeError, match=r"command go, parameter speeds?:"):
        Command("go", method)


class Careless:
    """What its author gets told."""

    def wave(self, hand) -> None:
        """Has a parameter without a type."""

    def point(self, where: int, finger: Nope) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Has a parameter of a type that is nowhere."""

    def nod(self, times: msgspec.Nope) -> None:  # type: ignore[name-defined]
        """Has a parameter of a type that a module lacks."""

    def look(self) -> Nope:  # type: ignore[name-defined]  # noqa: F821
        """Returns what is nowhere."""

    def grab(self, *things: int) -> None:
        """Takes any number."""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("wave", r"parameter hand: has no type; write hand: int, .*\(in Careless\.wave\)"),
        ("point", r"parameter finger: the type 'Nope' stands .*write .*\(in Careless\.point\)"),
        ("nod", r"parameter times: the type 'msgspec\.Nope' .*write .*\(in Careless\.nod\)"),
        ("look", r"what it returns: the type 'Nope' .*write .*\(in Careless\.look\)"),
        ("grab", r"parameter things: .*only plain ones can be \(in Careless\.grab\)"),
    ],
)
@pytest.mark.parametrize("bound", [False, True])
def test_its_author_is_told_the_class_the_method_and_the_parameter(
    name: str, told: str, bound: bool
) -> None:
    method = getattr(Careless() if bound else Careless, name)
    with pytest.raises(TypeError, match=rf"^command {name}, {told}$"):
        Command(name, method, bound=bound)
