"""One writer's file as its reader sees it: what has waited, and what is new.

Letters are taken from two ends. The *backlog* is what was there when `begin` was
called; *live* is what has come since. Where they are taken side by side, what is
live must not overtake the backlog of its own topic: it is skipped, and taken as
backlog once that has gone::

    numbers   … back ──────► mark ───────────► live ───► what is still to come
                 the backlog       skipped some    the live end

Belongs to one thread. What is done with is taken out by `flush`; on flash, many at
a time, and remembered by `gateway.bus.progress` meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path

from gateway.bus.progress import Progress
from gateway.bus.spool_file import Fate, Spooled, SpoolFile
from gateway.errors import ProtocolError
from gateway.mail.codec import decode
from gateway.mail.message import Message

AT_A_TIME = 64
"""Letters that are taken from one file before the next has its turn."""

AT_ONCE = 512 << 10
"""Bytes that are moved to flash in one go."""

NEW_AT_MOST = 4096
"""Letters that can be new at `Source.begin`: their clock may have been set back."""

SYNCED_AT_A_TIME = 256
"""Letters that are done with before they are taken out of a file on flash."""


@dataclass(slots=True, eq=False)
class Taken:
    """A letter in the reader's hands, and where it is to be confirmed."""

    message: Message
    file: str
    number: int


