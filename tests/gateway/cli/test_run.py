"""What ``gateway run`` takes."""

from __future__ import annotations

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
