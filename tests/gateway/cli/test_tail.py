"""``gateway tail`` at a running gateway, and what it looks like: publications, then mail."""

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
from gateway.cli.tail import as_json, as_text, mail_as_text
from gateway.client import Client, Copy, Publication
from gateway.errors import LinkLostError
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


# The mail.


def wait_until_watched(house: House, taps: int) -> None:
    """Ask until so many watch: a tail says nothing by itself when it stands."""
    deadline = time.monotonic() + DEADLINE
    with Client(house.socket) as client:
        while True:
            processes = client.ps()["processes"]
            door = next(each for each in processes if each["name"] == "unix_socket")
            if door["statistics"]["taps"] == taps:
                return
            assert time.monotonic() < deadline


def test_the_mail_as_it_flows_letter_by_letter(running_house: House, start: Start) -> None:
    process = start(running_house, "--subject", "led", "--kind", "letter", "--kind", "reply")
    wait_until_watched(running_house, 1)
    with Client(running_house.socket) as client:
        client.ask("board@serial", "led", {"on": True})
    letter, reply = line_of(process), line_of(process)
    assert letter.split()[1:6] == ["letter", "unix_socket", "→", "board@serial", "led"]
    assert '{"on": true}' in letter
    assert reply.split()[1:6] == ["reply", "board@serial", "→", "unix_socket", "led"]
    assert letter.split("[")[1].split()[0] == reply.split("[")[1].split()[0]
    assert (letter[-3:], reply[-3:]) == ("1]\n", "2]\n")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err) == (130, "")
    wait_until_watched(running_house, 0)


def test_the_mail_as_json_with_why_something_failed(running_house: House, start: Start) -> None:
    process = start(running_house, "--to", "unix_socket", "--kind", "bounce", "--json")
    wait_until_watched(running_house, 1)
    with Client(running_house.socket) as client, pytest.raises(LinkLostError):
        client.ask("board@serial", "broken")
    said = json.loads(line_of(process))
    assert (said["kind"], said["sender"], said["dropped"]) == ("bounce", "board@serial", 0)
    assert said["body"]["code"] == "link_lost"
    assert said["thread_index"] == 2


def test_without_anything_it_shows_all_kinds(running_house: House, start: Start) -> None:
    process = start(running_house, "--json")
    wait_until_watched(running_house, 1)
    with Client(running_house.socket) as client:
        client.ask("board@serial", "led", 1)
    kinds: set[str] = set()
    while not {"letter", "reply", "publication"} <= kinds:
        kinds.add(json.loads(line_of(process))["kind"])


def test_a_pattern_is_for_topics_and_not_for_mail(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tail", "devices/#", "--to", "main"]) == 2
    assert "a PATTERN is for topics" in capsys.readouterr().err


def copied(**fields: object) -> Copy:
    moment = time.mktime((2026, 3, 1, 9, 5, 7, 0, 0, -1)) + 0.0425
    plain = Copy(
        "letter", moment, "main", "board@serial", "led", 1, "a-1", "a-1", 1, "", "", False, "", 0
    )
    return plain._replace(**fields)  # type: ignore[arg-type]


def test_a_letter_is_one_line() -> None:
    assert mail_as_text(copied()) == (
        "09:05:07.042  letter       main → board@serial       led               1  [a-1 1]"
    )


def test_what_was_cut_or_not_delivered_says_so() -> None:
    line = mail_as_text(copied(is_cut=True, error="mailbox_full: its reader is stuck"))
    assert line.endswith("1 (cut)  [a-1 1]  not delivered: mailbox_full: its reader is stuck")


def test_mail_that_a_terminal_would_obey_is_not_printed_either() -> None:
    for field in ("sender", "recipient", "subject", "body", "error", "thread_id"):
        assert mail_as_text(copied(**{field: "\x1b[2J"})).isprintable()