class Source:
    """See the module's head; ``judge`` says what becomes of a letter that is too old."""

    def __init__(
        self,
        file: SpoolFile,
        claim: Path,
        *,
        judge: Callable[[Message], Fate | None],
        progress: Progress | None = None,
    ) -> None:
        """Take over ``file``, whose writer holds ``claim``; with ``progress`` it lies on flash."""
        self.file = file
        self.claim = claim
        self.name = str(file.path)
        self.held: set[str] = set()
        """Topics of the backlog that has not been taken."""
        self.in_hand: dict[int, Taken] = {}
        self._leaving: dict[int, Fate | None] = {}
        self._unnoted: list[int] = []
        self._progress = progress
        self._judge = judge
        self._back = self._mark = self._live = self._seen = 0
        self._skipped: set[str] = set()
        self._first_skipped = 0
        if progress is not None:
            self._leaving = dict.fromkeys(progress.known(file.identity))

    def leave_out(self, upto: int) -> None:
        """Of what was stored elsewhere already, up to ``upto``, nothing is to be taken from here.

        Whoever stored it was killed before he could take it out.
        """
        for number in self.file.numbers(upto):
            if number not in self.in_hand:
                self._leaving[number] = "moved"

    @property
    def is_synced(self) -> bool:
        """Tell whether the file lies on flash."""
        return self._progress is not None

    def begin(self, since: float = inf) -> None:
        """Call backlog whatever was written before ``since``, since 1970, and was not taken."""
        back = self._back if self._back < self._mark else self._live
        self._back = min(back, self._first_skipped - 1) if self._skipped else back
        self._mark = self._live = self._last_before(since)
        self._skipped.clear()
        taken = (*self.in_hand, *self._leaving)
        self.held = self.file.subjects(self._back, self._mark, taken)

    def _last_before(self, since: float) -> int:
        """Return the number of the newest letter that was written before ``since``.

        That of the newest of all where too many seem to be newer.
        """
        last = upto = self.file.last()
        looked_at = 0
        while since < inf and (rows := self.file.newest(upto, AT_A_TIME)):
            for row in rows:
                with contextlib.suppress(ProtocolError):
                    if decode(row.letter).time < since:
                        return row.number
            looked_at += len(rows)
            if looked_at >= NEW_AT_MOST:
                return last
            upto = rows[-1].number - 1
        return upto

    def live(self, most: int, is_held: Callable[[str], bool]) -> list[Taken]:
        """Take up to ``most`` letters that have come since `begin`, oldest first."""
        found: list[Taken] = []
        while len(found) < most:
            wanted = most - len(found)
            rows = self.file.read(self._live, wanted)
            for row in rows:
                self._live = row.number
                if row.number in self._leaving or row.number in self.in_hand:
                    continue
                if row.subject in self._skipped or is_held(row.subject):
                    if not self._skipped:
                        self._first_skipped = row.number
                    self._skipped.add(row.subject)
                else:
                    self._take(row, found)
            if len(rows) < wanted:
                break
        return found

    def backlog(self, most: int) -> list[Taken]:
        """Take up to ``most`` letters of the backlog, oldest first."""
        found: list[Taken] = []
        while len(found) < most and self._back < self._mark:
            rows = self.file.read(self._back, most - len(found), self._mark)
            for row in rows:
                self._back = row.number
                if row.number not in self.in_hand and row.number not in self._leaving:
                    self._take(row, found)
            if not rows:
                self._back = self._mark
        if self._back >= self._mark:
            if self._skipped:
                self._back, self._mark = self._first_skipped - 1, self._live
                self.held = set(self._skipped)
                self._skipped.clear()
            else:
                self.held.clear()
        return found

    @property
    def has_backlog(self) -> bool:
        """Tell whether `backlog` has more to give."""
        return self._back < self._mark or bool(self._skipped)

    def _take(self, row: Spooled, found: list[Taken]) -> None:
        try:
            message = decode(row.letter)
        except ProtocolError:
            self._leave(row.number, "garbage")
            return
        fate = self._judge(message)
        if fate is not None:
            self._leave(row.number, fate)
            return
        taken = self.in_hand[row.number] = Taken(message, self.name, row.number)
        found.append(taken)

    def confirm(self, number: int) -> None:
        """A letter has arrived; `flush` takes it out."""
        self.in_hand.pop(number, None)
        self._leave(number, None)

    def _leave(self, number: int, fate: Fate | None) -> None:
        self._leaving[number] = fate
        if self._progress is not None:
            self._unnoted.append(number)

    def flush(self, *, all_of_it: bool = False) -> None:
        """Take out what is done with; what cannot be taken out now is tried again.

        On flash that is done for many at a time, unless ``all_of_it`` is to be.
        """
        if not self._leaving:
            return
        progress = self._progress
        if progress is not None:
            progress.note(self.file.identity, self._unnoted)
            self._unnoted.clear()
            if len(self._leaving) < SYNCED_AT_A_TIME and not all_of_it:
                return
        fates: dict[Fate | None, list[int]] = {}
        for number, fate in self._leaving.items():
            fates.setdefault(fate, []).append(number)
        for fate, numbers in fates.items():
            if self.file.take_out(numbers, fate):
                for number in numbers:
                    del self._leaving[number]
                if progress is not None:
                    progress.forget(self.file.identity, numbers)

    # Moving it all to flash

    def due(self) -> int:
        """Return up to which number something waits since before this was asked the last time.

        0 where nothing does.
        """
        seen, self._seen = self._seen, self.file.last()
        oldest = self.file.read(0, 1 + len(self._leaving), seen)
        return seen if any(row.number not in self._leaving for row in oldest) else 0

    def waiting(self, upto: int) -> list[Spooled]:
        """Return what waits up to number ``upto``, in hand or not: the oldest `AT_ONCE` bytes."""
        rows: list[Spooled] = []
        size = after = 0
        while size < AT_ONCE and (more := self.file.read(after, AT_A_TIME * 4, upto)):
            found = [row for row in more if row.number not in self._leaving]
            rows += found
            size += sum(len(row.letter) for row in found)
            after = more[-1].number
        return rows

    @property
    def lingering(self) -> int:
        """How many letters lie here still, and on flash already."""
        return sum(fate == "moved" for fate in self._leaving.values())

    def moved(self, rows: list[Spooled], numbers: list[int], place: str) -> None:
        """Note that ``rows`` lie at ``place`` now, with ``numbers``; those in hand as well."""
        for row, number in zip(rows, numbers, strict=True):
            self._leaving[row.number] = "moved"
            taken = self.in_hand.pop(row.number, None)
            if taken is not None:
                taken.file, taken.number = place, number
        last = rows[-1].number
        self._back = max(self._back, last)
        self._live = max(self._live, last)
        self._mark = min(max(self._mark, last), self._live)
        if self._skipped:
            self._first_skipped = max(self._first_skipped, last + 1)
            if self._first_skipped > self._live:
                self._skipped.clear()
        if self._back >= self._mark and not self._skipped:
            self.held.clear()
        self.flush(all_of_it=True)
