"""What a power cut must not take: letters on flash, many at a time.

Belongs to the reader of a spool, and to nobody else. `store` packs letters into
batches, compresses them and has them synced before it returns: a card wears by
the number of commits more than by the number of letters. `read` gives letters back
in the order in which they were stored; what is done with is remembered in memory
(`gateway.bus.progress`), and a batch goes once all of it is done with.

Letters of one file are numbered there, and `store` knows the last number of each:
a reader that is killed after it stored, and before it took them out, stores
none of them twice.

Bounded in bytes, where the oldest batches give way, and in what may be written in a
day. Refused: `SpoolError` where the file system says no, or the day's budget is
spent. A batch that is spoilt is counted as garbage, letter for letter.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path
from time import time

from gateway.bus.batch import Batch, Packed, packed, parts, unpack, unpack_subjects
from gateway.bus.database import Keeping, open_database, result_code, told, transaction
from gateway.bus.flash_budget import FlashBudget
from gateway.bus.progress import Progress
from gateway.bus.spool_file import Fate, SpoolBalance, Spooled
from gateway.errors import ProtocolError, SpoolError

CLEAR_UP = 16
"""Batches that are done with before they are taken out, which costs a commit."""

PAGE = 1024
"""Bytes of a page. A small batch is a page or two, and some that change with each commit."""

LOG = 4 << 20
"""Bytes of the write-ahead log before it goes into the file: pages that change often go once."""

_SHIFT = 16
"""A letter's number is its batch's, shifted by so many bits, and its place in that."""

_PLACE = (1 << _SHIFT) - 1

_LAST = "last of "
"""Before a file's identity: the name of the count that has the last number stored of it."""

_TABLES = """
CREATE TABLE IF NOT EXISTS batches (
    number INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    newest REAL NOT NULL,
    subjects BLOB NOT NULL,
    letters BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT OR IGNORE INTO counts VALUES
    ('stored', 0), ('confirmed', 0), ('dropped', 0), ('garbage', 0), ('expired', 0),
    ('day', 0), ('written', 0), ('batch', 0), ('identity', random());
"""


