"""``gateway ps`` at a running gateway, and what it looks like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus.ledger import Balance
from gateway.cli.main import main
from gateway.cli.ps import render
from tests.gateway.cli.house import House

REPORT: dict[str, Any] = {
    "node": "kitchen-pi",
    "version": "0.1.0",
    "time": 10_000.0,
    "processes": [
        {
            "name": "serial",
            "mode": "fork",
            "state": "living",
            "cause": "its birth is over",
            "since": 2_500.0,
            "pid": 4711,
            "restarts": 0,
            "answers": True,
            "statistics": {},
            "ledger": {
                "accepted": 1_246_921,
                "delivered": 1_234_567,
                "bounced": 12_345,
                "queued": 3,
                "dropped": 1,
                "expired": 2,
                "lost_with_reader": 3,
                "in_doubt": 1,
            },
        },
        {
            "name": "unix_socket",
            "mode": "fork",
            "state": "living",
            "since": 9_999.0,
            "pid": 32768,
            "restarts": 12,
            "answers": False,
            "statistics": None,
            "ledger": {"accepted": 40, "delivered": 8, "queued": 32},
        },
        {
            "name": "lab\x1b[2J",
            "mode": "thread",
            "state": "failed",
            "cause": "KeyError: 'left'",
            "since": 0.0,
            "pid": 0,
            "restarts": 0,
            "answers": False,
            "statistics": None,
        },
    ],
    "routes": [
        {
            "name": "mqtt",
            "state": "waiting",
            "cause": "localhost:1883 refuses the connection: is the broker running there?",
            "since": 9_925.0,
        }
    ],
    "devices": [],
}

PAGE = r"""node kitchen-pi, version 0.1.0

PROCESS      MODE    STATE      UP  AGAIN    PID  MAIL  READ   BACK  WAITS  LOST
serial       fork    living  2h05m      0   4711  1.2M  1.2M  12.3k      3     7
unix_socket  fork    living     1s     12  32768    40     8      0     32     0
lab\x1b[2J   thread  failed      -      0      -     0     0      0      0     0

unix_socket is not answering: it is busy or stuck, and its mail waits
lab\x1b[2J failed: KeyError: 'left'

ROUTE  STATE    SINCE  CAUSE
mqtt   waiting  1m15s  localhost:1883 refuses the connection: is the broker
                       running there?

no devices"""


def test_a_page_of_80_columns() -> None:
    lines = render(REPORT, 80)
    assert "\n".join(lines) == PAGE
    assert max(map(len, lines)) <= 80


SOME = st.integers(0, 99)


BESIDES = {"refused": SOME, "garbage": SOME, "in_doubt": st.integers(0, 3), "unsent": SOME}


@given(st.tuples(*[SOME] * 6), st.fixed_dictionaries(BESIDES))
def test_whatever_became_of_the_mail_is_in_one_column(
    became: tuple[int, ...], besides: dict[str, int]
) -> None:
    ledger = Balance(sum(became), *became, **besides)
    assert ledger.is_balanced
    lines = render({"processes": [{"name": "worker", "mode": "fork", "ledger": ledger._asdict()}]})
    header, row = (line.split()[-5:] for line in lines[2:4])
    shown = dict(zip(header, map(int, row), strict=True))
    assert shown["MAIL"] == shown["READ"] + shown["BACK"] + shown["WAITS"] + shown["LOST"]
    assert shown["READ"] == ledger.delivered
    assert shown["BACK"] == ledger.bounced
    assert shown["WAITS"] == ledger.queued


def test_the_page_adds_up() -> None:
    for process in REPORT["processes"]:
        ledger = Balance(**process.get("ledger", {}))
        assert ledger.is_balanced, process["name"]


def test_without_a_terminal_no_line_is_broken() -> None:
    assert "mqtt   waiting  1m15s  localhost:1883 refuses the connection: is the broker" in next(
        line for line in render(REPORT) if line.endswith("running there?")
    )


def test_a_gateway_that_runs(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ps"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = {words[0]: words for line in out.splitlines() if (words := line.split())}
    assert out.startswith("node lab, version ")
    assert rows["serial"][1:3] == ["fork", "living"]
    assert "busy is not answering: it is busy or stuck" in out
    assert rows["unix_socket"][1] == "connected"
    assert rows["main"][1:3] == ["thread", "living"]
    assert rows["board"][1] == "healthy"
    assert rows["scanner"][1] == "absent"
    assert "nothing is plugged in at /dev/ttyACM7" in out
    assert "brief stopped: it ended by itself" in out


def test_as_json(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ps", "--json", "--socket", str(house.socket)]) == 0
    report = json.loads(capsys.readouterr().out)
    processes = {process["name"]: process for process in report["processes"]}
    assert {name: process["answers"] for name, process in processes.items()} == {
        "serial": True,
        "busy": False,
        "fragile": True,
        "brief": False,
        "unix_socket": True,
        "main": True,
    }
    assert processes["serial"]["statistics"]["mail"]["accepted"] >= 1
    assert processes["serial"]["ledger"]["accepted"] >= 1
    assert [device["connected"] for device in report["devices"]] == [True, False]
    assert report["routes"][0]["name"] == "unix_socket"


def test_where_nobody_listens_it_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ps", "--socket", str(tmp_path / "none.sock")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "is the gateway running?" in err
