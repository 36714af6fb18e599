"""``gateway simulate`` as a program; what the gateway makes of it is in tests/system."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from gateway.cli.main import main
from gateway.errors import RefusedError
from tests.lab.gateway_process import command
from tests.lab.simulated_hardware import SimulatedHardware

SOON = 10.0

BENCH = (
    '[routes.serial]\n[routes.usb]\n[devices.bench]\ndriver = "bench_board"\nport = "{}/bench"\n'
)
TILL = '[devices.till]\ndriver = "barcode_scanner"\nroute = "usb"\nmatch = { idVendor = "1" }\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.toml"
    file.write_text(BENCH.format(tmp_path) + TILL)
    return file


def test_it_says_where_everything_is_and_ends_when_its_time_is_over(
    file: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [command(), "simulate", str(file), "--seconds", "0.1", "--folder", str(tmp_path / "sim")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    sim = tmp_path / "sim"
    assert done.stdout.splitlines() == [
        f"bench  {tmp_path}/bench",
        f'till   {sim}/till  (it is found by a match: write simulated = "{sim}/till")',
        f"GATEWAY_SOCKET={sim}/sockets/gateway.sock gateway call bench unplug",
        "the hardware is gone",
    ]
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gateway.toml", "sim"]
    assert not (sim / "till").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(file: Path, tmp_path: Path, number: int) -> None:
    with SimulatedHardware(file) as hardware:
        folder = Path(hardware.ready["socket"]).parents[1]
        assert os.path.lexists(tmp_path / "bench")
        os.kill(hardware.pid, number)
        assert hardware.wait() == 0
        assert json.loads(hardware.said[-1])["event"] == "end"
    assert not os.path.lexists(tmp_path / "bench")
    assert not folder.exists()


def test_devices_do_as_they_are_told_at_the_door_and_at_the_prompt(file: Path) -> None:
    with SimulatedHardware(file) as hardware:
        assert [each["name"] for each in hardware.ready["devices"]] == ["bench", "till"]
        hardware.call("bench", "unplug")
        hardware.type("status")
        assert hardware.wait_for("status", device="bench", plugged=False)["said"] == (
            "bench: unplugged"
        )
        hardware.type("noise all 0.5")
        hardware.wait_for("status", device="till", noise=0.5)
        hardware.type("drift bench 100")
        told = hardware.wait_for("status", device="bench", drift=100)
        assert told["said"] == "bench: unplugged, noise 0.5, drift +100 ppm"
        hardware.type("mend bench")
        hardware.type("plug bench")
        assert hardware.wait_for("status", device="bench", plugged=True)["noise"] == 0
        hardware.type("noise bench 7")
        assert "Expected `float` <= 1.0" in hardware.wait_for("error", code="refused")["said"]
        hardware.type("help")
        assert "step DEVICE SECONDS" in hardware.wait_for("help")["said"]
        with pytest.raises(RefusedError, match="did you mean 'unplug'"):
            hardware.call("bench", "unplag")
        hardware.type("quit")
        assert hardware.wait() == 0


def test_what_a_simulator_can_do_besides_is_there_too(file: Path) -> None:
    with SimulatedHardware(file, "--only", "till") as hardware:
        hardware.call("till", "scan", "4711")
        with pytest.raises(ValueError, match="no key of a US keyboard"):
            hardware.call("till", "scan", "é")


def test_in_virtual_time_the_boards_wait_for_a_step(file: Path, tmp_path: Path) -> None:
    with SimulatedHardware(file, "--virtual", "--only", "bench") as hardware:
        before = hardware.call("bench", "time")
        hardware.type("step bench 60")
        hardware.wait_for("status", device="bench", stepped=True)
        assert hardware.call("bench", "time") == before + 60


def test_a_simulator_that_dies_is_told_and_costs_no_other(file: Path) -> None:
    with SimulatedHardware(file) as hardware:
        ps = hardware._client.ps()["processes"]
        (pid,) = [each["pid"] for each in ps if each["name"] == "bench"]
        os.kill(pid, signal.SIGKILL)
        hardware.wait_for("died", device="bench")
        hardware.type("status")
        hardware.wait_for("status", device="till")
        hardware.type("unplug bench")
        hardware.wait_for("error", code="refused")


def test_nothing_is_left_of_one_that_cannot_begin(file: Path, tmp_path: Path) -> None:
    with SimulatedHardware(file, "--folder", str(tmp_path / "sim")):
        second = subprocess.run(
            [command(), "simulate", str(file), "--folder", str(tmp_path / "sim")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert second.returncode == 2
        assert "gateway simulate:" in second.stderr
        assert os.path.lexists(tmp_path / "bench"), "that of the first"


def test_mistakes_are_told_as_check_tells_them(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(file.read_text().replace('driver = "bench_board"', 'driver = "bench_bord"'))
    assert main(["check", str(file)]) == 2
    words = capsys.readouterr().out.splitlines()[0]
    assert main(["simulate", str(file)]) == 2
    assert words in capsys.readouterr().err
    assert main(["simulate", str(file.with_name("none.toml"))]) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_seconds_that_are_none_are_a_mistake_of_usage(file: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", str(file), "--seconds", "soon"])
    assert ended.value.code == 2


def test_a_name_that_is_taken_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(BENCH.format(tmp_path).replace("devices.bench", "devices.unix_socket"))
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["simulate", str(file)]) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "there is a process 'unix_socket' already" in capsys.readouterr().err


# At a terminal


def test_at_a_terminal_there_is_a_prompt_and_ctrl_d_ends_it(file: Path) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [command(), "simulate", str(file)],
        stdin=slave,
        stdout=slave,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    os.close(slave)
    try:
        seen = read_until(master, "> ")
        assert "gateway call bench unplug" in seen
        os.write(master, b"unplug bench\n")
        assert "bench: unplugged" in read_until(master, "> ")
        os.write(master, b"\x04")
        assert "the hardware is gone" in read_until(master, "gone")
        assert process.wait(SOON) == 0
    finally:
        process.kill()
        process.wait(SOON)
        os.close(master)


def read_until(descriptor: int, wanted: str) -> str:
    seen, until_when = "", time.monotonic() + SOON
    while wanted not in seen:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, until_when - time.monotonic()))
        assert ready, f"no {wanted!r} in {seen!r}"
        seen += os.read(descriptor, 4096).decode()
    return seen
