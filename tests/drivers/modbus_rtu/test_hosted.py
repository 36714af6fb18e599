"""The master and its slaves on a real terminal: read, written, unplugged, silent and back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drivers.modbus_rtu.driver import ModbusRtu
from drivers.modbus_rtu.simulator import SimulatedLine, main
from tests.drivers.hosted import PATIENCE, Hosted

SETTINGS = {
    "timeout": 2.0,
    "patience": 1.0,
    "registers": {
        "temperature": {"function": "input", "address": 0, "scale": 0.1, "poll": 0.05},
        "setpoint": {"address": 0, "scale": 0.1, "poll": 0.05, "writable": True},
    },
}


def test_a_line_is_read_written_unplugged_and_read_again(tmp_path: Path) -> None:
    with (
        SimulatedLine(tmp_path / "line") as simulated,
        Hosted(ModbusRtu, SETTINGS, simulated.path) as hosted,
    ):
        hosted.wait_state("healthy")
        assert hosted.ask("write_register", {"name": "setpoint", "value": 20.0}) == 20.0
        simulated.unplug()
        hosted.wait_event("disconnected")
        simulated.board.slaves[1].holding[0] = 190
        simulated.plug()
        hosted.wait_event("connected", 2)
        hosted.outside.wait_for(
            lambda: hosted.outside.retained["devices/it/registers/setpoint"] == 19.0, PATIENCE
        )


def test_a_line_that_falls_silent_is_stale_and_comes_back(tmp_path: Path) -> None:
    settings = {**SETTINGS, "timeout": 0.1}
    with (
        SimulatedLine(tmp_path / "line") as simulated,
        Hosted(ModbusRtu, settings, simulated.path) as hosted,
    ):
        hosted.wait_state("healthy")
        simulated.board.slaves[1].silent = True
        hosted.wait_state("stale")
        hosted.outside.wait_for(
            lambda: hosted.outside.retained["devices/it/registers/setpoint"] is None, PATIENCE
        )
        hosted.wait_event("comms_error")
        simulated.board.slaves[1].silent = False
        hosted.wait_state("healthy")
        hosted.outside.wait_for(
            lambda: hosted.outside.retained["devices/it/registers/setpoint"] == 21.5, PATIENCE
        )


@pytest.mark.parametrize(
    ("arguments", "reason"), [([], "--link"), (["--link", "/nowhere/line"], "no folder")]
)
def test_as_a_program_it_explains_what_is_wrong(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    assert ending.value.code == 2
    assert reason in capsys.readouterr().err
    assert not os.path.lexists("/nowhere")
