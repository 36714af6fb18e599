"""What ``gateway run`` takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli import run
from gateway.cli.main import main
from gateway.process import logbook


def test_the_formats_of_the_log_are_those_that_there_are() -> None:
    assert run.FORMATS == logbook.FORMATS


def test_another_one_is_a_mistake_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--log-format", "xml"])
    assert ended.value.code == 2
    assert "journal" in capsys.readouterr().err


def test_a_folder_of_sockets_that_is_a_file_is_told_as_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    configuration = tmp_path / "gateway.toml"
    configuration.write_text(
        f'[gateway]\nsockets = "{tmp_path}/file"\n[health]\nenabled = false\n[routes.unix_socket]\n'
    )
    assert main(["run", "-c", str(configuration)]) == 2
    assert f"the sockets' folder {tmp_path}/file cannot be used" in capsys.readouterr().err
