"""What is said of a process that went wrong."""

from __future__ import annotations

import pytest

from gateway.errors import LONGEST, ConfigError
from gateway.process.process import Process
from gateway.supervision.life import end_of


def failing(error: Exception) -> Process:
    raise error


def test_a_wrong_configuration_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    end = end_of("mqtt", lambda: failing(ConfigError("name a folder")))
    assert end == "name a folder"
    assert [record.getMessage() for record in caplog.records] == ["process mqtt: name a folder"]
    assert caplog.records[0].exc_info is None


def test_a_bug_shows_where_it_is(caplog: pytest.LogCaptureFixture) -> None:
    assert end_of("mqtt", lambda: failing(ValueError("1"))) == "ValueError: 1"
    assert caplog.records[0].exc_info


@pytest.mark.parametrize("size", [LONGEST, 3_000_000])
def test_what_a_bug_says_is_cut_where_nobody_would_read_it(
    caplog: pytest.LogCaptureFixture, size: int
) -> None:
    end = end_of("mqtt", lambda: failing(ValueError("x" * size)))
    is_cut = size > LONGEST
    assert len(end) < LONGEST + 100
    assert end.endswith("… (cut: it has 3000000 characters)") is is_cut
    assert len(caplog.text) < 2 * LONGEST + 4000
    assert "raise error" in caplog.text, "where it is"
    assert "process mqtt failed" in caplog.text
