"""``gateway udev-rules``: print, write, compare."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from gateway.cli.main import main
from tests.gateway.cli.plugged_route import offer
from tests.udev.rule_file import read

CONFIGURATION = """\
[routes.plugged]

[devices.wheels]
driver = "quiet"
route = "plugged"
match = { ID_VENDOR_ID = "2341", "@serial" = "75*" }

[devices.gps]
driver = "quiet"
route = "plugged"
port = "/dev/ttyAMA0"
"""


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    offer(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIGURATION)
    return path


def written(configured: Path, *more: str) -> Path:
    rules = configured.with_name("90-gateway.rules")
    assert main(["udev-rules", "-c", str(configured), "--output", str(rules), *more]) == 0
    return rules


def test_rules_are_printed(configured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["udev-rules", "-c", str(configured)]) == 0
    out = capsys.readouterr().out
    assert read(out)
    assert 'SUBSYSTEM=="tty", ENV{ID_VENDOR_ID}=="2341", ATTRS{serial}=="75*"' in out
    assert "# gps has a port of its own" in out


def test_rules_as_json(configured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["udev-rules", "-c", str(configured), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["devices"] == ["wheels"]
    assert read(report["rules"])


def test_a_written_file_is_whole_and_everybody_may_read_it(
    configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = written(configured)
    assert "udevadm control --reload" in capsys.readouterr().out
    assert stat.S_IMODE(rules.stat().st_mode) == 0o644
    assert read(rules.read_text())
    assert [each.name for each in rules.parent.glob(".*")] == []


def test_a_folder_that_is_not_there_is_a_line(
    configured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["udev-rules", "-c", str(configured), "--output", str(tmp_path / "no/x")]) == 1
    assert "No such file or directory" in capsys.readouterr().err


def test_a_check_says_that_all_is_well(
    configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = written(configured, "--group", "root", "--unit", "")
    # The group is not named again: the file knows how it was made.
    check = ["udev-rules", "-c", str(configured), "--check", "--output", str(rules)]
    assert main(check) == 0
    assert "what " in capsys.readouterr().out
    assert main([*check, "--group", "tty"]) == 1


def test_a_check_says_what_is_different_and_how_to_mend_it(
    configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = written(configured)
    configured.write_text(CONFIGURATION.replace("2341", "0403"))
    check = ["udev-rules", "-c", str(configured), "--check", "--output", str(rules)]
    capsys.readouterr()
    assert main(check) == 1
    out = capsys.readouterr().out
    assert f"Write it anew: sudo gateway udev-rules -c {configured} --output {rules}" in out
    assert '+SUBSYSTEM=="tty", ENV{ID_VENDOR_ID}=="0403"' in out
    assert main([*check, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["installed"], report["current"]) == (True, False)
    assert report["mend"].startswith("sudo gateway udev-rules")


def test_a_check_of_nothing_says_that_it_is_not_there(
    configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = ["udev-rules", "-c", str(configured), "--check", "--output", "/nowhere/x.rules"]
    assert main(check) == 1
    assert "/nowhere/x.rules: not there" in capsys.readouterr().out


def test_a_match_that_no_rule_can_say_is_a_mistake_with_its_line(
    configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configured.write_text(CONFIGURATION.replace('"75*"', '"75|76"'))
    assert main(["udev-rules", "-c", str(configured)]) == 2
    err = capsys.readouterr().err
    assert f"{configured}:6: devices.wheels.match: @serial: '75|76' holds '|'" in err


def test_a_group_that_this_machine_lacks_is_noted(
    configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["udev-rules", "-c", str(configured), "--group", "no-such-group"]) == 0
    assert "sudo groupadd --system no-such-group" in capsys.readouterr().err
