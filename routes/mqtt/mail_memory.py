"""What the mail between gateways has to remember even where its route is killed.

One SQLite file below the folder of the sockets, which is memory: a killed process
loses nothing of it, a power cut takes it. Two tables: letters on their way out, until
the other side has taken them and answered; and the ids of those that came in, with what
became of them, so that a letter that comes again is known.

Times are seconds of the monotonic clock, which all processes share until the machine
starts anew; a file from before that is emptied. The memory of what came in is bounded by
time and number: a letter is repeated for `REPEATED` seconds after it was first published
and known for `KNOWN`. Where it is full of ids younger than that, nothing more is taken
in, rather than that something is taken twice.

Belongs to one thread. A file that cannot be used is put aside and begun anew, and that is
said. Refused: a file system that is full or read-only (`SpoolError`).
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import NamedTuple

from gateway.bus.database import put_aside, told
from gateway.errors import ProtocolError, SpoolError
from gateway.mail.codec import decode, encode
from gateway.mail.message import Message

log = logging.getLogger(__name__)

REPEATED = 120.0
"""Seconds after its first publication within which a letter is published again."""

KNOWN = 600.0
"""Seconds for which a letter that came in is known again."""

MOST = 50_000
"""Letters that came in and are known at the most."""

TIDY_EVERY = 1.0
"""Seconds after which those that are known for too long are looked for."""

_TABLES = """
CREATE TABLE IF NOT EXISTS outgoing (
    id TEXT PRIMARY KEY, letter BLOB NOT NULL, deadline REAL NOT NULL,
    published REAL, taken INTEGER NOT NULL DEFAULT 0, run TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS incoming (
    id TEXT PRIMARY KEY, heard REAL NOT NULL, outcome BLOB
);
CREATE INDEX IF NOT EXISTS by_time ON incoming (heard);
"""


class Outgoing(NamedTuple):
    """A letter on its way: when it is given up, when it was first published, if it was taken."""

    letter: Message
    deadline: float
    published: float | None
    taken: bool
    answerable: bool
    """Whether it was written since this gateway was started, so that its sender may still live."""


class MailMemory:
    """The file of one route; see the module's head."""

    def __init__(self, path: Path, now: float, *, run: str) -> None:
        """``run`` names the present run of the gateway, which has many lives of a route."""
        self.path = path
        self._run = run
        # How many are known is counted when the first comes.
        self._known, self._tidy_at = 0, now
        with told(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._database = self._open(now)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                log.error("%s is broken (%s): put aside as %s", path, error, put_aside(path))
                self._database = self._open(now)

    def close(self) -> None:
        """Give the file back; what is in it stays."""
        self._database.close()

    # On their way out

    def add(self, letter: Message, deadline: float) -> None:
        """Remember a letter until `forget`."""
        with told(self.path):
            self._database.execute(
                "INSERT OR REPLACE INTO outgoing VALUES (?, ?, ?, NULL, 0, ?)",
                (letter.message_id, encode(letter), deadline, self._run),
            )

    def published(self, letter: Message, now: float) -> None:
        """Note when a letter was published first."""
        with told(self.path):
            self._database.execute(
                "UPDATE outgoing SET published = ? WHERE id = ?", (now, letter.message_id)
            )

    def taken(self, letter: Message, deadline: float) -> None:
        """Note that the other side has a letter, whose answer is awaited until ``deadline``."""
        with told(self.path):
            self._database.execute(
                "UPDATE outgoing SET taken = 1, letter = ?, deadline = ? WHERE id = ?",
                (encode(letter), deadline, letter.message_id),
            )

    def give_up(self, letter: Message, now: float) -> None:
        """Note that the time of a letter is over before its deadline."""
        with told(self.path):
            self._database.execute(
                "UPDATE outgoing SET deadline = ? WHERE id = ?", (now, letter.message_id)
            )

    def forget(self, id: str) -> None:
        """Forget a letter that is done with."""
        with told(self.path):
            self._database.execute("DELETE FROM outgoing WHERE id = ?", (id,))

    def outgoing(self) -> list[Outgoing]:
        """Return what is remembered, oldest first."""
        found = []
        with told(self.path):
            rows = self._database.execute(
                "SELECT id, letter, deadline, published, taken, run FROM outgoing ORDER BY rowid"
            ).fetchall()
        for id, packed, deadline, published, taken, run in rows:
            try:
                known = decode(packed), deadline, published, bool(taken), run == self._run
                found.append(Outgoing(*known))
            except ProtocolError as error:
                log.error("a letter to another gateway is lost: %s", error)
                self.forget(id)
        return found

    # Came in

    def begin(self, id: str, now: float) -> bytes | None:
        """Note that the letter ``id`` is about to be delivered; None where it is new.

        Else what became of it, empty where that is not known: whoever was about to deliver
        it was killed. Raises `SpoolError` where no more can be known.
        """
        with told(self.path):
            row = self._database.execute(
                "SELECT outcome FROM incoming WHERE id = ?", (id,)
            ).fetchone()
            if row is not None:
                return row[0] or b""
            if now >= self._tidy_at or self._known >= MOST:
                self._tidy(now)
            if self._known >= MOST:
                raise SpoolError(f"{MOST} letters came within {KNOWN:g} s: no more can be known")
            self._database.execute("INSERT INTO incoming VALUES (?, ?, NULL)", (id, now))
            self._known += 1
        return None

    def end(self, id: str, outcome: bytes) -> None:
        """Note what became of the letter ``id``: what is said to whoever repeats it."""
        with told(self.path):
            self._database.execute("UPDATE incoming SET outcome = ? WHERE id = ?", (outcome, id))

    def _tidy(self, now: float) -> None:
        """Forget what came in long ago; count the rest."""
        self._tidy_at = now + TIDY_EVERY
        self._database.execute("DELETE FROM incoming WHERE heard < ?", (now - KNOWN,))
        (self._known,) = self._database.execute("SELECT count(*) FROM incoming").fetchone()

    def _open(self, now: float) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, isolation_level=None, timeout=1.0)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            # On memory there is nothing to be synced.
            database.execute("PRAGMA synchronous = OFF")
            (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            database.executescript(_TABLES)
            # Nothing is from the future: the machine was started since.
            for table, column in (("outgoing", "published"), ("incoming", "heard")):
                (found,) = database.execute(f"SELECT max({column}) FROM {table}").fetchone()
                if found is not None and found > now:
                    database.execute(f"DELETE FROM {table}")
        except BaseException:
            database.close()
            raise
        return database
