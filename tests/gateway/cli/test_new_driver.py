from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import plugins
from gateway.cli.main import main
from gateway.cli.new_driver import FILES, TEMPLATES, write
from gateway.errors import RefusedError

ROOT = Path(__file__).parents[3]
SECONDS = 300.0


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a Python module in ``cwd``, with this gateway and nothing of this pytest."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, private_temporary_folder: Path) -> Path:
    """The package of a driver called ``demo``, written by the command."""
    folder = tmp_path_factory.mktemp("author")
    done = run("gateway", "new-driver", "demo", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "pytest demo" in done.stdout
    return folder / "demo"


@pytest.mark.timeout(SECONDS)
def test_what_it_writes_passes_at_once(demo: Path) -> None:
    options = ["-q", "-p", "no:cacheprovider", "--basetemp", str(demo.parent / "temporary")]
    done = run("pytest", *options, cwd=demo.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "25 passed" in done.stdout
    assert "demo_driver.driver:Demo: silver" in done.stdout


def test_its_driver_is_short_and_has_all_that_a_driver_has(demo: Path) -> None:
    text = (demo / "demo_driver" / "driver.py").read_text()
    assert len(text.splitlines()) <= 40
    for part in ("def handshake", "heartbeat = ", "@command", "self.publish("):
        assert part in text


def test_its_sources_are_clean(demo: Path) -> None:
    options = ["--line-length", "100", "--select", "E,F,I,W,UP,B"]
    done = run("ruff", "check", "--isolated", "--no-cache", *options, ".", cwd=demo)
    assert done.returncode == 0, done.stdout
    done = run("ruff", "format", "--isolated", "--line-length", "100", "--diff", ".", cwd=demo)
    assert done.returncode == 0, done.stdout


def test_every_template_is_used_and_nothing_is_left_to_fill_in(tmp_path: Path) -> None:
    assert {f"{source}.template" for source in FILES.values()} == {
        path.name for path in TEMPLATES.iterdir()
    }
    written = [path for path in write("lamp", tmp_path).rglob("*") if path.is_file()]
    assert len(written) == len(FILES)
    assert not [path for path in written if "$" in path.read_text()]


def test_a_name_of_several_words_becomes_a_class(tmp_path: Path) -> None:
    folder = write("wind_sensor_2", tmp_path)
    assert "class WindSensor2(Driver)" in (folder / "wind_sensor_2_driver/driver.py").read_text()
    assert 'name = "gateway-driver-wind-sensor-2"' in (folder / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    "name", ["Lamp", "2lamps", "wind-sensor", "../lamp", "lamp_", "_lamp", "class", "", "lämp"]
)
def test_what_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RefusedError, match="no name for a driver"):
        write(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_an_installed_driver_is_refused(tmp_path: Path) -> None:
    assert "bench_board" in plugins.names(plugins.DRIVERS)
    with pytest.raises(RefusedError, match="'bench_board' is installed already"):
        write("bench_board", tmp_path)


def test_the_name_of_an_installed_package_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lamp_driver.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RefusedError, match="'lamp_driver' is installed already"):
        write("lamp", tmp_path)


def test_a_folder_that_exists_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lamp").mkdir()
    (tmp_path / "lamp" / "mine").write_text("precious")
    assert main(["new-driver", "lamp", "--folder", str(tmp_path)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "lamp").iterdir()] == ["mine"]


def test_a_folder_that_is_not_there_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new-driver", "lamp", "--folder", str(tmp_path / "nowhere")]) == 1
    assert "make it first" in capsys.readouterr().err


def test_programs_are_told_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-driver", "lamp", "--folder", str(tmp_path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"folder": str(tmp_path / "lamp"), "package": "lamp_driver"}
