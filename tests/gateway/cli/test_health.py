"""``gateway health`` at a running gateway, as a user starts it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.cli import health
from gateway.cli.main import main
from gateway.client import Client, Publication
from gateway.errors import AddressError, CallTimeoutError, RecipientGoneError, RefusedError
from tests.lab.os_processes import until

ROOT = Path(__file__).parents[3]
DEADLINE = 30.0


@contextmanager
def running(
    folder: Path, settings: str, program: Sequence[str] = ("-m", "gateway")
) -> Iterator[Path]:
    """Run a gateway with a front door and this ``[health]``; give its socket."""
    config = folder / "gateway.toml"
    config.write_text(
        f'[gateway]\nnode = "lab"\nsockets = "{folder}"\n'
        f"[routes.unix_socket]\n[health]\n{settings}\n"
    )
    process = subprocess.Popen(
        [sys.executable, *program, "run", "-c", str(config)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        socket = folder / "gateway.sock"
        assert process.stderr is not None
        # It says so in its log; what comes after that are a few lines, which the pipe holds.
        assert any("it listens at" in line for line in iter(process.stderr.readline, ""))
        yield socket
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE)


@pytest.fixture(scope="module")
def door(
    tmp_path_factory: pytest.TempPathFactory, private_temporary_folder: object
) -> Iterator[Path]:
    with running(tmp_path_factory.mktemp("h"), "period = 1.0\nmin_gap = 0.5") as socket:
        yield socket


def test_it_prints_a_page(door: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def page() -> str:
        assert main(["health", "--socket", str(door)]) == 0
        return capsys.readouterr().out

    assert page().startswith("lab: ")
    # It listens before it has said so to everybody.
    assert until(lambda: "unix_socket  connected" in page(), DEADLINE)


def test_it_prints_json(door: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health", "--json", "--socket", str(door)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["node"] == "lab"
    assert report["machine"]["uptime"]["quality"] == "good"


@contextmanager
def watching(door: Path, *words: str, stdout: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "health", "--watch", *words, "--socket", str(door)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        stdout=stdout,
    )
    try:
        yield process
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 130
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE)


def test_it_watches_line_by_line_for_programs(door: Path) -> None:
    with watching(door, "--json", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        times = [json.loads(process.stdout.readline())["time"] for _ in range(3)]
    assert times == sorted(set(times))


def test_on_a_terminal_each_report_takes_the_place_of_the_one_before(door: Path) -> None:
    ours, theirs = pty.openpty()
    # The shortest report, of a machine that tells little, is longer than this.
    termios.tcsetwinsize(theirs, (12, 80))
    try:
        with watching(door, stdout=theirs):
            os.close(theirs)
            theirs = -1
            said = b""
            while said.count(b"\x1b[H") < 3:
                said += os.read(ours, 65_536)
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    begin, *pages = said.decode(errors="replace").split("\x1b[H")
    assert begin == "\x1b[2J"
    for page in pages[:2]:
        lines = page.replace("\x1b[K", "").splitlines()
        assert lines[0].startswith("lab: ")
        # One that is longer than the screen would push its first line out of it.
        assert page.count("\n") < 12
        assert lines[-2].startswith("… ")


def test_a_gateway_that_does_not_report_is_told_from_one_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(tmp_path, "enabled = false") as socket:
        assert main(["health", "--socket", str(socket)]) == 1
        assert "enabled = true under [health]" in capsys.readouterr().err
        assert main(["health", "--watch", "--socket", str(socket)]) == 1
        assert "enabled = true under [health]" in capsys.readouterr().err
    assert main(["health", "--socket", str(socket)]) == 1
    assert "[health]" not in capsys.readouterr().err


ILL = """
import sys
from gateway.cli.main import main
from gateway.watchdog.process import Health

born = Health.birth

def birth(self):
    born(self)
    raise RuntimeError("it was born ill")

Health.birth = birth
sys.exit(main(sys.argv[1:]))
"""


def test_of_one_whose_reporter_was_given_up_on_it_is_told_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(tmp_path, "", ("-c", ILL)) as socket:
        with (
            Client(str(socket)) as client,
            client.tail("processes/health/state", patience=DEADLINE) as moves,
        ):
            assert any(move.body["state"] == "degraded" for move in moves)
        for words in (["health"], ["health", "--watch"]):
            assert main([*words, "--socket", str(socket)]) == 1
            said = capsys.readouterr().err
            assert "RuntimeError: it was born ill" in said
            assert "enabled = true" not in said


class Guest:
    """A client that may look and not write; ``reports`` is what is retained."""

    def __init__(self, *reports: dict[str, Any], reporter: dict[str, Any] | None = None) -> None:
        self.reports = iter(reports)
        self.reporter = reporter

    def ps(self) -> dict[str, Any]:
        crew: dict[str, Any] = {"name": "crew", "state": "living"}
        return {"processes": [crew, {"name": "health", **self.reporter}] if self.reporter else []}

    def ask(self, to: str, subject: str) -> Any:
        raise RefusedError("user 1000 may not write 'report' to 'health'")

    @contextmanager
    def tail(self, pattern: str, patience: float) -> Iterator[Any]:
        assert pattern == "health/whole"
        assert patience > 0
        yield self

    def __next__(self) -> Any:
        for report in self.reports:
            return Publication("health/whole", report, 0.0, "health", True, 0)
        raise CallTimeoutError("nothing was published")


def test_an_observer_is_shown_the_report_that_was_published_last() -> None:
    assert health._ask(cast(Client, Guest({"node": "lab"}))) == {"node": "lab"}


def test_an_observer_is_told_where_none_is_published() -> None:
    with pytest.raises(AddressError, match="does not report"):
        health._ask(cast(Client, Guest()))


class Owner(Guest):
    """One that may write, of whose letters none is taken."""

    def ask(self, to: str, subject: str) -> Any:
        raise AddressError("nobody here is called 'health'")


@pytest.mark.parametrize("client", [Guest, Owner])
@pytest.mark.parametrize(
    ("reporter", "told"),
    [
        (
            {"state": "degraded", "cause": "ill"},
            r"too often \(ill\).* once a minute.* log says more",
        ),
        ({"state": "failed", "cause": "ill"}, r"is failed \(ill\): ask again; .* log says more"),
        ({"state": "stopped", "cause": ""}, r"is stopped .*ask again"),
        ({"state": "living"}, "told nothing yet: ask again"),
    ],
)
def test_where_reports_are_enabled_and_none_comes_it_is_told_how_that_is(
    client: type[Guest], reporter: dict[str, Any], told: str
) -> None:
    with pytest.raises(RecipientGoneError, match=told):
        health._ask(cast(Client, client(reporter=reporter)))


def test_nobody_waits_for_the_reports_of_one_that_was_given_up_on() -> None:
    degraded = {"state": "degraded", "cause": "ill"}
    with pytest.raises(RecipientGoneError, match="too often"):
        health._check_reporting(cast(Client, Guest(reporter=degraded)))
    health._check_reporting(cast(Client, Guest(reporter={"state": "failed"})))
