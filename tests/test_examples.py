"""The examples run as their docstrings say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        cwd=EXAMPLES.parent,
        env={"PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_hello_world_greets_in_thread_and_fork_mode() -> None:
    result = run("hello_world.py")
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "Hello main, thread-worker speaking!",
        "Hello main, fork-worker speaking!",
    ]
    assert result.returncode == 0


def test_own_loop_is_told_of_the_mail_on_its_own_thread() -> None:
    result = run("own_loop.py")
    assert result.stderr == ""
    assert result.stdout.splitlines() == ["tick 1", "tick 2", "tick 3"]
    assert result.returncode == 0


def test_robot_service_is_used_as_if_it_were_here() -> None:
    result = run("robot_service.py")
    assert result.stdout.splitlines() == [
        "fast",
        "metre 1",
        "metre 2",
        "drove 2 m at 7 km/h",
        "RemoteValueError 4 m is too far",
        "spin!",
        "['robot']",
    ]
    assert result.returncode == 0, result.stderr


def test_the_parameter_sweep_finds_the_best_speed_and_says_who_failed() -> None:
    result = run("parameter_sweep.py")
    assert result.stdout.splitlines() == [
        "13 of 20 stayed on the table",
        "the best speed is 0.8 m/s",
    ]
    assert result.stderr.startswith("20 of 20 done, 7 failed in 0:0")
    assert result.returncode == 0


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_says_how_to_run_it(path: Path) -> None:
    assert f"python examples/{path.name}" in path.read_text()
