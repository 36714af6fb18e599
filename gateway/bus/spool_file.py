"""One file of letters on their way: written by one OS process, emptied by another.

A letter is in the file when `SpoolFile.append` returns, and stays there until
the reader says that it has arrived (`confirm`). Whoever is killed in between
loses nothing: a letter is written whole or not at all, and what was not
confirmed is read again. So a letter may be read twice, never not at all, and in
the order in which it was written.

It is an SQLite database with a write-ahead log. On a memory file system nothing
is synced (a killed process leaves what it wrote, and a power cut takes the whole
file); on flash each `append` is synced before it returns, so that many letters
at a time are cheap and one is not.

The file is bounded in bytes. What is full does as its policy says: ``block``
waits for the reader, ``reject`` is refused at once, ``drop_oldest`` lets the
oldest letters go, which is counted in the file itself.

Refused: `MailboxFullError` as said, `SpoolError` for a file system that is full
or read-only. A file that is no database any more is put aside for whoever
wants to look, counted by its name, and begun anew.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from gateway.bus.lanes import Policy
from gateway.errors import (
    BodyError,
    GatewayError,
    MailboxFullError,
    ProtocolError,
    SpoolError,
)
from gateway.mail.codec import decode, encode
from gateway.mail.message import Message

PAGE = 4096
"""Bytes of a page, in which the bound is counted."""

SMALLEST = 64 * PAGE
"""Bytes that a file is allowed at least: the tables, and letters worth the name."""

GIVE_WAY = 64
"""Letters that go at a time, at the most, where the oldest have to."""

LARGEST_PART = 0.5
"""What part of its limit may be written at a time."""

SPARE = 32
"""Pages that SQLite may want for its trees beside what is written."""

LOOK_AGAIN = 0.005
"""Seconds after which a writer that waits for room looks again."""

_TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    letter BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT OR IGNORE INTO counts VALUES ('dropped', 0), ('garbage', 0);
COMMIT;
"""

# Who only opens the file needs no lock, which somebody who stands still may have.
_HAS_TABLES = "SELECT 1 FROM sqlite_master WHERE name = 'counts'"
_INSERT = "INSERT INTO letters (letter) VALUES (?)"


class Spooled(NamedTuple):
    """A letter in a file, and its number there; numbers grow and are never used twice."""

    number: int
    message: Message


class SpoolBalance(NamedTuple):
    """What became of the letters of one file: accepted = confirmed + dropped + garbage + queued."""

    accepted: int
    confirmed: int
    dropped: int
    garbage: int
    queued: int


