"""`deploy/environment`, on a machine whose programs are a folder of stand-ins."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy/environment"

OLD = "exit 1"
NEW_WITHOUT_VENV = """\
case "$*" in
    *ensurepip*) test -e "$HERE/installed"; exit ;;
    *python%d*) echo python3.12-venv ;;
    "-m venv "*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
    "-m pip install "*) echo "pip $*" >> "$HERE/log" ;;
esac
"""
APT = """\
echo "apt $*" >> "$HERE/log"
case "$*" in
    *install*) test -e "$HERE/lists" && touch "$HERE/installed" ;;
    *) touch "$HERE/lists" ;;
esac
"""


class Machine:
    """A PATH of its own, with what is put on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("bash", "env", "mkdir", "cp", "touch", "dirname"):
            path = f"/usr/bin/{name}" if os.path.exists(f"/usr/bin/{name}") else f"/bin/{name}"
            (root / name).symlink_to(path)
        self.put("id", "echo 0")

    def put(self, name: str, body: str) -> None:
        file = self.root / name
        file.unlink(missing_ok=True)
        file.write_text(f"#!/bin/bash\n{body}\n")
        file.chmod(0o755)

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SCRIPT, self.root / "venv", "demo"],
            env={"PATH": str(self.root), "HERE": str(self.root), **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def log(self) -> str:
        file = self.root / "log"
        return file.read_text() if file.exists() else ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_a_new_enough_python_it_says_what_to_type(machine: Machine) -> None:
    machine.put("python3", OLD)
    done = machine.run()
    assert done.returncode == 1
    assert "sudo apt install python3.11 python3.11-venv" in done.stderr
    assert not (machine.root / "venv").exists()


def test_a_python_that_was_asked_for_must_be_new_enough(machine: Machine) -> None:
    machine.put("old", OLD)
    machine.put("python3", NEW_WITHOUT_VENV)
    done = machine.run(PYTHON=str(machine.root / "old"))
    assert done.returncode == 1
    assert "is not a Python 3.11 or newer" in done.stderr


def test_the_venv_module_is_installed_where_debian_left_it_out(machine: Machine) -> None:
    machine.put("python3", OLD)
    machine.put("python3.12", NEW_WITHOUT_VENV)
    machine.put("apt-get", APT)
    done = machine.run()
    assert done.returncode == 0, done.stderr
    install, update, again, pip = machine.log().splitlines()
    assert install == again
    assert install.endswith("install --no-install-recommends python3.12-venv")
    assert update.endswith("update")
    assert pip.endswith("[demo]")


def test_without_rights_it_says_which_package(machine: Machine) -> None:
    machine.put("python3", NEW_WITHOUT_VENV)
    machine.put("id", "echo 1000")
    machine.put("apt-get", APT)
    machine.put("sudo", "exit 1")
    done = machine.run()
    assert done.returncode == 1
    assert "sudo apt install python3.12-venv" in done.stderr
    assert machine.log() == ""


def test_an_environment_that_works_is_kept(machine: Machine) -> None:
    machine.put("python3", NEW_WITHOUT_VENV)
    (machine.root / "installed").touch()
    assert machine.run().returncode == 0
    (machine.root / "venv/kept").touch()
    (machine.root / "python3").unlink()
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert "Making" not in done.stderr
    assert (machine.root / "venv/kept").exists()


def test_a_pip_that_fails_is_a_failure_with_a_word_on_it(machine: Machine) -> None:
    machine.put("python3", NEW_WITHOUT_VENV + 'case "$*" in *--editable*) exit 1 ;; esac')
    (machine.root / "installed").touch()
    done = machine.run()
    assert done.returncode == 1
    assert "pip could not install it" in done.stderr
