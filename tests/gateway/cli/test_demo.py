"""The demonstration as its users have it: a command in a subprocess."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import demo
from gateway.cli.demonstration.loop_thread import LoopThread
from gateway.cli.demonstration.storyteller import Storyteller
from gateway.cli.main import main
from tests.lab.mosquitto import Mosquitto
from tests.lab.mqtt_ends import Mute

ROOT = Path(demo.__file__).parents[2]
DEADLINE = 40.0

TOLD = [
    "started",
    "broker",
    "witness",
    "plugged_in",
    "found",
    "handshake",
    *["reading"] * 5,
    "telemetry",
    "online",
    *["heard"] * 3,
    "call",
    "reply",
    "led",
    "unplugged",
    "disconnected",
    "retained",
    "plugged_in",
    "connected",
    "retained",
    "told",
]

Event = dict[str, Any]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``gateway demo`` with a temporary folder of its own, ``tmp_path``."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "demo", *arguments],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=DEADLINE)


def read_until(process: subprocess.Popen[str], event: str) -> list[str]:
    """Return the lines up to ``event``, or to the end."""
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        if json.loads(line)["event"] == event:
            break
    return lines


def finish(process: subprocess.Popen[str]) -> tuple[int, list[str], str]:
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out.splitlines(), err


def events_of(lines: list[str]) -> list[Event]:
    return [json.loads(line) for line in lines]


def nothing_runs(group: int) -> bool:
    """Return whether the session of a demonstration has no process left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def check_story(events: list[Event], node: str) -> None:
    names = [event["event"] for event in events if event["event"] != "status"]
    assert names == [*TOLD, "summary"]
    clock = [event["seconds"] for event in events]
    assert clock == sorted(clock)
    of = {event["event"]: event for event in events}
    assert of["handshake"]["model"] == "bench-board"
    assert json.loads(of["reply"]["payload"]) == {"ok": True, "result": True, "id": 1}
    assert of["reply"]["topic"].startswith(f"gateway/{node}")
    assert of["led"]["lit"] is True
    assert of["disconnected"]["cause"]
    assert [each["connected"] for each in events if each["event"] == "retained"] == [False, True]
    summary = of["summary"]
    assert summary["finished"] is True
    assert (summary["reconnections"], summary["calls"]) == (1, 1)
    accounted = sum(summary[key] for key in ("delivered", "dropped", "queued", "other"))
    assert summary["letters"] == accounted
    assert summary["heard"] > 20


@pytest.mark.paced
def test_it_tells_the_whole_story_within_20_seconds(start, tmp_path):
    process = start("--seconds", "20", "--json")
    status, lines, err = finish(process)
    assert (status, err) == (0, "")
    events = events_of(lines)
    check_story(events, "demo")
    assert [event["event"] for event in events].count("status") >= 1
    assert 19.5 < events[-1]["seconds"] < 21
    assert nothing_runs(process.pid)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs("mosquitto")
def test_it_takes_a_broker_of_the_users_own_and_leaves_nothing_there(start):
    with Mosquitto() as broker:
        process = start("--json", "--broker", broker.url)
        told = read_until(process, "told")
        process.send_signal(signal.SIGINT)
        status, rest, err = finish(process)
        assert (status, err) == (0, "")
        events = events_of(told + rest)
        check_story(events, "demo-")
        assert events[1] == {**events[1], "event": "broker", "url": broker.url, "own": False}
        with broker.listen("gateway/#", "end") as heard:
            broker.pub("end", "1")
            assert [message.topic for message in heard.wait_for_count(1)] == ["end"]


@pytest.mark.parametrize("event", ["started", "handshake", "reading", "unplugged"])
def test_ctrl_c_in_the_middle_leaves_nothing_behind(start, tmp_path, event):
    process = start("--json")
    read_until(process, event)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    status, lines, err = finish(process)
    assert (status, err) == (130, "")
    assert events_of(lines)[-1] == {**events_of(lines)[-1], "event": "summary", "finished": False}
    assert nothing_runs(process.pid)
    assert list(tmp_path.iterdir()) == []


def test_term_ends_it_in_order_too(start, tmp_path):
    process = start("--json")
    read_until(process, "handshake")
    process.terminate()
    status, _, err = finish(process)
    assert (status, err) == (130, "")
    assert nothing_runs(process.pid)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seconds", ["0", "2"])