class SpoolFile:
    """One file of letters; any thread may use it, and one OS process writes to it.

    ``limit`` is in bytes, the write-ahead log not counted, which is kept below
    a tenth of it or 1 MB. ``synced`` is for flash: what `append` has returned is
    there after a power cut.
    """

    def __init__(
        self,
        path: Path,
        *,
        limit: int,
        policy: Policy = "drop_oldest",
        synced: bool = False,
    ) -> None:
        if limit < SMALLEST:
            raise ValueError(f"a spool has at least {SMALLEST} bytes, not {limit}")
        self.path = path
        self._limit = limit
        self._policy = policy
        self._synced = synced
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        with _told(path):
            self._database = self._open()

    # The writer's side

    def append(self, messages: Sequence[Message], timeout: float = 5.0) -> None:
        """Write ``messages``, all or none; they are in the file when this returns.

        Raises `MailboxFullError` where there is no room for them, for
        ``timeout`` seconds under ``block``, and `BodyError` for text that is no
        Unicode.
        """
        try:
            rows = [(encode(message),) for message in messages]
        except UnicodeEncodeError as error:
            raise BodyError(f"the letter holds text that is no Unicode: {error}") from error
        size = sum(len(row[0]) for row in rows)
        if size > self._limit * LARGEST_PART:
            # Said before anything gives way for what would find no room all the same.
            raise MailboxFullError(
                f"{size} bytes at a time are more than the spool {self.path.name!r} has room for:"
                f" it has {self._limit}; send less, or allow it more"
            )
        deadline = monotonic() + timeout
        while not self._append(rows, size):
            if self._policy == "reject" or monotonic() >= deadline:
                waited = "" if self._policy == "reject" else f" for {timeout:g} s"
                raise MailboxFullError(
                    f"the spool {self.path.name!r} is full{waited} with {self._limit} bytes:"
                    " what reads it is slow, stuck or cut off"
                )
            sleep(LOOK_AGAIN)

    def _append(self, rows: list[tuple[bytes]], size: int) -> bool:
        """Write ``rows`` if there is room; tell whether there was."""
        make_room = False
        with self._lock, _told(self.path):
            database = self._opened()
            while True:
                try:
                    if make_room and not self._let_go(database, size):
                        return False
                    if len(rows) == 1:
                        # A transaction by itself, at a third of the cost.
                        database.execute(_INSERT, rows[0])
                    else:
                        with _transaction(database):
                            database.executemany(_INSERT, rows)
                except sqlite3.OperationalError as error:
                    if _code(error) == sqlite3.SQLITE_BUSY:
                        # Its reader stands still in the middle of a change.
                        return False
                    if _code(error) != sqlite3.SQLITE_FULL or self._is_disk_full(database, size):
                        raise
                    if self._policy != "drop_oldest":
                        return False
                    make_room = True
                else:
                    return True

    def _let_go(self, database: sqlite3.Connection, size: int) -> int:
        """Drop the oldest letters, as many as ``size`` bytes need; count and return how many."""
        with _transaction(database):
            oldest = database.execute(
                "SELECT number, length(letter) FROM letters ORDER BY number LIMIT ?", (GIVE_WAY,)
            )
            gone: list[int] = []
            # A little more than is needed, so that not every letter has to ask.
            wanted = size + self._limit // GIVE_WAY
            for number, length in oldest:
                gone.append(number)
                wanted -= length
                if wanted <= 0:
                    break
            _count(database, "dropped", _delete(database, gone))
        return len(gone)

    def _is_disk_full(self, database: sqlite3.Connection, size: int) -> bool:
        """Tell a full file system from a full spool, which look the same to SQLite.

        ``size`` bytes were to be written.
        """
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (free,) = database.execute("PRAGMA freelist_count").fetchone()
        room = self._limit // PAGE - pages + free
        return bool(room > SPARE + 2 * size // PAGE)

    # The reader's side

    def read(self, after: int = 0, most: int = 256) -> list[Spooled]:
        """Return up to ``most`` letters with a number above ``after``, oldest first.

        What is no letter is counted and taken out; it would be in the way for ever.
        """
        with self._lock, _told(self.path):
            database = self._opened()
            rows = database.execute(
                "SELECT number, letter FROM letters WHERE number > ? ORDER BY number LIMIT ?",
                (after, most),
            ).fetchall()
            found: list[Spooled] = []
            garbage: list[int] = []
            for number, letter in rows:
                try:
                    found.append(Spooled(number, decode(letter)))
                except ProtocolError:
                    garbage.append(number)
            if garbage:
                self._throw_away(database, garbage)
        return found

    def _throw_away(self, database: sqlite3.Connection, garbage: list[int]) -> None:
        """Take out what is no letter, unless the writer is in the way: then the next time."""
        try:
            with _transaction(database):
                _count(database, "garbage", _delete(database, garbage))
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY:
                raise

    def confirm(self, numbers: Sequence[int]) -> bool:
        """Take out the letters that have arrived; False where the writer is in the way.

        Then they are to be confirmed again later; a writer that stands still in
        the middle of a letter holds up nobody.
        """
        with self._lock, _told(self.path):
            database = self._opened()
            try:
                with _transaction(database):
                    _delete(database, numbers)
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY:
                    raise
                return False
        return True

    def balance(self) -> SpoolBalance:
        """Return what became of every letter that was ever written to this file."""
        with self._lock, _told(self.path):
            database = self._opened()
            # In one statement, so that nobody writes in between.
            accepted, queued, dropped, garbage = database.execute(
                "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'letters'), 0),"
                " (SELECT count(*) FROM letters),"
                " (SELECT value FROM counts WHERE name = 'dropped'),"
                " (SELECT value FROM counts WHERE name = 'garbage')"
            ).fetchone()
        return SpoolBalance(
            accepted, accepted - queued - dropped - garbage, dropped, garbage, queued
        )

    # Its life

    def close(self) -> None:
        """Give the file back; what is in it stays. A second time does nothing."""
        with self._lock:
            database, self._database = self._database, None
            if database is not None:
                database.close()

    def remove(self) -> None:
        """Close it and remove it with all that is in it."""
        self.close()
        for path in _parts(self.path):
            path.unlink(missing_ok=True)

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            raise SpoolError(f"the spool {self.path.name!r} is closed")
        return self._database

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            put_aside(self.path)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = sqlite3.connect(
            self.path, timeout=0.0, isolation_level=None, check_same_thread=False
        )
        try:
            database.execute(f"PRAGMA page_size = {PAGE}")
            # Whoever opens first makes the tables; the other one waits for that.
            database.execute("PRAGMA busy_timeout = 250")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA synchronous = {'FULL' if self._synced else 'OFF'}")
            (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            if not database.execute(_HAS_TABLES).fetchone():
                database.executescript(_TABLES)
            database.execute(f"PRAGMA max_page_count = {self._limit // PAGE}")
            log = max(16, min(self._limit // 10, 1 << 20) // PAGE)
            database.execute(f"PRAGMA wal_autocheckpoint = {log}")
            database.execute("PRAGMA busy_timeout = 50")
        except BaseException:
            database.close()
            raise
        return database


def put_aside(path: Path) -> Path | None:
    """Rename a broken file to the first free ``….broken-N``; return that, None where it is gone."""
    number = 1
    while (aside := path.with_name(f"{path.name}.broken-{number}")).exists():
        number += 1
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, aside)
        for part in _parts(path)[1:]:
            part.unlink(missing_ok=True)
        return aside
    return None


def _parts(path: Path) -> list[Path]:
    return [path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]


def _count(database: sqlite3.Connection, name: str, more: int) -> None:
    database.execute("UPDATE counts SET value = value + ? WHERE name = ?", (more, name))


def _delete(database: sqlite3.Connection, numbers: Sequence[int]) -> int:
    return database.executemany(
        "DELETE FROM letters WHERE number = ?", [(number,) for number in numbers]
    ).rowcount


def _code(error: sqlite3.Error) -> int:
    """Return the primary result code; the extended ones tell why in the byte above."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        # SQLite may have taken it back by itself, as where the disk is full.
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Raise what the file system has to say as `SpoolError`, with what to do about it."""
    try:
        yield
    except GatewayError:
        raise  # several of them are an OSError as well
    except sqlite3.Error as error:
        raise SpoolError(f"the spool {path} cannot be used: {error}; {_advice(error)}") from error
    except OSError as error:
        raise SpoolError(f"the spool {path} cannot be used: {error.strerror or error}") from error


def _advice(error: sqlite3.Error) -> str:
    return {
        sqlite3.SQLITE_FULL: "its file system is full: free some space",
        sqlite3.SQLITE_READONLY: "its file system is read-only",
        sqlite3.SQLITE_CANTOPEN: "its folder is missing or not ours",
        sqlite3.SQLITE_IOERR: "its file system is full or failing",
        sqlite3.SQLITE_CORRUPT: "it is broken, and begun anew when it is opened next",
        sqlite3.SQLITE_NOTADB: "it is no spool",
    }.get(_code(error), "look at its folder")