class Vault:
    """One file on flash; any thread of its reader may use it."""

    def __init__(self, path: Path, *, limit: int, daily: int, progress: Progress) -> None:
        """Open or make it; ``limit`` and ``daily``, what may be written in a day, are in bytes."""
        self.path = path
        self._progress = progress
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = open_database(
            path, Keeping(_TABLES, limit, LOG, synced=True, exclusive=True, page=PAGE)
        )
        self._batches: dict[int, Batch] = {}
        self._finished: set[int] = set()
        self._unnoted: list[int] = []
        self._forgotten: list[int] = []
        # What is to be read: batches in their order, the first one unpacked, and the
        # place in it.
        self._unread: dict[int, Batch] = {}
        self._unpacked: list[Packed] | None = None
        self._place = 0
        self.unread: Counter[str] = Counter()
        """Subjects of the batches that have not been read to their end."""
        with told(path):
            self._load()
            counts = self._counts()
        self.identity = counts["identity"]
        self.budget = FlashBudget(daily, day=counts["day"], written=counts["written"])
        for number in progress.known(self.identity):
            self._finish(number, None)
        self.clear_up()

    def _load(self) -> None:
        rows = self._opened().execute(
            "SELECT number, count, newest, subjects FROM batches ORDER BY number"
        )
        for number, count, newest, subjects in rows:
            self._add(number, Batch(count, newest, unpack_subjects(subjects)))

    def _add(self, number: int, batch: Batch) -> None:
        self._batches[number] = self._unread[number] = batch
        self.unread.update(batch.subjects)

    # In

    def store(
        self, source: int, letters: Sequence[Spooled], taken: Container[int] = ()
    ) -> list[int]:
        """Write ``letters`` of the file ``source``, an identity; return the numbers they have here.

        They are synced when this returns. 0 stands for one that was stored before. Those
        whose number there is ``taken`` are not read from here: somebody has them.
        """
        now = time()
        self.budget.check(now)
        with self._lock, told(self.path), self.budget.measured():
            while True:
                try:
                    return self._store(source, letters, taken, now)
                except sqlite3.OperationalError as error:
                    if result_code(error) != sqlite3.SQLITE_FULL or not self._give_way():
                        raise

    def _store(
        self, source: int, letters: Sequence[Spooled], taken: Container[int], now: float
    ) -> list[int]:
        database, added = self._opened(), dict[int, Batch]()
        with transaction(database):
            counts = self._counts()
            # All that changes with each commit stands in one table, and so in one page.
            last, number = counts.get(f"{_LAST}{source}", 0), counts["batch"]
            new = [letter for letter in letters if letter.number > last]
            numbers = [0] * (len(letters) - len(new))
            for part in parts(new):
                number += 1
                row = packed(part, now)
                database.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?)", (number, *row))
                made = added[number] = Batch(row.letter_count, now, [each.subject for each in part])
                for place, letter in enumerate(part):
                    numbers.append(number << _SHIFT | place)
                    if letter.number in taken:
                        made.taken.add(place)
            for gone in self._forgotten:
                database.execute("DELETE FROM counts WHERE name = ?", (f"{_LAST}{gone}",))
            if new:
                self._set(f"{_LAST}{source}", new[-1].number)
                self._set("batch", number)
                self._count("stored", len(new))
                # Of this commit the next one tells: it is not known before it is made.
                self._set("day", self.budget.day)
                self._set("written", self.budget.written)
        self._forgotten.clear()
        for number, made in added.items():
            self._add(number, made)
        return numbers

    def stored(self, source: int) -> int:
        """Return the last number of the file ``source``, an identity, that was stored here."""
        with self._lock, told(self.path):
            return self._counts().get(f"{_LAST}{source}", 0)

    def forget(self, source: int) -> None:
        """Forget a file that is gone; on flash as well, with what is stored next."""
        with self._lock:
            self._forgotten.append(source)

    def _give_way(self) -> bool:
        """Take the oldest batch out; tell whether there was one."""
        number = next(iter(self._batches), None)
        if number is None:
            return False
        self._batches[number].give_up("dropped")
        self._take_out([number])
        return True

    # Out

    def read(self, most: int) -> list[Spooled]:
        """Return up to ``most`` letters that were not read before, oldest first."""
        found: list[Spooled] = []
        with self._lock, told(self.path):
            while self._unread and len(found) < most:
                number, batch = next(iter(self._unread.items()))
                letters = self._letters(number, batch)
                place = self._place
                if place >= len(letters):
                    self._turn_over(number)
                    continue
                if place not in batch.done and place not in batch.taken:
                    letter = letters[place]
                    found.append(Spooled(number << _SHIFT | place, letter.subject, letter.letter))
                self._place += 1
        return found

    def _letters(self, number: int, batch: Batch) -> list[Packed]:
        """Return the letters of the first unread batch; what is spoilt is done with."""
        if self._unpacked is None:
            query = "SELECT letters FROM batches WHERE number = ?"
            (letters,) = self._opened().execute(query, (number,)).fetchone()
            try:
                self._unpacked = unpack(letters)
            except ProtocolError:
                self._unpacked = []
                batch.give_up("garbage")
                self._finished.add(number)
        return self._unpacked

    def _turn_over(self, number: int) -> None:
        """Be done with reading a batch, if it has not been read."""
        if number in self._unread:
            if next(iter(self._unread)) == number:
                self._unpacked, self._place = None, 0
            self.unread -= self._unread.pop(number).subjects

    def confirm(self, numbers: Sequence[int], fate: Fate | None = None) -> None:
        """Note that letters are done with: they have arrived, or met ``fate``."""
        with self._lock:
            for number in numbers:
                self._finish(number, fate)
            # What cannot be noted now is with the next.
            self._unnoted += numbers
            self._progress.note(self.identity, self._unnoted)
            self._unnoted.clear()
        if len(self._finished) >= min(CLEAR_UP, len(self._batches)):
            self.clear_up()

    def _finish(self, number: int, fate: Fate | None) -> None:
        batch = self._batches.get(number >> _SHIFT)
        if batch is not None:
            batch.done.setdefault(number & _PLACE, fate)
            if batch.is_done:
                self._finished.add(number >> _SHIFT)

    def clear_up(self) -> None:
        """Take the batches out that are done with."""
        with self._lock, told(self.path):
            self._take_out(sorted(self._finished))

    def expire(self, before: float) -> None:
        """Let the batches go whose newest letter was stored before ``before``, since 1970."""
        with self._lock, told(self.path):
            old = [number for number, batch in self._batches.items() if batch.newest < before]
            for number in old:
                self._batches[number].give_up("expired")
            self._take_out(old)

    def _take_out(self, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        fates: Counter[str] = Counter()
        for number in numbers:
            fates.update(fate or "confirmed" for fate in self._batches[number].done.values())
        database = self._opened()
        with self.budget.measured(), transaction(database):
            database.executemany(
                "DELETE FROM batches WHERE number = ?", [(number,) for number in numbers]
            )
            for fate, count in fates.items():
                self._count(fate, count)
        for number in numbers:
            self._turn_over(number)
            self._finished.discard(number)
            batch = self._batches.pop(number)
            self._progress.forget(self.identity, [number << _SHIFT | each for each in batch.done])

    # About it

    def __len__(self) -> int:
        """Return how many letters wait here."""
        return sum(batch.count - len(batch.done) for batch in self._batches.values())

    def balance(self) -> SpoolBalance:
        """Return what became of every letter that was ever stored here."""
        with self._lock, told(self.path):
            counts = self._counts()
            done: Counter[str] = Counter()
            for batch in self._batches.values():
                done.update(fate or "confirmed" for fate in batch.done.values())
            queued = len(self)
        return SpoolBalance(
            accepted=counts["stored"],
            confirmed=counts["confirmed"] + done["confirmed"],
            dropped=counts["dropped"] + done["dropped"],
            garbage=counts["garbage"] + done["garbage"],
            expired=counts["expired"] + done["expired"],
            moved=0,
            queued=queued,
        )

    def close(self) -> None:
        """Give the file back; what is in it stays. A second time does nothing."""
        with self._lock:
            database, self._database = self._database, None
            if database is not None:
                database.close()

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            raise SpoolError(f"the spool {self.path.name!r} is closed")
        return self._database

    def _counts(self) -> dict[str, int]:
        return dict(self._opened().execute("SELECT name, value FROM counts").fetchall())

    def _count(self, name: str, more: int) -> None:
        self._opened().execute("UPDATE counts SET value = value + ? WHERE name = ?", (more, name))

    def _set(self, name: str, value: int) -> None:
        self._opened().execute("INSERT OR REPLACE INTO counts VALUES (?, ?)", (name, value))
