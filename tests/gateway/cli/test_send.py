"""``gateway send`` at a running gateway."""

from __future__ import annotations

import json

import pytest

from gateway.cli.main import main
from gateway.cli.send import parse_body, readable
from gateway.errors import BodyError

pytestmark = pytest.mark.usefixtures("house")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["board@serial", "led"], "done"),
        (["board@serial", "led", '{"on": true}'], '{"was": {"on": true}}'),
        (["board@serial", "led", "-5"], '{"was": -5}'),
        (["board@serial", "led", "high"], '{"was": "high"}'),
        (["main", "salutation", "you"], "Hello you!"),
        (["main", "salutation", "grün"], "Hello grün!"),
        (["board@serial", "paint"], r"'red \x1b[31m'"),
    ],
)
def test_the_answer_is_printed(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["send", *words]) == 0
    assert capsys.readouterr() == (f"{said}\n", "")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["board@serial", "broken"], "the cable is out: plug it in again"),
        (["board@serail", "led"], "did you mean 'serial'?"),
        (["@", "led"], "is no address"),
        (["board@serial", "nonsense"], "has no filter for 'nonsense'"),
        (["board@serial", "hang", "--timeout", "0.2"], "did not answer 'hang' within 0.2 s"),
        (["fragile", "touch"], "'fragile' died before it answered 'touch'"),
        (["board@serial", "led", '{"on": tru}'], "BODY is no JSON"),
    ],
)
def test_what_failed_is_one_line_and_a_status(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["send", *words]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert why in err


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", "board@serial", "led", "[1, 2.5]", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"body": {"was": [1, 2.5]}}
    assert main(["send", "board@serial", "broken", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["error"]["code"] == "link_lost"


@pytest.mark.parametrize("seconds", ["0", "-1", "601", "nan", "soon"])
def test_a_timeout_that_is_none_is_a_mistake(
    seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["send", "main", "salutation", "--timeout", seconds])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert f"--timeout: {seconds!r} is no number of seconds above 0, 600 at the most" in told


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("null", None),
        ("true", True),
        ("1e3", 1000.0),
        ('"12"', "12"),
        ('{"$bytes": "AP8="}', b"\x00\xff"),
        ("", ""),
        ("NaN", "NaN"),
        ("12 volts", "12 volts"),
    ],
)
def test_what_is_no_json_is_text(text: str, body: object) -> None:
    assert parse_body(text) == body


@pytest.mark.parametrize("text", ["{on: 1}", "[1,", '"half', "123456789012345678901234567890"])
def test_json_with_a_mistake_is_not_sent_as_text(text: str) -> None:
    with pytest.raises(BodyError, match="in quotes"):
        parse_body(text)


def test_nothing_that_a_terminal_would_obey_is_printed() -> None:
    assert readable("two\nlines") == "two\nlines"
    assert readable("\x1b[2J") == r"'\x1b[2J'"
    assert readable({"a": "\x9b2J"}) == r'{"a": "\u009b2J"}'
    assert readable(b"\0") == '{"$bytes": "AA=="}'
