"""A driver that is none of ours: written in a folder of its own, installed by pip, found by name.

Nothing of it lies in this tree, and nothing but its entry point tells of it.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.new_driver import write

ROOT = Path(__file__).parents[2]
SECONDS = 300.0

CONTRACT = """\
from gateway import plugins
from gateway.testing.driver_contract import DriverContract
from ventilator_driver.board import Board

class TestFoundByName(DriverContract):
    driver = plugins.find(plugins.DRIVERS, "ventilator")

    def make_board(self, clock):
        return Board(clock=clock)
"""

CONFIGURATION = """\
[routes.serial]

[devices.fan]
driver = "ventilator"
route = "serial"
port = "/dev/ttyUSB0"
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, private_temporary_folder: Path) -> Run:
    """Run Python in an empty folder, where the driver ``ventilator`` has been installed."""
    author, site, elsewhere = map(tmp_path_factory.mktemp, ("author", "site", "elsewhere"))
    package = write("ventilator", author)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    environment["PYTHONPATH"] = f"{site}{os.pathsep}{ROOT}"

    def run(*arguments: str, files: dict[str, str] | None = None) -> Any:
        for name, text in (files or {}).items():
            (elsewhere / name).write_text(text)
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    # With the build backend at hand no index is asked for anything.
    offline = importlib.util.find_spec("hatchling") is not None
    options = ["--no-build-isolation"] if offline else []
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", *options, "--target", str(site)]
    installed = run(*pip, str(package))
    assert installed.returncode == 0, installed.stderr
    return run


@pytest.mark.timeout(SECONDS)
def test_it_is_found_by_its_entry_point(run: Run) -> None:
    code = (
        "from gateway import plugins\n"
        "driver = plugins.find(plugins.DRIVERS, 'ventilator')\n"
        "print(sorted(driver.commands()), driver.__module__)\n"
        "print(plugins.names(plugins.DRIVERS))"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "['dim'] ventilator_driver.driver"
    assert "'bench_board'" in second
    assert "'ventilator'" in second


@pytest.mark.timeout(SECONDS)
def test_it_passes_the_contract(run: Run) -> None:
    done = run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", "temporary", "test_fan.py"),
        files={"test_fan.py": CONTRACT},
    )
    assert done.returncode == 0, done.stdout
    assert "ventilator_driver.driver:Ventilator" in done.stdout
    assert "[x] bronze" in done.stdout


@pytest.mark.timeout(SECONDS)
def test_a_configuration_may_name_it(run: Run) -> None:
    done = run("-m", "gateway", "check", "gateway.toml", files={"gateway.toml": CONFIGURATION})
    assert done.returncode == 0, done.stdout
    assert "fine" in done.stdout
    mistaken = CONFIGURATION.replace('"ventilator"', '"ventilater"')
    done = run("-m", "gateway", "check", "gateway.toml", files={"gateway.toml": mistaken})
    assert "did you mean 'ventilator'" in done.stdout
