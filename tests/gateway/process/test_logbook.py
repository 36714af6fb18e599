"""What a line of the log looks like, and where it goes."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
from pathlib import Path

import pytest

from gateway.process.journal import JournalHandler
from gateway.process.logbook import JsonLines, TextLines, start_logging
from gateway.process.whereabouts import Whereabouts


def record(message: str, where: Whereabouts, level: int = logging.WARNING) -> logging.LogRecord:
    made = logging.LogRecord("gateway.x", level, "x.py", 3, message, None, None)
    made.__dict__["whereabouts"] = where
    return made


def test_a_line_says_when_how_bad_who_what_and_on_which_thread() -> None:
    line = TextLines().format(record("the cable is out", Whereabouts("serial", "board", "ab-7")))
    clock, rest = line.split(" ", 1)
    assert len(clock) == len("12:00:01.042")
    assert rest == "WARNING  serial/board: the cable is out [ab-7]"


def test_what_is_not_there_is_not_shown_and_further_lines_stand_below() -> None:
    line = TextLines().format(record("one\ntwo", Whereabouts("main", "", "")))
    assert line.split(" ", 1)[1] == "WARNING  main: one\ntwo"


def test_a_terminal_gets_colours_and_nothing_that_it_would_obey() -> None:
    odd = record("\x1b[2J", Whereabouts("main", "", ""), logging.ERROR)
    shown = TextLines(is_terminal=True, colours=True).format(odd)
    assert shown.split(" ", 1)[1] == "\x1b[31mERROR   \x1b[0m main: \\x1b[2J"
    assert "\x1b[31" not in TextLines().format(odd)


def test_json_is_an_object_a_line() -> None:
    said = json.loads(JsonLines().format(record("a\nb", Whereabouts("serial", "board", "ab-7"))))
    assert said.pop("time") > 0
    assert said == {
        "level": "warning",
        "process": "serial",
        "device": "board",
        "thread": "ab-7",
        "logger": "gateway.x",
        "message": "a\nb",
    }


def test_text_goes_to_the_stream_from_its_level_upwards(own_root: None) -> None:
    stream = io.StringIO()
    start_logging("warning", stream=stream)
    logging.getLogger("x").info("small talk")
    logging.getLogger("x").warning("listen")
    assert stream.getvalue().split(" ", 1)[1] == "WARNING  main: listen\n"


def test_where_systemd_connected_its_journal_records_go_there(
    own_root: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "stderr").open("w") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
            journald.bind(str(tmp_path / "journal"))
            journald.settimeout(10.0)
            handler = start_logging("info", stream=stream, journal=str(tmp_path / "journal"))
            assert isinstance(handler, JournalHandler)
            logging.getLogger("x").info("hello")
            assert b"MESSAGE=hello\nPRIORITY=6\n" in journald.recv(4096)
        os.unlink(tmp_path / "journal")


def test_a_wrong_level_or_format_is_refused(own_root: None) -> None:
    with pytest.raises(ValueError, match="'loud' is no level"):
        start_logging("loud")
    with pytest.raises(ValueError, match="'xml' is no format"):
        start_logging("info", form="xml")  # type: ignore[arg-type]
