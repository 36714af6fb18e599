"""The simulated receiver as a program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from drivers.nmea_gps.driver import NmeaGps
from drivers.nmea_gps.simulator import main
from tests.drivers.hosted import Hosted

ROOT = Path(__file__).parents[3]


def test_as_a_program_it_says_how_to_use_it_and_ends_cleanly(tmp_path: Path) -> None:
    path = tmp_path / "gps"
    command = [sys.executable, "-m", "drivers.nmea_gps.simulator", "--link", str(path)]
    with subprocess.Popen(
        [*command, "--hz", "10"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            said = process.stdout.readline()
            with Hosted(NmeaGps, None, path) as hosted:
                hosted.wait_for("position")
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")
    assert str(path) in said
    assert not os.path.lexists(path)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "--link"),
        (["--link", "/nowhere/gps"], "no folder"),
        (["--link", "/tmp/gps", "--hz", "50"], "0.1 to 20 times a second"),
    ],
)
def test_as_a_program_it_explains_what_is_wrong(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    assert ending.value.code == 2
    assert reason in capsys.readouterr().err
