"""The master against pymodbus's own server, on a pair of real terminals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from drivers.modbus_rtu.driver import ModbusRtu
from gateway.errors import RefusedError
from tests.drivers.hosted import PATIENCE, Hosted

pytestmark = pytest.mark.needs("socat")

SERVER = Path(__file__).with_name("pymodbus_server.py")
REGISTERS: dict[str, dict[str, Any]] = {
    "temperature": {"function": "input", "address": 0, "type": "int16", "scale": 0.5},
    "setpoint": {"address": 0, "scale": 0.1, "writable": True},
    "power": {"address": 2, "type": "float32", "writable": True},
    "pump": {"function": "coil", "address": 3, "writable": True},
    "limit": {"function": "discrete", "address": 2},
    "nothing": {"address": 99, "poll": 0},
}
SETTINGS: dict[str, Any] = {
    # Seconds that a busy machine may take; a quick answer is taken at once.
    "timeout": 5.0,
    "registers": {name: {"unit_id": 7, "poll": 0.1, **keys} for name, keys in REGISTERS.items()},
}


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Path]:
    """A pymodbus server behind the other end of this port."""
    near, far = tmp_path / "near", tmp_path / "far"
    ends = [f"pty,raw,echo=0,link={end}" for end in (near, far)]
    with ExitStack() as stack:
        socat = stack.enter_context(
            subprocess.Popen(["socat", "-d", "-d", *ends], stderr=subprocess.PIPE, text=True)
        )
        stack.callback(socat.terminate)
        assert socat.stderr
        assert any("starting data transfer" in line for line in socat.stderr)
        server = stack.enter_context(
            subprocess.Popen(
                [sys.executable, str(SERVER), str(far)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(server.kill)
        assert server.stdout
        assert server.stdout.readline() == "ready\n"
        yield near
        assert server.stdin
        server.stdin.close()
        server.wait(PATIENCE)


def test_a_slave_of_pymodbus_is_read_written_and_refuses(port: Path) -> None:
    with Hosted(ModbusRtu, SETTINGS, port) as hosted:
        hosted.wait_event("connected")
        expected = {
            "temperature": -21.0,
            "setpoint": 21.5,
            "power": 12.5,
            "pump": False,
            "limit": True,
        }
        hosted.outside.wait_for(
            lambda: (
                {
                    name: hosted.outside.retained.get(f"devices/it/registers/{name}")
                    for name in expected
                }
                == expected
            ),
            PATIENCE,
        )
        assert hosted.ask("write_register", {"name": "setpoint", "value": 19.5}) == 19.5
        assert hosted.ask("write_register", {"name": "power", "value": 0.1}) == 0.1
        assert hosted.ask("write_register", {"name": "pump", "value": True}) is True
        assert hosted.ask("read_register", {"name": "setpoint"}) == 19.5
        with pytest.raises(RefusedError, match="unit 7: it has no such address"):
            hosted.ask("read_register", {"name": "nothing"})
        assert hosted.thread.statistics().noise == 0
