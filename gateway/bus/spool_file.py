"""One file of letters on their way: written by one OS process, emptied by another.

A letter is in the file when `SpoolFile.append` returns, and stays there until
the reader says that it has arrived (`take_out`). Whoever is killed in between
loses nothing: a letter is written whole or not at all, and what was not
confirmed is read again. So a letter may be read twice, never not at all, and in
the order in which it was written.

It is an SQLite database with a write-ahead log (`gateway.bus.database`). On flash
each `append` is synced before it returns, so that many letters at a time are cheap
and one is not.

The file is bounded in bytes. What is full does as its policy says: ``block``
waits for the reader, ``reject`` is refused at once, ``drop_oldest`` lets the
oldest letters go, which is counted in the file itself.

Refused: `MailboxFullError` as said, `SpoolError` for a file that cannot be used.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Literal, NamedTuple

from gateway.bus.database import PAGE, Keeping, open_database, parts, result_code, told, transaction
from gateway.bus.lanes import Policy
from gateway.errors import BodyError, MailboxFullError, SpoolError
from gateway.mail.codec import encode
from gateway.mail.message import Message

SMALLEST = 64 * PAGE
"""Bytes that a file is allowed at least: the tables, and letters worth the name."""

GIVE_WAY = 64
"""Letters that go at a time, at the most, where the oldest have to."""

LARGEST_PART = 0.5
"""What part of its limit may be written at a time."""

SPARE = 32
"""Pages that SQLite may want for its trees beside what is written."""

LOOK_AT_LOG = 64
"""Letters after which it is seen how long the write-ahead log has become."""

LOOK_AGAIN = 0.005
"""Seconds after which a writer that waits for room looks again."""

PATIENCE = 0.05
"""Seconds that a reader tries to get a word in."""

GAP = 0.0002
"""Seconds between two of its tries."""

LAST = (1 << 63) - 1
"""The largest number that there can be."""

_TABLES = """
CREATE TABLE IF NOT EXISTS letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    subject TEXT NOT NULL,
    letter BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT OR IGNORE INTO counts VALUES
    ('dropped', 0), ('garbage', 0), ('expired', 0), ('moved', 0), ('identity', random());
