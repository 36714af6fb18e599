"""A start that cannot be: status 2, the mistakes on lines of their own, never a traceback."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.lab.bench import Bench
from tests.lab.gateway_process import command, configuration

pytestmark = pytest.mark.needs("simavr", "mosquitto")

WRONG = """\
[gateway]
node = "lab"
sokets = "/run/gateway"

[routes.serial]
[routes.mqtt]
broker = "http://localhost"

[devices.bench]
driver = "bench_bord"
route = "serial"
port = "/dev/ttyACM0"
baud = "fast"

[devices.other]
driver = "bench_board"
route = "cereal"
port = "/dev/ttyACM1"
"""


def test_a_wrong_file_is_refused_with_all_its_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(WRONG)
    done = run(file)
    assert done.returncode == 2, done
    for key, line in [("sokets", 3), ("broker", 7), ("driver", 10), ("baud", 13), ("route", 17)]:
        assert any(key in said and f"{file}:{line}" in said for said in done.stderr.splitlines()), (
            f"{key} in line {line} is not among:\n{done.stderr}"
        )
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("content", [None, "[gateway\n", "", "\0\xff"], ids=repr)
def test_a_file_that_says_nothing_is_refused_in_a_line(tmp_path: Path, content) -> None:
    file = tmp_path / "gateway.toml"
    if content is not None:
        file.write_text(content, encoding="latin-1")
    done = run(file)
    assert done.returncode == 2, done
    assert done.stderr.startswith("gateway run:")
    assert "Traceback" not in done.stdout + done.stderr


def test_a_second_gateway_on_the_same_sockets_is_refused_and_the_first_goes_on(
    bench: Bench, tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"
    other.write_text(configuration(tmp_path, broker=bench.broker.url, port="/nowhere"))
    done = run(other)
    assert done.returncode == 2, done
    assert "another gateway runs" in done.stderr
    assert str(bench.gateway.sockets) in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert bench.call("led", '{"on": true}')["ok"] is True
    bench.board.wait_for_led(True)


def run(file: Path) -> subprocess.CompletedProcess[str]:
    """Run ``gateway run -c file`` to its end."""
    return subprocess.run(
        [command(), "run", "-c", str(file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=10.0,
        check=False,
    )
