"""A durable mailbox: many writers, one reader, and whoever of them is killed."""

from __future__ import annotations

import errno
import os
import select
import signal
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.bus.claim import Claim
from gateway.bus.spool import SpoolReader
from gateway.bus.spool_file import SMALLEST, SpoolBalance, SpoolFile
from gateway.bus.spool_terms import SpoolTerms
from gateway.bus.spool_writer import SpoolWriter
from gateway.errors import SpoolError
from gateway.mail.message import Message
from tests.lab.sudden_death import KilledError, killed_at

TERMS = SpoolTerms(limit=1 << 20)


def letter(number: int) -> Message:
    name = f"{os.getpid()}-{number}"
    return Message(name, name, 1, 0.0, "serial", "mqtt", "devices/board/analogue", number)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def reader(folder: Path) -> Iterator[SpoolReader]:
    made = SpoolReader(folder, TERMS)
    yield made
    made.close()


@pytest.fixture
def writer(folder: Path) -> Iterator[SpoolWriter]:
    made = SpoolWriter(folder, TERMS)
    yield made
    made.close()


@contextmanager
def child(work: Callable[[], None]) -> Iterator[int]:
    """Run ``work`` in an OS process of its own, which then stands still until it is killed."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(tell, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    try:
        assert os.read(ready, 1) == b"x"
        yield pid
    finally:
        os.close(ready)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def bodies(reader: SpoolReader, most: int = 1000) -> list[int]:
    return [taken.message.body for taken in reader.take(most)]


def rings(reader: SpoolReader) -> bool:
    poll = select.poll()
    poll.register(reader.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def test_the_reader_is_rung_for_what_is_written(reader: SpoolReader, writer: SpoolWriter) -> None:
    assert not rings(reader)
    writer.append(letter(1))
    assert rings(reader)
    reader.quiet()
    assert not rings(reader)
    assert bodies(reader) == [1]
    assert bodies(reader) == []


def test_letters_wait_for_a_reader_that_is_not_there_yet(writer: SpoolWriter, folder: Path) -> None:
    for number in range(10):
        writer.append(letter(number))
    reader = SpoolReader(folder, TERMS)
    assert bodies(reader) == list(range(10))
    reader.close()


def test_what_was_not_confirmed_is_taken_again_by_the_next(
    writer: SpoolWriter, folder: Path
) -> None:
    first = SpoolReader(folder, TERMS)
    for number in range(4):
        writer.append(letter(number))
    taken = first.take(4)
    first.confirm(taken[:1] + taken[2:3])
    first.close()
    second = SpoolReader(folder, TERMS)
    assert bodies(second) == [1, 3]
    assert second.balance() == SpoolBalance(4, 2, 0, 0, 0, 0, 2)
    second.close()


def test_a_second_reader_is_refused(reader: SpoolReader, folder: Path) -> None:
    with pytest.raises(SpoolError, match="has a reader already"):
        SpoolReader(folder, TERMS)
    assert not rings(reader)


def test_no_more_is_taken_than_asked_for_and_every_writer_has_its_turn(
    reader: SpoolReader, writer: SpoolWriter, folder: Path
) -> None:
    def write() -> None:
        other = SpoolWriter(folder, TERMS)
        for number in range(100, 400):
            other.append(letter(number))

    for number in range(100):
        writer.append(letter(number))
    with child(write):
        first = bodies(reader, most=100)
        assert len(first) == 100
        assert {number >= 100 for number in first} == {True, False}
        rest = bodies(reader, most=1000)
        while more := bodies(reader):
            rest += more
    mine = [number for number in first + rest if number < 100]
    theirs = [number for number in first + rest if number >= 100]
    assert (mine, theirs) == (list(range(100)), list(range(100, 400)))


def test_a_dead_writers_letters_are_read_and_then_its_file_goes(
    reader: SpoolReader, folder: Path
) -> None:
    def write() -> None:
        other = SpoolWriter(folder, TERMS)
        other.append(letter(1))

    with child(write) as pid:
        taken = reader.take(10)
        reader.confirm(taken)
        reader.tidy()
        assert (folder / f"{pid}-1.spool").exists()  # it lives, and may write again
    reader.tidy()
    assert sorted(path.name for path in folder.iterdir()) == [
        "bell",
        "progress",
        "progress-shm",
        "progress-wal",
        "reader.alive",
    ]


def test_a_dead_writers_file_stays_as_long_as_something_is_in_it(
    reader: SpoolReader, folder: Path
) -> None:
    def write() -> None:
        other = SpoolWriter(folder, TERMS)
        other.append(letter(1))
        other.append(letter(2))

    with child(write) as pid:
        first, second = reader.take(10)
    reader.confirm([first])
    reader.tidy()
    assert (folder / f"{pid}-1.spool").exists()
    reader.confirm([second])
    reader.tidy()
    assert not (folder / f"{pid}-1.spool").exists()


def test_a_writer_that_stands_still_in_a_letter_holds_up_nobody_else(
    reader: SpoolReader, writer: SpoolWriter, folder: Path
) -> None:
    def write() -> None:
        other = SpoolWriter(folder, TERMS)
        other.append(letter(7))
        assert other._file is not None
        assert other._file._database is not None
        other._file._database.execute("BEGIN IMMEDIATE")

    writer.append(letter(1))
    with child(write):
        taken = reader.take(10)
        assert sorted(each.message.body for each in taken) == [1, 7]
        reader.confirm(taken)
        writer.append(letter(2))
        assert bodies(reader) == [2]
    # Now that it is dead, what was confirmed is taken out.
    reader.tidy()
    assert reader.balance().queued == 1


def test_a_file_that_cannot_be_opened_yet_holds_up_nobody_else(
    reader: SpoolReader, writer: SpoolWriter, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    half_made = sqlite3.connect(folder / "1.spool", isolation_level=None)
    half_made.execute("PRAGMA journal_mode = WAL")
    half_made.execute("BEGIN IMMEDIATE")
    writer.append(letter(1))
    assert bodies(reader) == [1]
    assert bodies(reader) == []
    half_made.execute("ROLLBACK")
    half_made.close()
    assert caplog.text.count("1.spool cannot be used: database is locked") == 1
    assert bodies(reader) == []
    assert reader.balance().accepted == 1


def test_a_reader_that_stands_still_in_a_file_has_a_new_one_begun(
    writer: SpoolWriter, folder: Path
) -> None:
    writer.append(letter(1))
    stuck = sqlite3.connect(folder / f"{os.getpid()}-1.spool", isolation_level=None)
    stuck.execute("BEGIN IMMEDIATE")
    for number in range(2, 5):
        writer.append(letter(number))
    stuck.execute("ROLLBACK")
    stuck.close()
    assert (folder / f"{os.getpid()}-2.spool").exists()
    reader = SpoolReader(folder, TERMS)
    assert bodies(reader) == [1, 2, 3, 4], "in their order"
    reader.close()


def test_a_reader_that_stands_still_while_it_reads_has_a_new_one_begun(folder: Path) -> None:
    writer = SpoolWriter(folder, SpoolTerms(limit=SMALLEST))
    writer.append(letter(0))
    (first,) = folder.glob("*.spool")
    stuck = sqlite3.connect(first, isolation_level=None)
    stuck.execute("BEGIN")
    stuck.execute("SELECT count(*) FROM letters").fetchone()
    for number in range(1, 400):
        writer.append(letter(number))
    stuck.execute("ROLLBACK")
    stuck.close()
    assert len(list(folder.glob("*.spool"))) > 1
    reader = SpoolReader(folder, SpoolTerms(limit=SMALLEST))
    assert bodies(reader) == list(range(400)), "in their order"
    reader.close()
    writer.close()


def test_of_many_threads_that_find_a_reader_standing_still_each_writes_its_letter(
    writer: SpoolWriter, folder: Path
) -> None:
    writer.append(letter(0))
    stuck = sqlite3.connect(folder / f"{os.getpid()}-1.spool", isolation_level=None)
    stuck.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(writer.append, map(letter, range(1, 9))))
    stuck.execute("ROLLBACK")
    stuck.close()
    reader = SpoolReader(folder, TERMS)
    assert sorted(bodies(reader)) == list(range(9))
    reader.close()


def test_a_successor_goes_on_behind_what_its_forerunner_left(
    reader: SpoolReader, folder: Path
) -> None:
    for number in (1, 2):
        writer = SpoolWriter(folder, TERMS)
        writer.append(letter(number))
        writer.close()
    assert bodies(reader) == [1, 2]


def test_a_new_file_is_never_called_as_one_whose_log_is_there_still(
    writer: SpoolWriter, folder: Path
) -> None:
    folder.mkdir()
    (folder / f"{os.getpid()}-6.spool-wal").touch()
    writer.append(letter(1))
    assert (folder / f"{os.getpid()}-7.spool").exists()


def test_a_reader_that_is_killed_at_tidying_counts_nothing_twice(
    reader: SpoolReader, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SpoolWriter(folder, TERMS)
    writer.append(letter(1))
    writer.close()
    reader.confirm(reader.take(10))

    with monkeypatch.context() as patch:
        killed_at(patch, SpoolFile, "remove")
        with pytest.raises(KilledError):
            reader.tidy()
    reader.close()
    again = SpoolReader(folder, TERMS)
    assert again.balance() == SpoolBalance(1, 1, 0, 0, 0, 0, 0)
    again.tidy()
    assert again.balance() == SpoolBalance(1, 1, 0, 0, 0, 0, 0)
    assert not list(folder.glob("*.spool*"))
    again.close()


def test_a_machine_out_of_descriptors_ends_no_reader(
    reader: SpoolReader, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SpoolWriter(folder, TERMS)
    writer.append(letter(1))
    writer.close()

    def fail(path: Path) -> Claim:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr("gateway.bus.spool_shelf.Claim", fail)
        reader.confirm(reader.take(10))
        reader.tidy()
    reader.tidy()
    assert not list(folder.glob("*.spool"))


def test_a_machine_out_of_descriptors_is_told_to_whoever_would_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> Claim:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("gateway.bus.spool.Claim", fail)
    with pytest.raises(SpoolError, match="LimitNOFILE"):
        SpoolReader(folder, TERMS)


def test_what_a_killed_writer_began_goes(reader: SpoolReader, folder: Path) -> None:
    begun, being_made = folder / "77-1.spool.new", folder / "78-1.spool.new"
    begun.touch()
    (folder / "77-1.spool.new-wal").touch()
    being_made.touch()
    claim = Claim(folder / "78-1.alive")
    reader.tidy()
    left = sorted(path.name for path in folder.glob("7*"))
    assert left == ["78-1.alive", "78-1.spool.new"]
    claim.close()


def test_a_closed_writer_opens_nothing_again(writer: SpoolWriter, folder: Path) -> None:
    writer.append(letter(1))
    writer.close()
    with pytest.raises(SpoolError, match="is closed"):
        writer.append(letter(2))


def test_a_bell_that_cannot_be_rung_loses_no_letter(writer: SpoolWriter, folder: Path) -> None:
    folder.mkdir()
    (folder / "bell").mkdir()  # nothing that could be written to
    writer.append(letter(1))
    (folder / "bell").rmdir()
    reader = SpoolReader(folder, TERMS)
    assert bodies(reader) == [1]
    writer.append(letter(2))
    assert rings(reader)
    reader.close()


def test_closing_twice_is_fine(reader: SpoolReader, writer: SpoolWriter) -> None:
    writer.append(letter(1))
    writer.close()
    writer.close()
    reader.close()
    reader.close()
