from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from gateway import plugins
from gateway.cli.main import main
from gateway.config.mistake import ConfigErrors, Mistake, suggest

FIVE = """\
[gateway]
log_level = "loud"

[routes.serial]

[devices.wheels]
driver = "bench_bord"
port = "/dev/ttyACM0"
buad = 9600

[devices.lamp]
driver = "bench_board"
route = "seriell"

[devices.arm]
driver = "bench_board"
baud = "fast"
port = "/dev/ttyACM1"
"""

EXPECTED = [
    (2, "gateway.log_level", '"info"'),
    (7, "devices.wheels.driver", "did you mean 'bench_board'?"),
    (9, "devices.wheels.buad", "did you mean 'baud'?"),
    (13, "devices.lamp.route", "did you mean 'serial'?"),
    (17, "devices.arm.baud", "a whole number from 50 to 4000000"),
]


class SerialStandIn:
    """What a router's class says of itself."""

    class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        pass

    class DeviceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        port: str
        baud: Annotated[int, msgspec.Meta(ge=50, le=4_000_000)] = 115200


class BoardStandIn:
    """A driver without settings."""


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process know one route and one driver; a child knows what is installed."""

    def find(group: str, name: str) -> type[Any]:
        known = {"serial": SerialStandIn, "bench_board": BoardStandIn}
        if name in known:
            return known[name]
        advice = suggest(name, list(known))
        raise ConfigErrors([Mistake(problem=f"there is no {name!r}", advice=advice)])

    monkeypatch.setattr(plugins, "find", find)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.toml"


def test_five_different_mistakes_are_all_named(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(FIVE)
    assert main(["check", str(file)]) == 2
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == len(EXPECTED)
    for line, (number, key, advice) in zip(lines, EXPECTED, strict=True):
        assert line.startswith(f"{file}:{number}: {key}: ")
        assert advice in line
    assert err == "5 mistakes found\n"


def test_five_different_mistakes_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(FIVE)
    assert main(["check", str(file), "--json"]) == 2
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["file"], report["ok"], err) == (str(file), False, "")
    found = report["mistakes"]
    assert [(one["line"], one["key"]) for one in found] == [(n, key) for n, key, _ in EXPECTED]
    for one, (_, _, advice) in zip(found, EXPECTED, strict=True):
        assert one["file"] == str(file)
        assert one["problem"]
        assert advice in one["advice"]


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.memory_folder.file_system_of", lambda folder, table: "tmpfs")


@pytest.mark.usefixtures("in_memory")
def test_a_correct_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("[routes.serial]\n[devices.a]\ndriver = 'bench_board'\nport = '/dev/x'\n")
    assert main(["check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: fine: 1 route, 1 device\n"
    assert main(["check", "--json", str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": str(file),
        "ok": True,
        "mistakes": [],
        "remarks": [],
    }


def test_an_empty_file_is_fine_and_says_how_little_is_in_it(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.touch()
    assert main(["check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: fine: 0 routes, 0 devices\n"


def said_about(file: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["check", str(file)]) == 2
    out, _ = capsys.readouterr()
    (line,) = out.splitlines()
    assert line.startswith(str(file))
    return line.removeprefix(str(file))


def test_an_absent_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said_about(file, capsys) == ": there is no such file; check the path"


def test_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = f": is a folder; name a file, such as {tmp_path}/gateway.toml"
    assert said_about(tmp_path, capsys) == expected


def test_a_file_that_is_not_utf8(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(b"\n\n\xff")
    assert said_about(file, capsys) == ":3: is not UTF-8 text; save it as UTF-8"


def test_a_file_that_is_no_toml(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("[gateway]\nnode = kitchen")
    assert said_about(file, capsys).startswith(":2: is not TOML: Invalid value; text stands in")


def test_a_file_that_may_not_be_read(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.touch(mode=0)
    own = os.geteuid()
    if own == 0:  # root may read everything, so be nobody for a moment
        os.seteuid(65534)
    try:
        said = said_about(file, capsys)
    finally:
        os.seteuid(own)
    assert said.startswith(": may not be read; give this user the right to read it")


def run_installed(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("gateway")), "check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_the_installed_command_names_what_the_installed_plugins_refuse(file: Path) -> None:
    file.write_text(FIVE)
    done = run_installed(file, "--json")
    assert done.returncode == 2
    found = [(one["line"], one["key"]) for one in json.loads(done.stdout)["mistakes"]]
    assert found == [(number, key) for number, key, _ in EXPECTED]


def test_the_installed_command_finds_nothing_wrong_in_a_correct_file(file: Path) -> None:
    file.write_text(
        "[gateway]\nsockets = '/dev/shm/x'\n[routes.serial]\n[routes.mqtt]\n[routes.unix_socket]\n"
        "[devices.board]\ndriver = 'bench_board'\nport = '/dev/ttyACM0'\n"
    )
    done = run_installed(file)
    assert done.stdout == f"{file}: fine: 3 routes, 1 device\n"
    assert (done.returncode, done.stderr) == (0, "")
