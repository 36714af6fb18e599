"""Which letters on flash are done with, remembered in memory.

Crossing letters off one by one would wear the card more than writing them did.
So what is done with is noted here, on a memory file system, and taken out there
many at a time. A killed reader's successor knows it all; after a power cut the
letters that were not taken out yet go once more.

Also here, for the same successor: what became of the letters of files that are gone,
and how many lay on flash already when this memory began.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

from gateway.bus.database import PAGE, Keeping, open_database, told, transaction
from gateway.bus.spool_file import SpoolBalance

LIMIT = 64 << 20
"""Bytes of the file at the most: some millions of letters."""

_TABLES = """
CREATE TABLE IF NOT EXISTS done (
    file INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (file, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


class Progress:
    """One file; any thread of its reader may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database: sqlite3.Connection = open_database(path, Keeping(_TABLES, LIMIT, 64 * PAGE))

    def note(self, file: int, numbers: Iterable[int]) -> None:
        """Note that the letters with ``numbers`` of ``file``, an identity, are done with."""
        with self._lock, told(self._path), transaction(self._database):
            self._database.executemany(
                "INSERT OR IGNORE INTO done VALUES (?, ?)", [(file, number) for number in numbers]
            )

    def known(self, file: int) -> list[int]:
        """Return what was noted of ``file`` and not forgotten."""
        with self._lock, told(self._path):
            rows = self._database.execute(
                "SELECT number FROM done WHERE file = ? ORDER BY number", (file,)
            ).fetchall()
        return [number for (number,) in rows]

    def forget(self, file: int, numbers: Iterable[int]) -> None:
        """Forget letters that have been taken out."""
        with self._lock, told(self._path), transaction(self._database):
            self._database.executemany(
                "DELETE FROM done WHERE file = ? AND number = ?",
                [(file, number) for number in numbers],
            )

    def add(self, file: int, balance: SpoolBalance) -> None:
        """Add what became of the letters of ``file``, which is about to go: once."""
        with self._lock, told(self._path), transaction(self._database):
            query = "INSERT OR IGNORE INTO counts VALUES (?, 1)"
            if self._database.execute(query, (_going(file),)).rowcount:
                self._database.executemany(
                    "INSERT INTO counts VALUES (?, ?)"
                    " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                    list(balance._asdict().items()),
                )

    def is_going(self, file: int) -> bool:
        """Tell whether ``file`` was added, and whoever did so was killed before it was gone."""
        with self._lock, told(self._path):
            query = "SELECT 1 FROM counts WHERE name = ?"
            return self._database.execute(query, (_going(file),)).fetchone() is not None

    def went(self, file: int) -> None:
        """Note that ``file`` is gone."""
        with self._lock, told(self._path):
            self._database.execute("DELETE FROM counts WHERE name = ?", (_going(file),))

    def gone(self) -> SpoolBalance:
        """Return what became of the letters of all files that are gone."""
        with self._lock, told(self._path):
            counts = dict(self._database.execute("SELECT name, value FROM counts").fetchall())
        return SpoolBalance(*(counts.get(name, 0) for name in SpoolBalance._fields))

    def carried(self, file: int, accepted: int) -> int:
        """Return how many letters ``file`` had taken in when it was first asked about.

        ``accepted`` is how many it has taken in by now.
        """
        name = f"carried {file}"
        with self._lock, told(self._path), transaction(self._database):
            self._database.execute("INSERT OR IGNORE INTO counts VALUES (?, ?)", (name, accepted))
            query = "SELECT value FROM counts WHERE name = ?"
            (value,) = self._database.execute(query, (name,)).fetchone()
        return int(value)

    def close(self) -> None:
        """Give the file back; what is in it stays."""
        with self._lock:
            self._database.close()


def _going(file: int) -> str:
    return f"going {file}"
