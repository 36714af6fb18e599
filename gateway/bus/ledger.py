"""The count of what a mailbox took in and what became of it.

At rest, ``accepted = delivered + dropped + expired + bounced +
lost_with_reader + queued``. Delivered means handed to a callback that took it,
or to whoever waited for the reply. Bounced is a letter that its reader sent
back, since a callback refused it with a `GatewayError`, none wanted it, or no
descriptor was left for its body, whether or not its sender asked to be told.
What a callback in a forked OS process sent back its mailbox has as delivered,
since it was handed on; the supervisor, which knows better, counts it as bounced.
Dropped is a letter that gave way to a newer one, here or in the queue of an OS
process that wrote it and has ended since, or a reply that came after its call
was closed. Nothing is counted twice, and what was refused was never accepted.

The counts of a forked process's mailbox lie in memory that it shares with its
supervisor, so that they are known of a reader that is stuck, and outlive one
that was killed. What such a reader had taken in and not handed out is lost
with it; what still lay in its sockets its supervisor takes out and counts.
One letter is in doubt where it was killed between taking and counting it.

Beside the equation stands what the OS process of a writer took for others, and
lost before it left (`gateway.bus.pump`): it is *unsent* in the ledger of the
writer, also of one that is stuck or was killed. When that ends in order it says
whose mail it was: from then on it is accepted and dropped in their ledgers, and
unsent no more. No two OS processes ever add to one count. So refused is what a
mailbox refused to writers in its own OS process. To others their own socket
says no, and `send` raises: no letter was accepted, and nobody counts it.
"""

from __future__ import annotations

import mmap
from typing import NamedTuple, Protocol

from gateway.errors import GatewayError

(
    ACCEPTED,
    TAKEN_IN,
    PASSED_ON,
    HANDED_OUT,
    DELIVERED,
    DROPPED,
    EXPIRED,
    BOUNCED,
    LOST,
    REFUSED,
    GARBAGE,
    TAKING,
    UNSENT,
    WITHHELD,
) = range(14)
"""Where each count stands in a row.

Taken in is accepted as well, from a socket and with others. Passed on is accepted and
delivered at once, handed out is delivered by the reader from a lane. Delivered is the rest
(replies that were found in a lane), less what its reader was handed and was then too old or
sent back: it alone may be below zero. Taking is 1 while the reader may
have a letter from a socket in its hands that is counted nowhere yet. Unsent and withheld are of
what its OS process wrote to others: lost there, and waiting there for room.
"""

ROW = 16
"""Counts of 64 bits that a row has room for."""

ROWS = 4096
"""Mailboxes at the most, in OS processes of their own, that one gateway has books for."""


class Counts(Protocol):
    """One row; whoever writes to it holds its mailbox's lock.

    But for those that have one writer at a time: `TAKEN_IN`, `TAKING` and `GARBAGE` are of
    whoever reads the sockets, `HANDED_OUT` is the reader's, `UNSENT` and `WITHHELD` the pump's.
    To `PASSED_ON` is added in one step, by whoever it is.
    """

    def __getitem__(self, index: int, /) -> int:
        """Return one count."""
        ...

    def __setitem__(self, index: int, value: int, /) -> None:
        """Set one count."""
        ...


class Balance(NamedTuple):
    """A ledger at one moment; counts of letters."""

    accepted: int = 0
    delivered: int = 0
    dropped: int = 0
    expired: int = 0
    bounced: int = 0
    lost_with_reader: int = 0
    queued: int = 0
    refused: int = 0
    garbage: int = 0
    in_doubt: int = 0
    unsent: int = 0

    @property
    def is_balanced(self) -> bool:
        """Whether every accepted letter is accounted for."""
        return self.accepted == self.settled + self.queued

    @property
    def settled(self) -> int:
        """Letters of which it is known what became of them."""
        return self.delivered + self.dropped + self.expired + self.bounced + self.lost_with_reader

    def plus(self, other: Balance) -> Balance:
        """Return the two together.

        >>> Balance(accepted=3, delivered=3).plus(Balance(accepted=1, queued=1))[:2]
        (4, 3)
        """
        return Balance(*map(sum, zip(self, other, strict=True)))


def empty_row() -> Counts:
    """Return a row of zeros that nobody else sees."""
    return [0] * ROW


def balance(counts: Counts, queued: int, taken_in: int | None = None) -> Balance:
    """Return a row's counts as they are, with ``queued`` letters still waiting.

    ``taken_in`` is for who knows better how many of the letters taken in were ever queued.
    """
    taken_in = counts[TAKEN_IN] if taken_in is None else taken_in
    return Balance(
        counts[ACCEPTED] + taken_in + counts[PASSED_ON],
        counts[DELIVERED] + counts[HANDED_OUT] + counts[PASSED_ON],
        counts[DROPPED],
        counts[EXPIRED],
        counts[BOUNCED],
        counts[LOST],
        queued,
        counts[REFUSED],
        counts[GARBAGE],
        unsent=counts[UNSENT],
    )


def balance_from_afar(counts: Counts) -> Balance:
    """Return the balance of a reader that cannot be asked: what is not settled is queued."""
    found = balance(counts, 0)
    return found._replace(queued=found.accepted - found.settled)


def balance_of_the_dead(counts: Counts) -> Balance:
    """Return the last balance of who was killed: what waited, here or for others, is lost."""
    found = balance_from_afar(counts)
    lost = found.lost_with_reader + found.queued
    unsent = found.unsent + counts[WITHHELD]
    return found._replace(lost_with_reader=lost, queued=0, in_doubt=counts[TAKING], unsent=unsent)


class SharedLedgers:
    """Rows of counts that every OS process forked from this one sees alike.

    Made before the first fork. Only the process that made it claims and
    releases rows.
    """

    def __init__(self, rows: int = ROWS) -> None:
        self._memory = memoryview(mmap.mmap(-1, (rows + 1) * ROW * 8)).cast("q")
        self.edition = self.row(rows)
        """Behind them, its first number: the version of the newest address book."""
        self._free = list(range(rows - 1, -1, -1))

    def claim(self) -> int:
        """Return the number of a row of zeros; raise `GatewayError` where none is left."""
        if not self._free:
            raise GatewayError("too many mailboxes for one gateway: run fewer processes or devices")
        number = self._free.pop()
        self.row(number)[:] = memoryview(bytes(ROW * 8)).cast("q")
        return number

    def row(self, number: int) -> memoryview:
        """Return the row ``number``."""
        return self._memory[number * ROW : (number + 1) * ROW]

    def release(self, number: int) -> None:
        """Give a row back, whose mailbox is no more."""
        self._free.append(number)
