"""What may be run as an external program, as data."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from gateway.application import Application
from gateway.errors import ConfigError
from gateway.process.process import Process
from gateway.supervision.external_lines import Lines
from gateway.supervision.program import Program

NO_PATIENCE = [0, -1.0, inf, nan, 1e7, "5", True, None]


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"command": "rm -rf"}, "a command is a list"),
        ({"command": []}, "a command is a list"),
        ({"command": ["a", 1]}, "are texts, not 1"),
        ({"command": ["a\0b"]}, "are texts"),
        ({"command": ["a"], "environment": {"A": 1}}, "are texts, not 1"),
        ({"command": 5}, "a command is a list"),
        ({"command": ["a"], "environment": ["A=1"]}, "names and texts"),
        ({"command": ["a"], "folder": 5}, "a folder is a path"),
        *(({"command": ["a"], "patience": p}, "more than 0 seconds") for p in NO_PATIENCE),
    ],
)
def test_what_cannot_be_run_is_refused_before_it_is_tried(given: dict[str, Any], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        Program(**given)


def test_it_is_looked_for_where_it_would_run(tmp_path: Path) -> None:
    script = tmp_path / "bin" / "tool"
    script.parent.mkdir()
    script.touch(mode=0o755)
    assert Program(["bin/tool"], folder=tmp_path).find()
    assert Program(["tool"], environment={"PATH": str(script.parent)}).find()
    assert not Program(["bin/tool"], folder=tmp_path / "bin").find()
    script.chmod(0o644)
    assert not Program([str(script)]).find()


def test_what_systemd_says_to_the_gateway_is_no_business_of_a_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("LIDAR", "front")
    found = Program(["a"], environment={"WATCHDOG_USEC": "5"}).surroundings()
    assert found["LIDAR"] == "front"
    assert found["WATCHDOG_USEC"] == "5", "what was asked for by name is given"
    assert not {"NOTIFY_SOCKET", "WATCHDOG_PID", "LISTEN_FDS"} & set(found)


def test_a_command_and_its_mode_belong_together() -> None:
    app = Application()
    with pytest.raises(ConfigError, match="belong together"):
        app.add_process("a", mode="external")
    with pytest.raises(ConfigError, match="belong together"):
        app.add_process("a", Process, command=["true"])


def test_coroutines_are_refused_where_nothing_would_await_them() -> None:
    class Worker(Process):
        async def life(self) -> None:
            """Never awaited by a thread."""

    for mode in ("thread", "fork"):
        with pytest.raises(ConfigError, match="give it the mode 'asyncio'"):
            Application().add_process("a", Worker, mode=mode)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_slicing_never_changes_the_lines(size: int) -> None:
    stream = b"abcd\r\n\nabcde\nabcd\nabcdef\r\nlast"
    lines = Lines(limit=4)
    found = [
        line for at in range(0, len(stream), size) for line in lines.feed(stream[at : at + size])
    ]
    found += lines.end()
    assert str(found) == "[b'abcd', b'', <too long>, b'abcd', <too long>, b'last']"
