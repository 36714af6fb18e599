"""What is done from afar is on record, within bounds."""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from routes.mqtt.audit import Audit


def note(audit: Audit, **changes: Any) -> None:
    told: dict[str, Any] = {
        "time": 5.0,
        "command": "restart",
        "topic": "gateway/lab/manage/restart/call",
        "who": {"user": "ada"},
        "arguments": {"process": "serial"},
        "result": "ok",
    }
    audit.note(**{**told, **changes})


def test_each_command_is_a_line_in_the_log_and_in_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")
    audit = Audit(str(tmp_path / "audit"))
    note(audit)
    note(audit, who={}, result="refused: no\x1b[2J\nnew line")
    named, unnamed = (record.getMessage() for record in caplog.records)
    told = 'restart {"process":"serial"} by %s on gateway/lab/manage/restart/call: %s'
    assert named == told % ("user=ada", "ok")
    assert unnamed == told % ("an unnamed client", "refused: no\\x1b[2J\\nnew line")
    first, second = map(json.loads, (tmp_path / "audit").read_text().splitlines())
    assert first["who"] == {"user": "ada"}
    assert (first["time"], first["command"], first["result"]) == (5.0, "restart", "ok")
    assert second["result"] == "refused: no\\x1b[2J\\nnew line"
    assert (tmp_path / "audit").stat().st_mode & 0o077 == 0


def test_the_file_and_the_one_before_are_bounded(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path / "audit"), 4096)
    for number in range(200):
        note(audit, arguments={"number": number, "long": "x" * 100})
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert set(sizes) == {"audit", "audit.1"}
    assert all(size <= 4096 for size in sizes.values())
    last = json.loads((tmp_path / "audit").read_text().splitlines()[-1])
    assert '"number":199' in last["arguments"]


def test_what_is_long_or_no_json_is_cut_and_noted_all_the_same(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path / "audit"))
    note(audit, arguments={"text": "x" * 100_000}, who={"x" * 9000: "\ud800"})
    note(audit, arguments={"nan": float("nan")})
    assert len((tmp_path / "audit").read_text()) < 10_000


def test_a_file_that_cannot_be_written_costs_no_command(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    audit = Audit(str(tmp_path / "absent" / "audit"))
    note(audit)
    assert audit.lost == 1
    assert "cannot be written: No such file" in caplog.text


def test_a_full_disk_leaves_no_half_line_and_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    audit = Audit(str(tmp_path / "audit"))
    note(audit)
    whole = (tmp_path / "audit").read_bytes()
    with monkeypatch.context() as full:
        write = os.write
        full.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:10]))
        note(audit)
    assert (tmp_path / "audit").read_bytes() == whole
    assert audit.lost == 1
    assert "cannot be written: No space left" in caplog.text


def test_where_no_new_file_can_be_begun_no_descriptor_is_closed_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Audit(str(tmp_path / "audit"), 200)
    note(audit)
    closed: list[int] = []
    close, opening = os.close, os.open

    def open_no_more(path: Any, *rest: Any) -> int:
        if not Path(path).exists():
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opening(path, *rest)

    def close_and_tell(descriptor: int) -> None:
        closed.append(descriptor)
        close(descriptor)

    with monkeypatch.context() as scarce:
        scarce.setattr(os, "open", open_no_more)
        scarce.setattr(os, "close", close_and_tell)
        note(audit)
    assert len(closed) == len(set(closed))
    assert audit.lost == 1
