"""The file of a durable mailbox: what is written stays until it is confirmed."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.bus.database import parts, put_aside
from gateway.bus.spool_file import LAST, SMALLEST, BusyError, SpoolBalance, Spooled, SpoolFile
from gateway.errors import BodyError, MailboxFullError, SpoolError
from gateway.mail.codec import decode
from gateway.mail.message import Message
from tests.lab.os_processes import until
from tests.lab.sudden_death import KilledError, killed_at

ROUNDS = 50


def letter(number: int, size: int = 80, topic: str = "devices/board/analogue") -> Message:
    body = {"number": number, "text": "x" * size}
    return Message(f"id-{number}", f"id-{number}", 1, 0.0, "serial", "mqtt", topic, body)


def numbers(spool: SpoolFile, after: int = 0, most: int = 10_000) -> list[int]:
    return [number_of(found) for found in spool.read(after, most)]


def number_of(found: Spooled) -> int:
    body = decode(found.letter).body
    assert isinstance(body, dict)
    return int(body["number"])


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SpoolFile]:
    made = SpoolFile(tmp_path / "mail.spool", limit=1 << 20)
    yield made
    made.close()


def test_letters_stay_in_order_until_they_are_confirmed(spool: SpoolFile) -> None:
    spool.append([letter(1)])
    spool.append([letter(2), letter(3)])
    first, second, third = spool.read()
    assert (first.subject, decode(first.letter)) == ("devices/board/analogue", letter(1))
    assert numbers(spool, after=first.number) == [2, 3]
    assert spool.take_out([first.number, third.number])
    assert numbers(spool) == [2]
    assert spool.balance() == SpoolBalance(3, 2, 0, 0, 0, 0, 1)
    assert spool.take_out([first.number])  # twice is fine
    assert spool.balance().confirmed == 2
    assert second.number > first.number


def test_what_was_not_confirmed_is_there_for_the_next_reader(
    spool: SpoolFile, tmp_path: Path
) -> None:
    spool.append([letter(1), letter(2)])
    reader = SpoolFile(tmp_path / "mail.spool", limit=1 << 20)
    assert len(reader.read()) == 2
    reader.close()
    again = SpoolFile(tmp_path / "mail.spool", limit=1 << 20)
    assert numbers(again) == [1, 2]
    again.close()


def test_numbers_are_never_used_twice(spool: SpoolFile) -> None:
    spool.append([letter(1)])
    (only,) = spool.read()
    spool.take_out([only.number])
    spool.append([letter(2)])
    assert spool.read()[0].number > only.number


@pytest.mark.parametrize("policy", ["block", "reject"])
def test_a_full_file_refuses_and_says_so(tmp_path: Path, policy: str) -> None:
    spool = SpoolFile(tmp_path / "mail", limit=SMALLEST, policy=policy)  # type: ignore[arg-type]
    written = 0
    refusal = ""
    while not refusal:
        try:
            spool.append([letter(written, 1000)], timeout=0.0)
            written += 1
        except MailboxFullError as error:
            refusal = str(error)
    assert "the spool 'mail' is full" in refusal
    assert numbers(spool) == list(range(written))
    # Room again as soon as something has arrived.
    spool.take_out([found.number for found in spool.read(most=20)])
    spool.append([letter(written, 1000)], timeout=0.0)
    assert spool.balance().dropped == 0
    assert (tmp_path / "mail").stat().st_size <= SMALLEST
    spool.close()


def test_a_full_file_lets_the_oldest_go_and_counts_them(tmp_path: Path) -> None:
    spool = SpoolFile(tmp_path / "mail", limit=SMALLEST, policy="drop_oldest")
    for number in range(2000):
        spool.append([letter(number, 500)], timeout=0.0)
    balance = spool.balance()
    kept = numbers(spool)
    assert kept == list(range(2000 - len(kept), 2000))
    assert balance.accepted == 2000
    assert balance.dropped == 2000 - len(kept) > 0
    assert balance.queued == len(kept) > 100
    spool.close()
    # The count outlives whoever counted.
    again = SpoolFile(tmp_path / "mail", limit=SMALLEST)
    assert again.balance() == balance
    again.close()


class FullDisk:
    """An SQLite database whose file system has no room, for the log either."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self.tries = 0

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement.startswith(("INSERT", "COMMIT")):
            self.tries += 1
            assert self.tries < 10, "it goes round and round"
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return self._database.execute(statement, *values)

    def __getattr__(self, name: str) -> object:
        return getattr(self._database, name)


def test_a_full_disk_under_a_full_file_is_said_and_nothing_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = SpoolFile(tmp_path / "mail", limit=SMALLEST, policy="drop_oldest")
    number = 0
    while not spool.balance().dropped:
        spool.append([letter(number := number + 1, 2000)])
    while spool._room(spool._opened()) > 4:
        spool.append([letter(number := number + 1, 2000)])
    before = spool.balance()
    with monkeypatch.context() as patch:
        patch.setattr(spool, "_database", FullDisk(spool._opened()))
        with pytest.raises(SpoolError, match="its file system is full: free some space"):
            spool.append([letter(number, 2000)])
    assert spool.balance() == before
    spool.close()


