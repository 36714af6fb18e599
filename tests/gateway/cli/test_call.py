"""``gateway call`` at a running gateway."""

from __future__ import annotations

import ast
import json
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from gateway.cli import call as module
from gateway.cli.call import value_of
from gateway.cli.main import main, make_parser
from gateway.errors import BodyError
from gateway.mail.signature import Unit, command
from gateway.process.process import Process
from gateway.rpc import serve
from routes.unix_socket.router import UnixSocketRouter
from routes.unix_socket.settings import Settings
from tests.lab.little_bus import LittleBus

DEADLINE = 10.0


class Arm:
    """What a robot has."""

    @command
    def grip(
        self, force: Annotated[int, Unit("N"), Meta(ge=1, le=20)], *, hard: bool = False
    ) -> str:
        """Close the hand.

        Never harder than it must be.
        """
        return f"{force} {hard}"

    @command
    def say(self, text: str, how: Literal["loud", "low"] = "low") -> list[str]:
        """Speak."""
        return [text, how]

    @command
    def plan(self, way: dict[str, Any]) -> dict[str, Any]:
        """Go somewhere."""
        return way

    @command
    def scan(self, most: int = 3) -> Generator[int, None, str]:
        """Look around."""
        yield from range(most)
        return "all seen"

    @command
    def crush(self) -> None:
        """Break."""
        raise ZeroDivisionError("the egg is broken")

    @command
    def nothing(self) -> None:
        """Do so."""

    @command
    def sleep(self) -> None:
        """Answer never."""
        threading.Event().wait(0.5)


class Robot(Process):
    """Serves an arm."""

    def birth(self) -> None:
        serve(self, Arm(), "arm", workers=2)


class Plain(Process):
    """Answers one subject, and is no API."""

    def birth(self) -> None:
        self.add_filter(callback=self._greet, subject="^greet$", kind="^letter$")

    def _greet(self, message: Any) -> None:
        self.reply(message, message.body)


Call = Callable[..., int]


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("house")
    with LittleBus(folder / "bus") as bus:
        bus.run(Robot, "robot")
        bus.run(Plain, "plain")
        bus.run(
            UnixSocketRouter,
            "unix_socket",
            settings=Settings(),
            node="lab",
            sockets=str(folder),
        )
        yield folder / "gateway.sock"