def test_a_time_that_is_too_short_for_the_story_is_said_so(start, seconds):
    status, lines, err = finish(start("--seconds", seconds))
    assert (status, err) == (0, "")
    assert any("The story is not finished: its time was over" in line for line in lines)


def test_a_terminal_that_knows_no_unicode_is_told_it_all_the_same(start):
    process = start("--seconds", "0.5", PYTHONIOENCODING="ascii")
    status, lines, err = finish(process)
    assert (status, err) == (0, "")
    assert any("not finished" in line and line.endswith("?.") for line in lines)


def test_a_broker_that_is_not_there_is_one_clear_line(start, tmp_path):
    process = start("--broker", "mqtt://127.0.0.1:1", "--seconds", "20")
    status, lines, err = finish(process)
    assert status == 1
    assert "no broker at mqtt://127.0.0.1:1: nobody listens there" in lines[-1]
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_something_else_on_the_brokers_port_is_one_clear_line(start):
    with Mute() as mute:
        status, lines, err = finish(start("--broker", mute.url, "--json"))
        last = events_of(lines)[-1]
        assert (status, last["event"], last["chapter"]) == (1, "failed", "the broker")
        assert "has said nothing for 3 s" in last["reason"]
        assert "Traceback" not in err


@pytest.mark.parametrize("url", ["http://x", "localhost:1883", "mqtt://user:secret@x"])
def test_what_is_no_broker_is_refused_before_anything_starts(capsys, url):
    assert main(["demo", "--broker", url]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "secret" not in err
    assert err.startswith("gateway demo: ")


@pytest.mark.parametrize("seconds", ["soon", "-1", "nan", "inf"])
def test_what_is_no_number_of_seconds_is_refused(capsys, seconds):
    with pytest.raises(SystemExit) as ended:
        main(["demo", f"--seconds={seconds}"])
    assert ended.value.code == 2
    assert "is no number of seconds" in capsys.readouterr().err


def test_without_amqtt_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["demo"]) == 1
    assert "hardware-gateway[demo]" in capsys.readouterr().err


def test_a_reader_who_has_had_enough_ends_it(start, tmp_path):
    process = start("--seconds", "20")
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    assert process.wait(DEADLINE) == 141
    assert process.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []


# How it is told.


class Terminal(StringIO):
    """Says that it is a terminal; 80 columns, since it has no size of its own."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def handlers_as_they_were() -> Iterator[None]:
    """Put back what the command changes in its own OS process."""
    before = signal.getsignal(signal.SIGTERM), sys.excepthook
    yield
    signal.signal(signal.SIGTERM, before[0])
    sys.excepthook = before[1]


@pytest.fixture
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_colours_are_for_terminals_and_those_who_want_them(eighty_columns):
    def told(stream: StringIO, **environment: str) -> str:
        Storyteller(stream, lambda: 1.0, environment=environment).tell("led", "LED", "is lit")
        return stream.getvalue()

    plain = "  1.00  LED             is lit\n"
    assert told(StringIO()) == plain
    assert told(Terminal(), NO_COLOR="1") == plain
    assert told(Terminal(), TERM="dumb") == plain
    assert "\033[" in told(Terminal(), TERM="xterm")


def test_on_a_terminal_nothing_is_wider_than_it(eighty_columns):
    stream = Terminal()
    storyteller = Storyteller(stream, lambda: 1.0, environment={"NO_COLOR": "1"})
    storyteller.tell("failed", "failed", "what people must read is never cut " * 4)
    storyteller.show('{"a":1}' * 40)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) == 80
    assert stream.getvalue().count("never") == 4
    assert lines[-1].endswith("…")


def test_a_program_is_told_facts_and_nothing_else():
    stream = StringIO()
    storyteller = Storyteller(stream, lambda: 1.23456, as_json=True)
    storyteller.say("hello")
    storyteller.show("more")
    storyteller.tell("led", "LED", "is lit", lit=True)
    assert stream.getvalue() == '{"seconds": 1.235, "event": "led", "lit": true}\n'


def test_a_loop_that_is_stopped_takes_no_more_coroutines():
    async def one() -> int:
        return 1

    loop = LoopThread("test")
    loop.start()
    assert loop.submit(one()).result(5.0) == 1
    assert loop.stop()
    with pytest.raises(RuntimeError, match="does not run"):
        loop.submit(one())