def test_more_at_a_time_than_it_holds_is_refused_and_costs_nobody_else(tmp_path: Path) -> None:
    spool = SpoolFile(tmp_path / "mail", limit=SMALLEST, policy="drop_oldest")
    spool.append([letter(1)])
    with pytest.raises(MailboxFullError, match="send less, or allow it more"):
        spool.append([letter(number, 2000) for number in range(500)])
    with pytest.raises(MailboxFullError, match="send less"):
        spool.append([letter(2, SMALLEST)])
    assert numbers(spool) == [1]
    assert spool.balance().dropped == 0
    spool.close()


def test_a_large_letter_makes_room_for_itself(tmp_path: Path) -> None:
    spool = SpoolFile(tmp_path / "mail", limit=4 * SMALLEST, policy="drop_oldest")
    for number in range(40):
        spool.append([letter(number, SMALLEST)], timeout=0.0)
    kept = numbers(spool)
    assert kept == list(range(40 - len(kept), 40))
    assert len(kept) >= 2
    assert spool.balance().dropped == 40 - len(kept)
    spool.close()


def test_a_writer_that_stands_still_holds_up_no_reader(spool: SpoolFile) -> None:
    spool.append([letter(1)])
    (found,) = spool.read()
    with sqlite3.connect(spool.path, isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert numbers(spool) == [1]
        began = time.monotonic()
        assert not spool.take_out([found.number])
        assert time.monotonic() - began < 20.0
        writer.execute("ROLLBACK")
    writer.close()
    assert spool.take_out([found.number])


def test_a_reader_that_stands_still_holds_its_writer_up_to_the_deadline(spool: SpoolFile) -> None:
    with sqlite3.connect(spool.path, isolation_level=None) as reader:
        reader.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError, match="is being changed"):
            spool.append([letter(1)], timeout=0.1)
        reader.execute("ROLLBACK")
    reader.close()
    spool.append([letter(1)], timeout=0.1)
    assert numbers(spool) == [1]


