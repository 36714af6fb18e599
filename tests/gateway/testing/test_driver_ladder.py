from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
import pytest

from gateway.device import Driver, Identity, Unit, command
from gateway.framing import Line
from gateway.testing.driver_ladder import rungs
from tests.gateway.testing.lamp import Lamp

ROOT = Path(__file__).parents[3]
SECONDS = 250.0


class Bare(Driver):
    framing = Line()
    publications = {"volts": float, "amps": Annotated[float, Unit("A")], "words": str}

    def handshake(self) -> Identity:
        return Identity(firmware="1")

    @command
    def go(self, far: int, word: str, wide: Annotated[int, Unit("m")]) -> float:
        return 0.0


def missing(driver: type[Driver], proof: str = "", folder: Path = ROOT) -> dict[str, str]:
    return {rung.asks: rung.missing for rung in rungs(driver, proof, folder) if rung.missing}


def test_each_thing_that_is_missing_is_named() -> None:
    assert missing(Bare) == {
        "a simulator": "set Driver.simulator",
        "a README": "write README.md beside the driver",
        "words on the driver and its commands": "describe: the driver's class, go",
        "units on every number": "annotate with Unit(…): go.far, what go returns, volts",
        "a heartbeat": "set Driver.heartbeat",
        "a proof against real firmware or a recorded conversation": "set proof = in the test",
    }


def test_fields_of_what_is_published_have_units_and_words() -> None:
    class Reading(msgspec.Struct, frozen=True):
        volts: float
        at: Annotated[int, Unit("ms")]

    class Publishes(Lamp):
        """Publishes."""

        publications: ClassVar[Any] = {"reading": Reading}

    lacks = missing(Publishes)
    assert lacks["units on every number"] == "annotate with Unit(…): reading.volts"
    assert lacks["words on the driver and its commands"] == "describe: reading"


def test_a_proof_is_a_file_here_or_above(tmp_path: Path) -> None:
    proof = "a proof against real firmware or a recorded conversation"
    (tmp_path / "recorded.txt").touch()
    (tmp_path / "tests").mkdir()
    assert proof not in missing(Lamp, "recorded.txt", tmp_path / "tests")
    assert missing(Lamp, "gone.txt", tmp_path)[proof] == "there is no file gone.txt"


TESTS = """
from gateway.testing import driver_contract, wire_contract
from tests.gateway.testing.lamp import Lamp, LampContract

driver_contract.MUTATED, driver_contract.ANSWERS, wire_contract.PLACES = 500, 5, 5

class Worse(Lamp):
    def received(self, frame):
        int(frame)

class TestWorse(LampContract):
    driver = Worse

class TestLamp(LampContract):
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_lamps.py").write_text(TESTS)
    return tmp_path


def summary(folder: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", *options],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.stdout.partition("the ladder of quality")[2]


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("options", [(), ("-n", "2", "-p", "gateway.testing.driver_ladder")])
def test_the_summary_says_where_each_driver_stands(folder: Path, options: tuple[str, ...]) -> None:
    said = summary(folder, *options)
    assert "test_lamps:Worse: none yet" in said
    assert "[ ] bronze: the contract, 22 tests (failed: " in said
    assert "lamp:Lamp: bronze" in said
    assert "[ ] silver: a simulator (set Driver.simulator)" in said
    assert "[x] gold: a heartbeat" in said


@pytest.mark.timeout(SECONDS)
def test_a_part_of_the_contract_is_no_bronze(folder: Path) -> None:
    said = summary(folder, "-k", "TestLamp and ladder")
    assert "lamp:Lamp: none yet" in said
    assert "only 1 of 22 tests were run" in said
