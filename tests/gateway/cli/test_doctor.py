"""``gateway doctor`` as it is typed, on this machine and on one made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli.checkup import gathering
from gateway.cli.checkup.facts import Facts, Rules, User
from gateway.cli.main import main

WELL = Facts(
    user=User(name="pat", uid=1),
    config="g.toml",
    rules=Rules(path="/etc/r", right="a", installed="a"),
    udevd=True,
    run_type="tmpfs",
    kernel=(),
)


@pytest.fixture
def configuration(tmp_path: Path) -> str:
    path = tmp_path / "gateway.toml"
    path.write_text("")
    return str(path)


def test_it_says_of_this_machine_whatever_it_can(
    configuration: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["doctor", "-c", configuration, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert status == (0 if report["ok"] else 1)
    checks = {each["check"] for each in report["findings"]}
    assert {"configuration", "udevd", "rules", "permissions", "in use", "libusb"} <= checks
    assert all(each["mend"] for each in report["findings"] if each["verdict"] == "wrong")


def test_a_machine_that_is_well_ends_with_0(
    configuration: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "gather", lambda configured, user: WELL)
    assert main(["doctor", "-c", configuration]) == 0
    out = capsys.readouterr().out
    assert out.endswith("nothing is wrong\n")
    assert "\x1b" not in out


def test_a_configuration_that_is_not_there_is_a_finding(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor", "-c", "/nowhere/gateway.toml"]) == 1
    out = capsys.readouterr().out
    assert "/nowhere/gateway.toml: there is no such file" in out
    assert "mend it: gateway check /nowhere/gateway.toml" in out


def test_a_user_that_is_not_there_is_a_line(
    configuration: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "-c", configuration, "--user", "no-such-user"]) == 2
    assert "this machine has no user 'no-such-user'" in capsys.readouterr().err