"""

_INSERT = "INSERT INTO letters (subject, letter) VALUES (?, ?)"

Fate = Literal["dropped", "garbage", "expired", "moved"]
"""What becomes of a letter that is taken out and has not arrived."""


class BusyError(SpoolError):
    """Somebody else is in the middle of changing the file, or stands still while reading it."""


class Spooled(NamedTuple):
    """A letter in a file, as it lies there; numbers grow and are never used twice."""

    number: int
    subject: str
    letter: bytes


class SpoolBalance(NamedTuple):
    """What became of the letters of a file, or of several.

    accepted = confirmed + dropped + garbage + expired + moved + queued.
    """

    accepted: int
    confirmed: int
    dropped: int
    garbage: int
    expired: int
    moved: int
    queued: int


class SpoolFile:
    """One file of letters; any thread may use it, and one OS process writes to it.

    ``limit`` is in bytes, the write-ahead log not counted, which is kept below
    a tenth of it or 1 MB; near ``limit`` where a reader stands still. ``synced`` is for
    flash: what `append` has returned is there after a power cut. ``identity`` is a
    number that no other file has. ``patience``, in seconds, is for whoever stands in
    the way at the opening.
    """

    def __init__(
        self,
        path: Path,
        *,
        limit: int,
        policy: Policy = "drop_oldest",
        synced: bool = False,
        patience: float = 0.25,
    ) -> None:
        if limit < SMALLEST:
            raise ValueError(f"a spool has at least {SMALLEST} bytes, not {limit}")
        self.path = path
        self._limit = limit
        self._policy = policy
        self._lock = threading.Lock()
        self._log_unseen = 0
        log = min(limit // 10, 1 << 20)
        self._database: sqlite3.Connection | None = open_database(
            path, Keeping(_TABLES, limit, log, synced, patience=patience)
        )
        with self._lock, told(path):
            (self.identity,) = self._opened().execute(_IDENTITY).fetchone()
            self._inode = path.stat().st_ino

    # The writer's side

    def append(self, messages: Sequence[Message], timeout: float = 5.0) -> None:
        """Write ``messages``, all or none; they are in the file when this returns.

        Raises `MailboxFullError` where there is no room for them, for
        ``timeout`` seconds under ``block``, `BusyError` where somebody stands still in the
        middle of changing the file, or of reading it, for so long, and `BodyError` for
        text that is no Unicode.
        """
        try:
            rows = [(message.subject, encode(message)) for message in messages]
        except UnicodeEncodeError as error:
            raise BodyError(f"the letter holds text that is no Unicode: {error}") from error
        size = sum(len(letter) for _, letter in rows)
        if size > self._limit * LARGEST_PART:
            # Said before anything gives way for what would find no room all the same.
            raise MailboxFullError(
                f"{size} bytes at a time are more than the spool {self.path.name!r} has room for:"
                f" it has {self._limit}; send less, or allow it more"
            )
        deadline = monotonic() + timeout
        while True:
            try:
                if self._append(rows, size):
                    return
                at_once = self._policy == "reject"
            except BusyError:
                if monotonic() >= deadline:
                    raise
                at_once = False
            if at_once or monotonic() >= deadline:
                waited = "" if at_once else f" for {timeout:g} s"
                raise MailboxFullError(
                    f"the spool {self.path.name!r} is full{waited} with {self._limit} bytes:"
                    " what reads it is slow, stuck or cut off"
                )
            sleep(LOOK_AGAIN)

    def _append(self, rows: list[tuple[str, bytes]], size: int) -> bool:
        """Write ``rows`` if there is room; tell whether there was."""
        make_room = False
        with self._lock, told(self.path):
            database = self._opened()
            self._look_at_log(database, len(rows))
            while True:
                try:
                    if make_room:
                        if not self._let_go(database, size):
                            return False
                        make_room = False
                    if len(rows) == 1:
                        # A transaction by itself, at a third of the cost.
                        database.execute(_INSERT, rows[0])
                    else:
                        with transaction(database):
                            database.executemany(_INSERT, rows)
                except sqlite3.OperationalError as error:
                    if result_code(error) == sqlite3.SQLITE_BUSY:
                        raise BusyError(f"the spool {self.path.name!r} is being changed") from error
                    if result_code(error) != sqlite3.SQLITE_FULL:
                        raise
                    # To let go takes no room in the file: where that fails, it is the disk.
                    if make_room or self._is_disk_full(database, size):
                        raise
                    if self._policy != "drop_oldest":
                        return False
                    make_room = True
                else:
                    return True

    def _look_at_log(self, database: sqlite3.Connection, more: int) -> None:
        """Raise `BusyError` where the log grows and grows, since a reader stands still in it."""
        self._log_unseen += more
        if self._log_unseen >= LOOK_AT_LOG:
            with contextlib.suppress(FileNotFoundError):  # put aside
                if parts(self.path)[1].stat().st_size > self._limit:
                    busy, pages, done = database.execute(_CLEAR_LOG).fetchone()
                    if busy or (done < pages and pages * PAGE > self._limit):
                        raise BusyError(f"the log of the spool {self.path.name!r} is being read")
            self._log_unseen = 0

    def _let_go(self, database: sqlite3.Connection, size: int) -> int:
        """Drop the oldest letters, as many as ``size`` bytes need; count and return how many."""
        with transaction(database):
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
        return self._room(database) > SPARE + 2 * size // PAGE

    def _room(self, database: sqlite3.Connection) -> int:
        """Return how many pages are free."""
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (free,) = database.execute("PRAGMA freelist_count").fetchone()
        return int(self._limit // PAGE - pages + free)

    # The reader's side

    def read(self, after: int = 0, most: int = 256, upto: int = LAST) -> list[Spooled]:
        """Return up to ``most`` letters with numbers above ``after``, oldest first."""
        with self._lock, told(self.path):
            rows = self._opened().execute(_READ, (after, upto, most)).fetchall()
        return [Spooled(*row) for row in rows]

    def newest(self, upto: int, most: int = 256) -> list[Spooled]:
        """Return up to ``most`` letters with numbers up to ``upto``, newest first."""
        with self._lock, told(self.path):
            rows = self._opened().execute(_NEWEST, (upto, most)).fetchall()
        return [Spooled(*row) for row in rows]

    def subjects(self, after: int, upto: int, but: Iterable[int] = ()) -> set[str]:
        """Return what the letters with numbers above ``after``, up to ``upto``, are about.

        Those with the numbers ``but`` are left out.
        """
        with self._lock, told(self.path):
            bounds = (after, upto, json.dumps(list(but)))
            rows = self._opened().execute(_SUBJECTS, bounds).fetchall()
        return {subject for (subject,) in rows}

    def numbers(self, upto: int) -> list[int]:
        """Return the numbers of the letters that are there, up to ``upto``."""
        with self._lock, told(self.path):
            rows = self._opened().execute(_NUMBERS, (upto,)).fetchall()
        return [number for (number,) in rows]

    def last(self) -> int:
        """Return the number of the newest letter that is there; 0 for none."""
        with self._lock, told(self.path):
            (number,) = self._opened().execute(_LAST).fetchone()
        return int(number)

    def fill(self) -> float:
        """Return what part of its limit is used."""
        with self._lock, told(self.path):
            return 1.0 - self._room(self._opened()) * PAGE / self._limit

    def take_out(self, numbers: Sequence[int], fate: Fate | None = None) -> bool:
        """Take out letters that have arrived, or that met ``fate``, which is counted.

        False where the writer is in the way: then it is to be done again later; a writer
        that stands still in the middle of a letter holds up nobody.
        """
        deadline = monotonic() + PATIENCE
        with self._lock, told(self.path):
            database = self._opened()
            # A writer in full flow leaves gaps that SQLite's own waits are too long to hit.
            database.execute("PRAGMA busy_timeout = 0")
            while True:
                try:
                    with transaction(database):
                        gone = _delete(database, numbers)
                        if fate is not None:
                            _count(database, fate, gone)
                except sqlite3.OperationalError as error:
                    if result_code(error) != sqlite3.SQLITE_BUSY:
                        raise
                    if monotonic() >= deadline:
                        return False
                    sleep(GAP)
                else:
                    return True

    @property
    def is_in_place(self) -> bool:
        """Tell whether its path leads to it: who finds it broken puts it aside."""
        try:
            return self.path.stat().st_ino == self._inode
        except OSError:
            return False

    def balance(self) -> SpoolBalance:
        """Return what became of every letter that was ever written to this file."""
        with self._lock, told(self.path):
            database = self._opened()
            accepted, queued, dropped, garbage, expired, moved = database.execute(
                _BALANCE
            ).fetchone()
        confirmed = accepted - queued - dropped - garbage - expired - moved
        return SpoolBalance(accepted, confirmed, dropped, garbage, expired, moved, queued)

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
        for path in parts(self.path):
            path.unlink(missing_ok=True)

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            raise SpoolError(f"the spool {self.path.name!r} is closed")
        return self._database


_READ = (
    "SELECT number, subject, letter FROM letters WHERE number > ? AND number <= ?"
    " ORDER BY number LIMIT ?"
)
_NEWEST = (
    "SELECT number, subject, letter FROM letters WHERE number <= ? ORDER BY number DESC LIMIT ?"
)
_SUBJECTS = (
    "SELECT DISTINCT subject FROM letters WHERE number > ? AND number <= ?"
    " AND number NOT IN (SELECT value FROM json_each(?))"
)
_NUMBERS = "SELECT number FROM letters WHERE number <= ?"
_CLEAR_LOG = "PRAGMA wal_checkpoint(PASSIVE)"
_IDENTITY = "SELECT value FROM counts WHERE name = 'identity'"
_LAST = "SELECT coalesce(max(number), 0) FROM letters"
# In one statement, so that nobody writes in between.
_BALANCE = (
    "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'letters'), 0),"
    " (SELECT count(*) FROM letters),"
    + ",".join(
        f" (SELECT value FROM counts WHERE name = '{name}')"
        for name in ("dropped", "garbage", "expired", "moved")
    )
)


def _count(database: sqlite3.Connection, name: str, more: int) -> None:
    database.execute("UPDATE counts SET value = value + ? WHERE name = ?", (more, name))


def _delete(database: sqlite3.Connection, numbers: Sequence[int]) -> int:
    return database.executemany(
        "DELETE FROM letters WHERE number = ?", [(number,) for number in numbers]
    ).rowcount
