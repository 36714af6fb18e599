"""The journal's native protocol, at a real datagram socket."""

from __future__ import annotations

import array
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.process.journal import JournalHandler, datagram, is_the_journal

log = logging.getLogger("test.journal")
log.propagate = False


def parsed(data: bytes) -> dict[str, str]:
    """Read a datagram as systemd's documentation says that journald does."""
    fields = {}
    while data:
        head, _, rest = data.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", rest[:8])
            value, data = rest[8 : 8 + size], rest[8 + size :]
            assert data[:1] == b"\n"
            data = data[1:]
        else:
            data = rest
        fields[name.decode()] = value.decode()
    return fields


class Journal:
    """Plays journald."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(10.0)
        self.socket.bind(self.path)

    def read(self) -> dict[str, str]:
        data, ancillary, _, _ = self.socket.recvmsg(1 << 18, 64)
        for _, _, packed in ancillary:
            (descriptor,) = array.array("i", packed)
            with os.fdopen(descriptor, "rb") as file:
                file.seek(0)
                data = file.read()
        return parsed(data)

    def close(self) -> None:
        self.socket.close()
        os.unlink(self.path)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal")
    yield journal
    journal.close()


@pytest.fixture
def stderr() -> Iterator[tuple[int, int]]:
    """A pipe that plays standard error: its two ends."""
    out, into = os.pipe()
    yield out, into
    os.close(out)
    os.close(into)


@pytest.fixture
def start(stderr: tuple[int, int]) -> Iterator[Callable[..., JournalHandler]]:
    made: list[JournalHandler] = []

    def start(path: object) -> JournalHandler:
        handler = JournalHandler("gateway", path=str(path), stderr=stderr[1])
        log.addHandler(handler)
        made.append(handler)
        return handler

    yield start
    for handler in made:
        log.removeHandler(handler)
        handler.close()


@given(st.dictionaries(st.sampled_from(["A", "B_C", "MESSAGE"]), st.text(min_size=1)))
def test_what_is_packed_is_what_is_read(fields: dict[str, str]) -> None:
    assert parsed(datagram(fields)) == fields


def test_a_record_comes_with_its_fields(
    journal: Journal, start: Callable[..., JournalHandler]
) -> None:
    start(journal.path)
    log.warning("the %s\nis out", "cable")
    said = journal.read()
    assert said["MESSAGE"] == "the cable\nis out"
    assert (said["PRIORITY"], said["SYSLOG_IDENTIFIER"]) == ("4", "gateway")
    assert (said["LOGGER"], said["GATEWAY_PROCESS"]) == ("test.journal", "main")
    assert said["CODE_FILE"] == __file__
    assert said["CODE_FUNC"] == "test_a_record_comes_with_its_fields"
    assert int(said["CODE_LINE"]) > 0
    assert "MAIL_THREAD" not in said


def test_a_traceback_is_part_of_the_message(
    journal: Journal, start: Callable[..., JournalHandler]
) -> None:
    start(journal.path)
    try:
        raise KeyError("wheels")
    except KeyError:
        log.exception("a bug")
    message = journal.read()["MESSAGE"]
    assert message.startswith("a bug\nTraceback")
    assert message.endswith("KeyError: 'wheels'")


def test_a_record_too_large_for_a_datagram_travels_as_a_file(
    journal: Journal, start: Callable[..., JournalHandler]
) -> None:
    handler = start(journal.path)
    log.error("x" * (1 << 20))
    assert journal.read()["MESSAGE"] == "x" * (1 << 20)
    assert (handler.sent, handler.fallen_back) == (1, 0)


def test_an_absent_journal_is_counted_and_stderr_is_written(
    tmp_path: Path, start: Callable[..., JournalHandler], stderr: tuple[int, int]
) -> None:
    handler = start(tmp_path / "nobody")
    log.error("anybody?")
    assert os.read(stderr[0], 100) == b"<3>anybody?\n"
    assert (handler.sent, handler.fallen_back, handler.lost) == (0, 1, 0)


def test_a_full_journal_and_a_full_stderr_hold_nobody_up_and_the_gap_is_told(
    journal: Journal, start: Callable[..., JournalHandler], stderr: tuple[int, int]
) -> None:
    handler = start(journal.path)
    for _ in range(1000):
        log.error("y" * 200)
    assert handler.sent > 0
    assert handler.fallen_back > 0
    assert handler.lost > 0
    assert handler.sent + handler.fallen_back + handler.lost == 1000
    missed = handler.fallen_back + handler.lost
    for _ in range(handler.sent):
        assert "GATEWAY_MISSED" not in journal.read()
    log.error("again")
    assert journal.read()["GATEWAY_MISSED"] == str(missed)
    log.error("and again")
    assert "GATEWAY_MISSED" not in journal.read()


def test_a_journal_that_is_restarted_is_written_to_again(
    tmp_path: Path, start: Callable[..., JournalHandler]
) -> None:
    start(tmp_path / "journal")
    for _ in range(2):
        journal = Journal(tmp_path / "journal")
        try:
            log.error("hello")
            assert journal.read()["MESSAGE"] == "hello"
        finally:
            journal.close()


def test_stderr_is_the_journal_where_systemd_says_so(stderr: tuple[int, int]) -> None:
    found = os.fstat(stderr[1])
    assert is_the_journal(stderr[1], f"{found.st_dev}:{found.st_ino}")
    assert not is_the_journal(stderr[1], f"{found.st_dev}:{found.st_ino + 1}")
    for nonsense in (None, "", "1", "a:b", "1:2:3"):
        assert not is_the_journal(stderr[1], nonsense)
