"""The declared pump on a real terminal: told, heard, unplugged and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.line_device.driver import LineDevice
from drivers.line_device.simulator import SimulatedPump, main
from tests.drivers.hosted import PATIENCE, Hosted
from tests.drivers.line_device.declared import pump


def test_it_is_told_heard_unplugged_and_told_again(tmp_path: Path) -> None:
    with (
        SimulatedPump(tmp_path / "pump") as simulated,
        Hosted(LineDevice, pump(), simulated.path) as hosted,
    ):
        hosted.wait_state("healthy")
        hosted.ask("set_speed", {"rpm": 300})
        hosted.outside.wait_for(
            lambda: {"litres": 1.0, "rpm": 300} in hosted.outside.bodies("devices/it/flow"),
            PATIENCE,
        )
        hosted.wait_event("pong")
        simulated.unplug()
        hosted.wait_event("disconnected")
        simulated.plug()
        hosted.wait_event("connected", 2)
        assert hosted.ask("read_temperature") == 21.5


@pytest.mark.parametrize(
    ("arguments", "reason"), [([], "--link"), (["--link", "/nowhere/pump"], "no folder")]
)
def test_as_a_program_it_explains_what_is_wrong(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    assert ending.value.code == 2
    assert reason in capsys.readouterr().err
