"""What is said of a process that went wrong."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigError
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
