from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from gateway.device import Driver
from gateway.errors import ProtocolError
from gateway.testing import driver_soak
from tests.gateway.testing.lamp import Lamp, LampContract
from tests.gateway.testing.meter import Meter, MeterContract


def contract_of(driver: type[Driver]) -> Any:
    return type("Contract", (LampContract,), {"driver": driver})()


def test_a_right_driver_stands_it_and_takes_every_real_frame_in_between() -> None:
    outcome = driver_soak.soak(contract_of(Lamp), 20_000, seed=1)
    assert outcome.complaint == ""
    assert outcome.real == 2000
    assert outcome.real_refused == 0
    assert outcome.refused > 100
    assert outcome.published >= 2000 // 4
    assert "20,000 inputs in" in str(outcome)


def test_a_bug_rises_with_its_frame() -> None:
    class Stumbles(Lamp):
        def received(self, frame: bytes) -> None:
            frame.decode("ascii")

    with pytest.raises(UnicodeDecodeError) as bug:
        driver_soak.soak(contract_of(Stumbles), 1000, seed=1)
    assert "it was given the frame" in bug.value.__notes__[0]


def test_a_driver_that_is_poisoned_is_told_of() -> None:
    class Sulks(Lamp):
        """Takes nothing any more once it has heard nonsense."""

        hurt = False

        def received(self, frame: bytes) -> None:
            if self.hurt:
                raise ProtocolError("I was hurt")
            try:
                super().received(frame)
            except ProtocolError:
                self.hurt = True
                raise

    outcome = driver_soak.soak(contract_of(Sulks), 1000, seed=1)
    assert "real frames were refused amid the nonsense" in outcome.complaint


def test_messages_of_several_frames_come_whole_in_between() -> None:
    outcome = driver_soak.soak(MeterContract(), 20_000, seed=1)
    assert outcome.complaint == ""
    assert outcome.real == 1000
    assert outcome.published >= 1000 // 2


def test_a_driver_that_never_gets_over_half_a_message_is_told_of() -> None:
    class Sulks(Meter):
        def received(self, frame: bytes) -> None:
            if self.expected > 60:
                raise ProtocolError("this is never long enough")
            super().received(frame)

    contract = type("Contract", (MeterContract,), {"driver": Sulks})()
    outcome = driver_soak.soak(contract, 5000, seed=1)
    assert "real frames were refused amid the nonsense" in outcome.complaint


def test_growth_is_told_of() -> None:
    """In a program of its own: one that has let go of as much before hides what is kept."""
    where = "tests.gateway.testing.lamp:HoardingLampContract"
    program = [sys.executable, "-m", "gateway.testing.driver_soak", where]
    ended = subprocess.run(
        [*program, "--inputs", "40000", "--seed", "1"], capture_output=True, text=True, check=False
    )
    assert "MiB: what does it keep?" in ended.stdout
    assert ended.returncode == 1, ended.stderr


def test_the_program_prints_its_seed_and_what_became_of_the_frames(
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = "tests.gateway.testing.lamp:LampContract"
    assert driver_soak.main([where, "--inputs", "500", "--seed", "7"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{where}: seed 7"
    assert said[1].startswith("500 inputs in")


@pytest.mark.parametrize("words", [["lamp"], ["lamp:Lamp", "--inputs", "0"]])
def test_a_wrong_command_line_says_what_it_takes(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        driver_soak.main(words)
    assert "it takes MODULE:CONTRACT" in capsys.readouterr().err
