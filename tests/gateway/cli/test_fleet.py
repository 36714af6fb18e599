"""``gateway fleet`` at a real broker, and what it looks like."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.fleet import render
from gateway.cli.main import main
from tests.lab.mosquitto import Mosquitto
from tests.lab.output import Output
from tests.lab.ports import free_port

ROOT = Path(__file__).parents[3]
DEADLINE = 20.0

NODES: list[dict[str, Any]] = [
    {
        "node": "attic-pi",
        "online": True,
        "cause": "it was started",
        "since": 2_500.0,
        "version": "0.1.0",
        "devices": {"connected": 11, "total": 12},
        "verdict": "warning",
        "problems": [{"what": "arm is failed: no handshake"}, {"what": "the disk is full"}],
    },
    {
        "node": "kitchen\x1b[2J",
        "online": False,
        "cause": "the gateway fell silent: its power or its network?",
        "since": None,
        "version": "",
        "devices": {"connected": None, "total": 3},
        "verdict": None,
        "problems": [],
    },
]

PAGE = r"""NODE            STATE    SINCE  VERSION  DEVICES  REMARKS
attic-pi        online   2h05m  0.1.0      11/12  arm is failed: no handshake;
                                                  the disk is full
kitchen\x1b[2J  offline      -  -            -/3  the gateway fell silent: its
                                                  power or its network?

1 of 2 online"""


def test_a_page_of_80_columns() -> None:
    lines = render(NODES, 10_000.0, columns=80)
    assert "\n".join(lines) == PAGE


def test_a_broker_without_gateways_says_so() -> None:
    assert render([], 0.0) == ["no gateway has ever been at this broker"]


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    with Mosquitto() as broker:
        broker.pub("gateway/attic-pi/status", '{"online": true, "version": "7"}', retain=True)
        yield broker


@pytest.mark.needs("mosquitto")
def test_the_list_once(broker: Mosquitto, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "--broker", broker.url]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[1].split()[:4] == ["attic-pi", "online", "-", "7"]
    assert main(["fleet", "--broker", broker.url, "--json"]) == 0
    (node,) = json.loads(capsys.readouterr().out)["nodes"]
    assert (node["node"], node["online"], node["version"]) == ("attic-pi", True, "7")


@pytest.mark.needs("mosquitto")
def test_the_broker_of_the_configuration_is_asked_where_none_is_named(
    broker: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(f'[routes.cloud]\ntype = "mqtt"\nbroker = "{broker.url}"\n')
    assert main(["fleet", "-c", str(file)]) == 0
    assert "1 of 1 online" in capsys.readouterr().out
    file.write_text("[routes.serial]\n")
    assert main(["fleet", "-c", str(file)]) == 2
    assert "has no route to a broker: give one with --broker" in capsys.readouterr().err


@pytest.mark.needs("mosquitto")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_what_changes_is_shown_until_ctrl_c(broker: Mosquitto, form: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "fleet", "--watch", "--broker", broker.url, *form],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = Output(process)
    try:
        output.wait_for(lambda line: "attic-pi" in line, DEADLINE)
        broker.pub("gateway/attic-pi/status", '{"online": false, "cause": "fog"}', retain=True)
        output.wait_for(lambda line: "fog" in line, DEADLINE)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 130
    finally:
        process.kill()
        process.wait(DEADLINE)
        output.join()
    if form:
        shown = [json.loads(line)["nodes"][0]["online"] for line in output.now()]
        assert shown == [True, False]


def test_what_is_wrong_is_a_line_that_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = f"mqtt://127.0.0.1:{free_port()}"
    for words, status, said in (
        (["--broker", nobody], 1, "nobody listens at"),
        (["--broker", "http://x"], 2, "write mqtt://host:1883"),
        (["--broker", nobody, "--password-file", "/x"], 2, "of no use without username"),
        (["--username", "ada"], 2, "--username is of use with --broker alone"),
        (["-c", str(tmp_path / "none.toml")], 2, "there is no such file"),
    ):
        assert main(["fleet", *words]) == status
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert said in err
