"""SQLite as a keeper of mail uses it: opened with care, and its errors said in our words.

On a memory file system nothing is synced: a killed process leaves what it wrote,
and a power cut takes the whole file. On flash each commit is synced before it
returns.

Refused: `SpoolError` for a file system that is full or read-only, with what to do.
A file that is no database any more is put aside for whoever wants to look, and
begun anew.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gateway.errors import GatewayError, SpoolError

log = logging.getLogger(__name__)

PAGE = 4096
"""Bytes of a page, in which bounds are counted."""

UNFINISHED = ".new"
"""What the name of a file has more as long as nobody else may see it."""

BROKEN = 3
"""Broken files of one name that are kept to be looked at."""


class Keeping(NamedTuple):
    """How a database is kept.

    ``tables`` are made where there is none called ``counts``; ``limit`` is in bytes.
    ``log`` is after how many bytes of its write-ahead log that goes into the file.
    ``exclusive`` is for one that nobody else ever opens: then there is no index of
    the log beside it, which flash would have to bear as well. ``page`` is in bytes:
    a commit writes whole ones. ``patience``, in seconds, is for one whom it stands in the
    way of at the opening.
    """

    tables: str
    limit: int
    log: int
    synced: bool = False
    exclusive: bool = False
    page: int = PAGE
    patience: float = 0.25


# Who only opens the file needs no lock, which somebody who stands still may have.
_HAS_TABLES = "SELECT 1 FROM sqlite_master WHERE name = 'counts'"


def open_database(path: Path, keeping: Keeping) -> sqlite3.Connection:
    """Open the database at ``path``, for any thread; one that is broken is begun anew.

    Raises `SpoolError` where that cannot be done.
    """
    with told(path):
        try:
            return _connect(path, keeping)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            log.error("%s is broken (%s): put aside as %s", path, error, put_aside(path))
            return _connect(path, keeping)


def _connect(path: Path, keeping: Keeping) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        # Nobody sees it before it is whole: to make one takes locks that others trip over.
        unfinished = path.with_name(f"{path.name}{UNFINISHED}")
        for part in parts(unfinished):
            part.unlink(missing_ok=True)
        _open_at(unfinished, keeping).close()
        os.rename(unfinished, path)
    return _open_at(path, keeping)


def _open_at(path: Path, keeping: Keeping) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
    try:
        database.execute(f"PRAGMA page_size = {keeping.page}")
        if keeping.exclusive:
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
        # Whoever opens first makes the tables; the other one waits for that.
        database.execute(f"PRAGMA busy_timeout = {round(keeping.patience * 1000)}")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {'FULL' if keeping.synced else 'OFF'}")
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        if not database.execute(_HAS_TABLES).fetchone():
            database.executescript(f"BEGIN IMMEDIATE; {keeping.tables} COMMIT;")
        database.execute(f"PRAGMA max_page_count = {keeping.limit // keeping.page}")
        database.execute(f"PRAGMA wal_autocheckpoint = {max(16, keeping.log // keeping.page)}")
        database.execute("PRAGMA busy_timeout = 50")
    except BaseException:
        database.close()
        raise
    return database


def put_aside(path: Path) -> Path | None:
    """Rename a broken file to the first free ``….broken-N``; return that, None where it is gone.

    There are at most `BROKEN`: then the last of them is replaced, so that a card which
    spoils files does not fill up with them as well.
    """
    for number in range(1, BROKEN + 1):
        aside = path.with_name(f"{path.name}.broken-{number}")
        if not aside.exists():
            break
    # The log first: without its file it would be taken for that of the next one so called.
    for part in parts(path)[1:]:
        part.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, aside)
        return aside
    return None


def parts(path: Path) -> list[Path]:
    """Return the files of the database at ``path``: itself, its log, its index."""
    return [path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]


def result_code(error: sqlite3.Error) -> int:
    """Return the primary result code; the extended ones tell why in the byte above."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Do what is inside whole or not at all; `sqlite3.OperationalError` where another writes."""
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
def told(path: Path) -> Iterator[None]:
    """Raise what the file system has to say as `SpoolError`, with what to do about it."""
    try:
        yield
    except GatewayError:
        raise  # several of them are an OSError as well
    except sqlite3.Error as error:
        raise SpoolError(f"the spool {path} cannot be used: {error}; {_advice(error)}") from error
    except OSError as error:
        advice = _OF_THE_SYSTEM.get(error.errno or 0, _LOOK)
        raise SpoolError(
            f"the spool {path} cannot be used: {error.strerror or error}; {advice}"
        ) from error


_LOOK = "look at its folder"
_OF_THE_SYSTEM = {
    errno.EROFS: "name a folder that can be written to",
    errno.EACCES: "its folder must belong to the gateway's user",
    errno.ENOTDIR: "name a folder, not a file",
    errno.EEXIST: "name a folder, not a file",
    errno.ENOSPC: "free some space",
    errno.EMFILE: "raise LimitNOFILE= in the unit",
}


def _advice(error: sqlite3.Error) -> str:
    return {
        sqlite3.SQLITE_FULL: "its file system is full: free some space",
        sqlite3.SQLITE_READONLY: "its file system is read-only",
        sqlite3.SQLITE_CANTOPEN: "its folder is missing or not ours",
        sqlite3.SQLITE_IOERR: "its file system is full or failing",
        sqlite3.SQLITE_CORRUPT: "it is broken, and begun anew when it is opened next",
        sqlite3.SQLITE_NOTADB: "it is no spool",
    }.get(result_code(error), _LOOK)
