"""The count of what a mailbox took in and what became of it.

At rest, ``accepted = delivered + dropped + expired + bounced +
lost_with_reader + queued``. Delivered means handed to a callback or to
whoever waited for the reply; dropped is a publication that gave way to a
newer one, or a reply that came after its call was closed. Nothing is counted
twice, and what was refused was never accepted.
"""

from __future__ import annotations

from typing import NamedTuple


class Balance(NamedTuple):
    """A ledger at one moment; counts of letters."""

    accepted: int
    delivered: int
    dropped: int
    expired: int
    bounced: int
    lost_with_reader: int
    queued: int
    refused: int
    garbage: int

    @property
    def is_balanced(self) -> bool:
        """Whether every accepted letter is accounted for."""
        return self.accepted == (
            self.delivered
            + self.dropped
            + self.expired
            + self.bounced
            + self.lost_with_reader
            + self.queued
        )


class Ledger:
    """The running counts of one mailbox; its owner holds the lock."""

    __slots__ = (
        "accepted",
        "bounced",
        "delivered",
        "dropped",
        "expired",
        "garbage",
        "lost_with_reader",
        "refused",
    )

    def __init__(self) -> None:
        self.accepted = 0
        self.delivered = 0
        self.dropped = 0
        self.expired = 0
        self.bounced = 0
        self.lost_with_reader = 0
        self.refused = 0
        """Letters turned away at the door, whose writers were told."""
        self.garbage = 0
        """Datagrams that were no letter."""

    def balance(self, queued: int) -> Balance:
        """Return the counts as they are, with ``queued`` letters still waiting."""
        return Balance(
            self.accepted,
            self.delivered,
            self.dropped,
            self.expired,
            self.bounced,
            self.lost_with_reader,
            queued,
            self.refused,
            self.garbage,
        )
