"""``gateway tail`` at a running gateway, and what it looks like."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.cli import main as cli
from gateway.cli.main import main
from gateway.cli.tail import as_json, as_text
from gateway.client import Publication
from tests.gateway.cli.house import DEADLINE, House

ROOT = Path(cli.__file__).parents[2]

BUFFERED = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start ``gateway tail`` as a user does."""
    started: list[subprocess.Popen[str]] = []

    def start(house: House, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "tail", *words],
            cwd=ROOT,
            env={**BUFFERED, "GATEWAY_SOCKET": str(house.socket)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=DEADLINE)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_one_line_each_as_it_comes_until_ctrl_c(running_house: House, start: Start) -> None:
    process = start(running_house, "devices/board/#")
    first, *others = (line_of(process).split(None, 2) for _ in range(5))
    assert first[1] == "devices/board/state"
    assert json.loads(first[2])["connected"] is True
    for moment, topic, body in others:
        time.strptime(moment.split(".")[0], "%H:%M:%S")
        assert (topic, json.loads(body)) == ("devices/board/analogue", {"millivolts": 1234})
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err) == (130, "")


def test_as_json_lines(running_house: House, start: Start) -> None:
    process = start(running_house, "devices/+/state", "--json")
    said = [json.loads(line_of(process)) for _ in range(2)]
    assert {line["topic"] for line in said} == {"devices/board/state", "devices/scanner/state"}
    assert all(line["retained"] and line["sender"] == "serial" for line in said)


def test_a_gateway_that_ends_is_said(tmp_path: Path, start: Start) -> None:
    with House(tmp_path) as house:
        process = start(house, "devices/board/state")
        assert "healthy" in line_of(process)
        house.stop()
        _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert "hung up: it was stopped" in err
    assert err.count("\n") == 1


def test_a_pattern_that_is_none_is_one_line(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tail", "a/#/b"]) == 1
    assert capsys.readouterr() == (
        "",
        "gateway tail: 'a/#/b' is no pattern: # stands at the end\n",
    )


def published(topic: str, body: object) -> Publication:
    moment = time.mktime((2026, 3, 1, 9, 5, 7, 0, 0, -1)) + 0.0425
    return Publication(topic, body, moment, "serial", False, 0)


def test_bodies_stand_in_a_column() -> None:
    line = as_text(published("devices/a/v", {"mv": 3, "raw": b"\0"}), 14)
    assert line == '09:05:07.042  devices/a/v     {"mv": 3, "raw": {"$bytes": "AA=="}}'


def test_on_a_terminal_a_long_body_goes_on_below() -> None:
    body = {"state": "absent", "cause": "nothing is plugged in at /dev/ttyACM7", "since": 1.5}
    page = as_text(published("devices/scanner/state", body), 24, 80).split("\n")
    assert page == [
        "09:05:07.042  devices/scanner/state",
        '              {"state": "absent", "cause": "nothing is plugged in at',
        '              /dev/ttyACM7", "since": 1.5}',
    ]


def test_nothing_that_a_terminal_would_obey_is_printed() -> None:
    assert as_text(published("a\x1b[2J", "\x9b"), 0).isprintable()


def test_a_gap_is_part_of_the_json() -> None:
    said = json.loads(as_json(published("t", b"\1")._replace(dropped=3)))
    assert (said["dropped"], said["body"]) == (3, {"$bytes": "AQ=="})