def test_under_a_reader_that_stands_still_the_log_is_bounded(tmp_path: Path) -> None:
    spool = SpoolFile(tmp_path / "mail", limit=SMALLEST)
    spool.append([letter(0)])
    reader = sqlite3.connect(spool.path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM letters").fetchone() == (1,)

    def write(first: int) -> None:
        for number in range(first, first + 1000):
            spool.append([letter(number, 500)], timeout=0.0)

    with pytest.raises(BusyError, match="is being read"):
        write(1)
    assert (tmp_path / "mail-wal").stat().st_size < 8 * SMALLEST
    reader.execute("ROLLBACK")
    reader.close()
    write(1000)
    assert numbers(spool)[-1] == 1999
    spool.close()


def test_whoever_is_killed_in_putting_a_file_aside_leaves_no_log_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mail"
    for part in parts(path):
        part.touch()

    killed_at(monkeypatch, os, "rename")
    with pytest.raises(KilledError):
        put_aside(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_broken_file_is_put_aside_and_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "mail"
    for round_ in (1, 2):
        path.write_bytes(b"no database at all" * 1000)
        spool = SpoolFile(path, limit=1 << 20)
        spool.append([letter(1)])
        assert numbers(spool) == [1]
        spool.remove()
        assert (tmp_path / f"mail.broken-{round_}").read_bytes().startswith(b"no database")


def test_a_page_that_was_spoilt_is_noticed_at_open(tmp_path: Path) -> None:
    path = tmp_path / "mail"
    spool = SpoolFile(path, limit=1 << 20)
    spool.append([letter(number, 1000) for number in range(200)])
    spool.close()
    with path.open("r+b") as file:
        file.seek(6 * 4096)
        file.write(os.urandom(8 * 4096))
    again = SpoolFile(path, limit=1 << 20)
    assert numbers(again) == []
    assert (tmp_path / "mail.broken-1").exists()
    again.close()


def test_what_does_not_arrive_is_counted_as_what_became_of_it(spool: SpoolFile) -> None:
    spool.append([letter(number) for number in range(6)])
    first, second, third, *_ = spool.read()
    assert spool.take_out([first.number], "garbage")
    assert spool.take_out([second.number], "expired")
    assert spool.take_out([third.number, first.number], "moved")  # the first is gone already
    assert spool.balance() == SpoolBalance(
        accepted=6, confirmed=0, dropped=0, garbage=1, expired=1, moved=1, queued=3
    )


def test_nothing_is_taken_out_while_the_writer_is_in_the_way(spool: SpoolFile) -> None:
    spool.append([letter(1)])
    with sqlite3.connect(spool.path, isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert not spool.take_out([1], "garbage")
        writer.execute("ROLLBACK")
    writer.close()
    assert spool.balance().queued == 1
    assert spool.take_out([1], "garbage")


def test_it_tells_what_it_holds_and_how_full_it_is(spool: SpoolFile) -> None:
    assert (spool.last(), spool.subjects(0, LAST)) == (0, set())
    empty = spool.fill()
    spool.append([letter(number, size=400, topic=f"topic/{number % 2}") for number in range(1000)])
    assert spool.last() == 1000
    assert spool.subjects(0, 1) == {"topic/0"}
    assert spool.subjects(0, LAST) == {"topic/0", "topic/1"}
    assert empty < 0.1 < 0.4 < spool.fill() < 0.9


def test_no_two_files_are_the_same(spool: SpoolFile, tmp_path: Path) -> None:
    again = SpoolFile(spool.path, limit=1 << 20)
    other = SpoolFile(tmp_path / "other.spool", limit=1 << 20)
    assert again.identity == spool.identity != other.identity
    for file in (again, other):
        file.close()


def test_text_that_is_no_unicode_is_refused_and_nothing_is_written(spool: SpoolFile) -> None:
    with pytest.raises(BodyError, match="no Unicode"):
        spool.append([letter(1), letter(2, topic="\ud800")])
    assert numbers(spool) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="file"):
        SpoolFile(tmp_path / "file" / "mail", limit=1 << 20)


def test_a_closed_file_refuses_and_closes_twice(spool: SpoolFile) -> None:
    spool.close()
    spool.close()
    with pytest.raises(SpoolError, match="closed"):
        spool.read()


def test_a_limit_that_holds_nothing_is_misuse(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least"):
        SpoolFile(tmp_path / "mail", limit=10)


@settings(max_examples=30)
@given(st.lists(st.one_of(st.integers(1, 5), st.just("confirm"), st.just("reopen")), max_size=30))
def test_whatever_is_done_to_it_the_balance_holds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int | str]
) -> None:
    path = tmp_path_factory.mktemp("spool") / "mail"
    spool = SpoolFile(path, limit=1 << 20)
    written, expected = 0, list[int]()
    for step in steps:
        if isinstance(step, int):
            spool.append([letter(number) for number in range(written, written + step)])
            expected += range(written, written + step)
            written += step
        elif step == "confirm":
            taken = spool.read(most=3)
            assert spool.take_out([found.number for found in taken])
            del expected[: len(taken)]
        else:
            spool.close()
            spool = SpoolFile(path, limit=1 << 20)
        assert numbers(spool) == expected
        assert spool.balance() == SpoolBalance(
            written, written - len(expected), 0, 0, 0, 0, len(expected)
        )
    spool.remove()
    assert list(path.parent.iterdir()) == []


def is_beyond(file: Path, size: int) -> bool:
    return file.stat().st_size > size


def test_whoever_is_killed_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    """A writer and a reader are killed in turn; each letter that was written is read."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    path, written_to, read_to = tmp_path / "mail", tmp_path / "written", tmp_path / "read"
    SpoolFile(path, limit=64 << 20).close()
    for log in (written_to, read_to):
        log.touch()

    def write() -> None:
        spool = SpoolFile(path, limit=64 << 20, policy="block")
        log = os.open(written_to, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        # What was written and not noted when it was killed is written a second time.
        number = len(written_to.read_bytes()) // 8
        while True:
            spool.append([letter(number)])
            os.write(log, b"%8d" % number)
            number += 1

    def read() -> None:
        spool = SpoolFile(path, limit=64 << 20)
        log = os.open(read_to, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        last = 0
        while True:
            for found in spool.read(last, 32):
                os.write(log, b"%8d" % number_of(found))
                last = found.number
                while not spool.take_out([found.number]):
                    continue  # the writer stands still in the middle of a letter

    def start(job: object) -> int:
        child = os.fork()
        if child == 0:
            try:
                job()  # type: ignore[operator]
            finally:
                os._exit(1)
        return child

    children = {write: start(write), read: start(read)}
    try:
        for _ in range(ROUNDS):
            job, log = draw.choice([(write, written_to), (read, read_to)])
            # At a moment when it does something, however busy the machine is.
            until(partial(is_beyond, log, log.stat().st_size), 10.0)
            time.sleep(draw.uniform(0.0, 0.01))
            os.kill(children[job], signal.SIGKILL)
            os.waitpid(children[job], 0)
            children[job] = start(job)
    finally:
        for child in children.values():
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    noted = len(written_to.read_bytes()) // 8
    said = read_to.read_bytes()
    read_so_far = [int(said[at : at + 8]) for at in range(0, len(said) - 7, 8)]
    spool = SpoolFile(path, limit=64 << 20)
    left = numbers(spool, most=1_000_000)
    assert set(range(noted)) <= {*read_so_far, *left}
    firsts = list(dict.fromkeys([*read_so_far, *left]))
    assert firsts == sorted(firsts)
    # One that was read and not confirmed for each death of the reader, at the most,
    # and one that was written and not noted for each of the writer.
    assert len(read_so_far) + len(left) - len(firsts) <= ROUNDS + 2
    balance = spool.balance()
    assert balance.accepted == balance.confirmed + balance.queued
    spool.remove()
