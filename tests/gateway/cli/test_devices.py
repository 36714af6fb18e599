"""``gateway devices`` as it is typed: with a gateway, without one, and a probe."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from drivers.bench_board.simulator import SimulatedBoard
from gateway.cli.inventory import sight, sysfs
from gateway.cli.inventory.sight import Sighting
from gateway.cli.main import main
from tests.gateway.cli.house import House
from tests.lab.udev_room import UdevRoom

ROOT = Path(__file__).parents[3]
RECORDED = ROOT / "tests/udev/recorded"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Arduino is plugged in, and nothing else."""
    text = (RECORDED / "arduino_uno.umockdev").read_text("utf-8")
    root = UdevRoom(tmp_path / "m", text).folder
    found = sysfs.scan(("tty", "usb"), root)
    monkeypatch.setattr(sight, "look", lambda: Sighting(devices=tuple(found)))


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No gateway runs."""
    monkeypatch.setenv("GATEWAY_SOCKET", str(tmp_path / "no.sock"))


@pytest.mark.usefixtures("machine")
def test_the_list_holds_what_is_plugged_in_and_what_is_not(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["devices"]) == 0
    out = capsys.readouterr().out
    assert "/dev/ttyACM0  Arduino (www.arduino.cc)  2341:0043" in out
    assert "scanner          absent" in out
    assert "\x1b" not in out
    assert main(["devices", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["gateway"]["reached"]
    assert [each["device"] for each in report["unplugged"]] == ["board", "scanner"]


@pytest.mark.usefixtures("machine", "nobody")
def test_without_a_gateway_it_lists_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices"]) == 0
    out = capsys.readouterr().out
    assert "/dev/ttyACM0" in out
    assert "who claims what is not known: nobody listens at" in out


def test_a_device_is_told_on_a_page(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "scanner"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("scanner is absent for ")
    assert "led(hz: int [Hz] (optional)) → bool" in out
    assert main(["devices", "scanner", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["claim"]["node"] == "/dev/ttyACM7"


def test_a_misspelt_device_is_a_line(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "scaner"]) == 1
    assert capsys.readouterr().err == (
        "gateway devices: there is no device 'scaner'; did you mean 'scanner'?\n"
    )


@pytest.mark.usefixtures("machine", "nobody")
def test_a_stranger_is_told_how_to_be_taken_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "/dev/ttyACM0"]) == 0
    out = capsys.readouterr().out
    assert 'match = { "@idVendor" = "2341", "@idProduct" = "0043" }' in out
    assert "gateway devices --probe /dev/ttyACM0" in out
    assert main(["devices", "/dev/ttyACM0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["match"] == {
        "@idVendor": "2341",
        "@idProduct": "0043",
    }


@pytest.mark.usefixtures("machine", "nobody")
def test_what_a_driver_says_it_is_for_is_passed_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from drivers.bench_board.driver import BenchBoard

    monkeypatch.setattr(BenchBoard, "looks_like", ({"@idVendor": "2341"},))
    assert main(["devices", "/dev/ttyACM0"]) == 0
    out = capsys.readouterr().out
    assert 'driver = "bench_board"' in out
    assert "the driver bench_board says that it is for @idVendor=2341" in out


@pytest.mark.usefixtures("machine", "nobody")
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["/dev/ttyUSB7"], 1, "nothing is plugged in at /dev/ttyUSB7: it is not there"),
        (["wheels"], 1, "whether there is a device 'wheels' is not known: nobody listens"),
        (["--probe", "/dev/ttyUSB7"], 1, "/dev/ttyUSB7 is not there: 'gateway devices' lists"),
        (["wheels", "--probe", "/dev/null"], 2, "either NAME or --probe PORT"),
        (["--probe", "/dev/null", "--deadline", "nan"], 2, "--deadline is in seconds"),
    ],
)
def test_what_cannot_be_told_is_a_line(
    words: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["devices", *words]) == status
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("nobody")
def test_a_probe_of_what_is_no_port_or_at_no_rate_is_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    probe = ["devices", "--probe", str(tmp_path / "file")]
    assert main(probe) == 1
    assert "is no serial port" in capsys.readouterr().err
    assert main([*probe, "--baud", "7"]) == 2
    assert "cannot be opened at 7 baud" in capsys.readouterr().err


@pytest.mark.usefixtures("nobody")
def test_a_probe_finds_the_driver_and_writes_what_to_paste(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with SimulatedBoard(tmp_path / "board") as board:
        assert main(["devices", "--probe", str(board.path)]) == 0
        out = capsys.readouterr().out
        assert " 1. bench_board  the board identified itself at 115200 baud" in out
        assert f'driver = "bench_board"\n    route = "serial"\n    port = "{board.path}"' in out
        assert main(["devices", "--probe", str(board.path), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
    assert report["drivers"][0]["identity"]["model"] == "bench-board"
    assert "bench_board" in report["toml"]


@pytest.mark.usefixtures("nobody")
def test_a_probe_of_a_port_with_nobody_behind_it_says_what_to_look_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    controller, port = pty.openpty()
    try:
        (tmp_path / "port").symlink_to(os.ttyname(port))
        probe = ["devices", "--probe", str(tmp_path / "port"), "--baud", "9600", "--deadline", "4"]
        assert main(probe) == 1
    finally:
        os.close(controller)
        os.close(port)
    assert "is the board powered, is it wired TX to RX" in capsys.readouterr().out


@pytest.mark.usefixtures("nobody")
def test_progress_and_colours_are_for_terminals(tmp_path: Path) -> None:
    controller, screen = pty.openpty()
    try:
        with SimulatedBoard(tmp_path / "board") as board:
            done = subprocess.run(
                [sys.executable, "-m", "gateway", "devices", "--probe", str(board.path)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=screen,
                stdout=subprocess.PIPE,
                timeout=50,
                check=True,
            )
        os.set_blocking(controller, False)
        said = b""
        while not said.endswith(b"\r\x1b[K"):  # nothing more: BlockingIOError
            said += os.read(controller, 65536)
    finally:
        os.close(controller)
        os.close(screen)
    assert b"listening at 115200 baud" in said
    assert said.endswith(b"\r\x1b[K")
    assert b"\x1b" not in done.stdout
