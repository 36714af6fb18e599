"""``gateway log-level`` at a running gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from gateway.cli.log_level import as_text
from gateway.cli.main import main
from gateway.client import Client
from tests.gateway.cli.house import House


@pytest.fixture(autouse=True)
def as_it_was(house: House) -> Iterator[None]:
    yield
    with Client(house.socket) as client:
        for name in ("", "serial", "routes"):
            client.log_level("default", name)


def test_levels_are_set_shown_and_taken_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log-level", "serial", "debug"]) == 0
    assert main(["log-level", "routes", "error"]) == 0
    capsys.readouterr()
    assert main(["log-level", "warning"]) == 0
    assert capsys.readouterr().out == (
        "everything  warning\nserial      debug\nroutes      error\n"
    )
    assert main(["log-level", "serial", "default", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "default": "warning",
        "processes": {},
        "loggers": {"routes": "error"},
    }


def test_without_words_it_only_tells(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log-level"]) == 0
    assert capsys.readouterr().out == "everything  as configured\n"


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (["loud"], 2, "'loud' is no level: use debug"),
        (["serial", "x", "debug"], 2, "one name and one level"),
        (["serail", "debug"], 1, "did you mean 'serial'?"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    words: list[str], status: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["log-level", *words]) == status
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert why in err


def test_names_stand_in_a_column() -> None:
    shown = as_text({"default": "", "processes": {"a_long_process": "info"}, "loggers": {}})
    assert shown == "everything      as configured\na_long_process  info"
