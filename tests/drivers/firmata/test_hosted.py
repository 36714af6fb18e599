"""The Arduino on a real terminal: set, heard, restarted, unplugged and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.firmata.driver import Firmata
from drivers.firmata.simulator import SimulatedArduino, main
from tests.drivers.hosted import PATIENCE, Hosted

SETTINGS = {
    "sampling": 20,
    "pins": {
        "lamp": {"pin": 13, "mode": "output", "initial": 1},
        "light": {"pin": "A0", "mode": "analog", "full_scale": 5.0},
    },
}


def test_it_is_set_heard_unplugged_and_set_up_again(tmp_path: Path) -> None:
    with (
        SimulatedArduino(tmp_path / "arduino") as simulated,
        Hosted(Firmata, SETTINGS, simulated.path) as hosted,
    ):
        hosted.wait_state("healthy")
        hosted.wait_for("pins/light", 3)
        hosted.ask("set_pin", {"name": "lamp", "on": False})
        hosted.outside.wait_for(lambda: simulated.board.outputs[13] == 0, PATIENCE)
        simulated.unplug()
        hosted.wait_event("disconnected")
        simulated.plug()
        hosted.wait_event("connected", 2)
        hosted.outside.wait_for(lambda: simulated.board.outputs[13] == 1, PATIENCE)
        hosted.wait_event("pong")


@pytest.mark.parametrize(
    ("arguments", "reason"), [([], "--link"), (["--link", "/nowhere/io"], "no folder")]
)
def test_as_a_program_it_explains_what_is_wrong(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    assert ending.value.code == 2
    assert reason in capsys.readouterr().err