@pytest.fixture
def call(socket: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str) -> tuple[int, str, str]:
        status = main(["call", "--socket", str(socket), *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_arguments_come_in_their_order_and_by_name(call: Any) -> None:
    assert call("robot", "arm.grip", "3") == (0, "3 False\n", "")
    assert call("robot", "arm.grip", "force=4", "hard=true") == (0, "4 True\n", "")
    assert call("robot", "arm.grip", "4", "hard=on") == (0, "4 True\n", "")


def test_text_is_text_where_that_is_wanted(call: Any) -> None:
    assert call("robot", "arm.say", "12", "loud")[1] == '["12", "loud"]\n'
    assert call("robot", "arm.say", "text={x}")[1] == '["{x}", "low"]\n'
    assert call("robot", "arm.say", '"a=b"')[1] == '["a=b", "low"]\n'
    assert call("robot", "arm.plan", '{"from": [0, 0]}')[1] == '{"from": [0, 0]}\n'


def test_an_answer_for_programs_is_json(call: Any) -> None:
    assert call("robot", "arm.grip", "3", "--json") == (0, '{"body":"3 False"}\n', "")
    assert call("robot", "arm.nothing")[1] == "done\n"


def test_what_is_yielded_is_printed_part_by_part(call: Any) -> None:
    assert call("robot", "arm.scan") == (0, "0\n1\n2\nall seen\n", "")
    assert (
        call("robot", "arm.scan", "most=1", "--json")[1] == '{"part":0}\n{"returned":"all seen"}\n'
    )


def test_what_goes_wrong_is_one_line_and_a_status(call: Any) -> None:
    status, out, err = call("robot", "arm.crush")
    assert (status, out) == (1, "")
    assert err == "gateway call: arm.crush raised ZeroDivisionError: the egg is broken\n"
    status, out, err = call("robot", "arm.gripp", "3")
    assert (status, "did you mean 'arm.grip'" in err) == (1, True)
    status, out, err = call("robot", "arm.grip", "soft")
    assert (status, "right is grip(force: int [N] 1…20" in err) == (1, True)
    status, out, err = call("robot", "arm.grip", "3", "force=3", "--json")
    assert (status, json.loads(out)["error"]["code"], err) == (1, "refused", "")
    status, out, err = call("nobody", "x")
    assert (status, "nobody" in err) == (1, True)
    status, out, err = call("robot", "arm._secret")
    assert (status, "nothing to call" in err) == (1, True)
    status, out, err = call("robot", "arm.sleep", "--timeout", "0.05")
    assert (status, "did not answer" in err) == (1, True)


def test_json_with_a_mistake_is_not_sent_as_text(call: Any) -> None:
    status, _, err = call("robot", "arm.plan", "{from: 1}")
    assert (status, "argument 1 is no JSON" in err) == (1, True)


def test_who_is_no_api_can_be_called_all_the_same(call: Any) -> None:
    assert call("plain", "greet", "name=7")[1] == '{"name": 7}\n'


def test_without_a_method_it_lists_what_can_be_called(call: Any) -> None:
    status, out, err = call("robot")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    at = lines.index("arm.grip(force: int [N] 1…20, *, hard: bool (optional)) -> str")
    assert lines[at + 1 : at + 4] == [
        "    Close the hand.",
        "",
        "    Never harder than it must be.",
    ]
    assert any(line.startswith("arm.scan(most: int (optional))") for line in lines)


def test_the_beginning_of_a_path_lists_what_stands_below(call: Any) -> None:
    assert call("robot", "arm") == call("robot")


def test_the_list_for_programs_is_the_map(call: Any) -> None:
    told = json.loads(call("robot", "--json")[1])
    assert told["arm.grip"]["parameters"]["hard"] == {
        "type": "bool",
        "unit": "",
        "required": False,
        "keyword_only": True,
    }


def test_the_list_of_who_is_no_api_is_an_error(call: Any) -> None:
    status, out, err = call("plain")
    assert (status, out) == (1, "")
    assert "'plain' serves no API: write it a letter (gateway send), or mark its methods" in err
    assert "$api" not in err


def test_a_stub_is_a_module(call: Any) -> None:
    status, out, _ = call("robot", "--stub")
    assert status == 0
    assert [each.name for each in ast.parse(out).body if isinstance(each, ast.ClassDef)] == [
        "RobotArm",
        "Robot",
    ]


@pytest.mark.parametrize(
    ("word", "wanted", "value"),
    [
        ("12", "", 12),
        ("twelve", "", "twelve"),
        ("12", "str", "12"),
        ('"12"', "str", "12"),
        ('"half', "str", '"half'),
        ("null", "str | None", None),
        ("null", "str", "null"),
        ("off", "bool", False),
        ("off", "int", "off"),
        ("-5", "int", -5),
        ("ab", "bytes", b"ab"),
        ('{"$bytes": "AP8="}', "bytes", b"\x00\xff"),
        ("[1, 2]", "list[int]", [1, 2]),
    ],
)
def test_a_word_is_what_is_wanted(word: str, wanted: str, value: object) -> None:
    assert value_of(word, wanted) == value


def test_a_word_that_begins_as_json_is_no_text_by_mistake() -> None:
    with pytest.raises(BodyError, match="way is no JSON"):
        value_of("[1,", "list[int]", "way")


@pytest.mark.parametrize(
    "line",
    [
        "robot noann 5 -3 x=1 --timeout 3 --json",
        "--timeout 3 --json robot noann 5 -3 x=1",
        "robot noann --timeout 3 5 --json -3 x=1",
        "robot --json noann 5 --timeout=3 -3 x=1",
        "robot --json noann --timeout 3 -- 5 -3 x=1",
    ],
)
def test_options_may_stand_between_the_words(line: str) -> None:
    found = make_parser("call", module).parse_args(["call", *line.split()])
    assert (found.address, found.method, found.words) == ("robot", "noann", ["5", "-3", "x=1"])
    assert (found.timeout, found.json, found.debug) == (3.0, True, False)


def test_words_behind_two_dashes_are_no_options() -> None:
    found = make_parser("call", module).parse_args(["call", "robot", "say", "--", "--json"])
    assert (found.words, found.json) == (["--json"], False)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "required: ADDRESS\n"),
        ("robot --tiemout 3 5", "unrecognized arguments: --tiemout"),
        ("robot noann --timeout", "argument --timeout: expected one argument\n"),
    ],
)
def test_a_wrong_command_line_is_told_how_to_call(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        make_parser("call", module).parse_args(["call", *line.split()])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("usage: gateway call [-h]")
    assert said in told
