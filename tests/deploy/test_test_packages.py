from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from deploy import test_packages


@pytest.fixture
def unicorn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> test_packages.Need:
    """A need that is not met, on a machine where apt and sudo are what the test says."""
    need = test_packages.Need(
        name="unicorn",
        tests="rides",
        packages=("unicorn", "unicorn-dev"),
        programs=("sh", "no-such-program"),
        files=(str(tmp_path / "unicorn.h"), str(tmp_path)),
    )
    monkeypatch.setattr(test_packages, "NEEDS", {"unicorn": need})
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: which(name))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return need


def which(name: str) -> str | None:
    return None if name == "no-such-program" else f"/usr/bin/{name}"


def record(monkeypatch: pytest.MonkeyPatch, *fails: str) -> list[list[str]]:
    """Run nothing, but note it; a command with one of the words ``fails`` in it fails."""
    commands: list[list[str]] = []

    def run(command: list[str], *, quiet: bool = False) -> bool:
        commands.append(command)
        return not set(fails) & set(command)

    monkeypatch.setattr(test_packages, "run", run)
    return commands


def test_what_is_missing_is_named_by_program_and_file(unicorn: test_packages.Need) -> None:
    assert unicorn.missing() == ["no-such-program", unicorn.files[0]]


@pytest.mark.parametrize(("fails", "lacks"), [((), []), (("ride",), ["the right to ride it"])])
def test_a_right_that_is_missing_is_named_once_all_else_is_there(
    unicorn: test_packages.Need,
    monkeypatch: pytest.MonkeyPatch,
    fails: tuple[str, ...],
    lacks: list[str],
) -> None:
    commands = record(monkeypatch, *fails)
    test_packages.succeeds.cache_clear()
    tame = replace(unicorn, programs=(), files=(), trial=("ride", "it"))
    assert tame.missing() == tame.missing() == lacks
    assert commands == [["/usr/bin/sudo", "-n", "true"], ["/usr/bin/sudo", "-n", "ride", "it"]]
    assert "no-such-program" in replace(unicorn, trial=("ride", "it")).missing()
    test_packages.succeeds.cache_clear()


def test_without_rights_it_says_what_to_type_and_what_is_left_out(
    unicorn: test_packages.Need,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands = record(monkeypatch, "true")
    assert test_packages.main() == 0
    assert commands == [["/usr/bin/sudo", "-n", "true"]]
    said = capsys.readouterr().out
    assert "Left out: rides." in said
    assert "sudo apt install unicorn unicorn-dev" in said


def test_on_a_build_server_what_is_missing_is_a_failure(
    unicorn: test_packages.Need, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(monkeypatch, "true")
    monkeypatch.setenv("CI", "true")
    assert test_packages.main() == 1


def test_with_a_sudo_that_asks_nothing_apt_installs_it(
    unicorn: test_packages.Need, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = record(monkeypatch)
    assert test_packages.main() == 0
    (_, install) = commands
    assert install[:2] == ["/usr/bin/sudo", "-n"]
    assert "DPkg::Lock::Timeout=300" in install
    assert install[-2:] == ["unicorn", "unicorn-dev"]


def test_the_lists_are_refreshed_only_where_apt_finds_nothing(
    unicorn: test_packages.Need, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = record(monkeypatch, "install")
    test_packages.main()
    words = [word for command in commands for word in command if word in ("install", "update")]
    assert words == ["install", "update", "install"]


def test_what_counts_is_what_is_there_and_never_apts_word(
    unicorn: test_packages.Need,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CI", "true")
    record(monkeypatch, "install")  # say, the broker's service did not start
    answers = iter([["x"], []])
    monkeypatch.setattr(test_packages.Need, "missing", lambda need: next(answers))
    assert test_packages.main() == 0
    assert "Left out" not in capsys.readouterr().out


def test_nothing_is_done_when_all_is_there(
    unicorn: test_packages.Need,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands = record(monkeypatch)
    monkeypatch.setattr(test_packages.Need, "missing", lambda need: [])
    assert test_packages.main() == 0
    assert commands == []
    assert capsys.readouterr().out == ""


def test_a_command_that_hangs_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert test_packages.run(["true"], quiet=True)
    monkeypatch.setattr(test_packages, "APT_SECONDS", 0.1)
    assert not test_packages.run(["sleep", "20"])
    assert "gave up" in capsys.readouterr().err
