"""``gateway devices`` beside a gateway at work: real libudev over devices made of software."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from drivers.bench_board.simulator import SimulatedBoard
from tests.lab.umockdev import Umockdev, paths_of, usb_serial

pytestmark = pytest.mark.needs("umockdev")

ROOT = Path(__file__).parents[2]
DEADLINE = 40.0
CONFIGURATION = """\
[gateway]
sockets = "{folder}"
[routes.serial]
[routes.unix_socket]
[devices.wheels]
driver = "bench_board"
match = {{ ID_SERIAL_SHORT = "W1" }}
"""


class Machine:
    """A machine with a gateway; `ask` types a command on it."""

    def __init__(self, testbed: Umockdev, folder: Path) -> None:
        self._environment = {
            **testbed.environment,
            "PYTHONPATH": str(ROOT),
            "GATEWAY_SOCKET": str(folder / "gateway.sock"),
        }
        (folder / "g.toml").write_text(CONFIGURATION.format(folder=folder))
        self._log = (folder / "log").open("w+")
        self._gateway = subprocess.Popen(
            [sys.executable, "-m", "gateway", "run", "-c", str(folder / "g.toml")],
            env=self._environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def ask(self, *words: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "devices", "--json", *words],
            env=self._environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.stdout, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def ask_until(self, wanted: Any) -> dict[str, Any]:
        """Return the list as soon as it is as ``wanted`` says."""
        deadline = monotonic() + DEADLINE
        while not wanted(report := self.ask()):
            assert monotonic() < deadline, (report, self.log())
        return report

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def close(self) -> None:
        self._gateway.send_signal(signal.SIGTERM)
        self._gateway.wait(DEADLINE)
        self._log.close()


@pytest.fixture
def testbed() -> Iterator[Umockdev]:
    with Umockdev() as testbed:
        yield testbed


def ports(report: dict[str, Any]) -> dict[str, tuple[str | None, str]]:
    """Return who has which port, and how it is."""
    return {
        each["node"]: (each["device"], (each["state"] or {}).get("state", ""))
        for each in report["plugged"]
    }


def test_a_board_is_listed_told_and_missed(testbed: Umockdev, tmp_path: Path) -> None:
    node = testbed.root / "dev" / "ttyACM0"
    node.parent.mkdir(exist_ok=True)
    with SimulatedBoard(node) as board:
        testbed.add(usb_serial(0, serial="W1"))
        testbed.add(usb_serial(1, serial="W2"))
        machine = Machine(testbed, tmp_path)
        try:
            wanted = {"/dev/ttyACM0": ("wheels", "healthy"), "/dev/ttyACM1": (None, "")}
            machine.ask_until(lambda report: ports(report) == wanted)

            page = machine.ask("wheels")
            assert page["claim"]["node"] == "/dev/ttyACM0"
            assert page["info"]["identity"]["model"] == "bench-board"
            assert page["moves"]["moves"][-1]["state"] == "healthy"
            assert machine.ask("/dev/ttyACM0")["device"] == "wheels"

            stranger = machine.ask("/dev/ttyACM1")
            assert stranger["match"] == {
                "ID_VENDOR_ID": "2341",
                "ID_MODEL_ID": "0043",
                "ID_SERIAL_SHORT": "W2",
            }
            assert stranger["drivers"] == {"bench_board": "@idVendor=2341, @idProduct=0043"}
            assert machine.ask("--probe", "/dev/ttyACM0")["error"]["code"] == "refused"

            board.unplug()
            testbed.unplug(*paths_of(0))
            gone = machine.ask_until(
                lambda report: (
                    [each["state"]["state"] for each in report["unplugged"]] == ["absent"]
                )
            )
            assert ports(gone) == {"/dev/ttyACM1": (None, "")}
            (wheels,) = gone["unplugged"]
            assert (wheels["device"], wheels["state"]["state"]) == ("wheels", "absent")
        finally:
            machine.close()
    assert not os.path.lexists(node)
