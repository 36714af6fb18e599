"""Which publication gives way where there is no room: what is retained is kept for last.

A reading that is lost is made good by the next one. The last state of a device
is not: whoever misses it believes the one before for ever. So the oldest that
is not retained goes first; where all are, the oldest that a newer one on the
same topic has made void; a reading for which there is no room among last words
goes itself; and only where another last word comes, the oldest of them.

This module holds no queue of its own, and no lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gateway.mail.message import Message


def dispensable(queued: Sequence[Message], newcomer: Message) -> int | None:
    """Return the index of what gives way among ``queued``, oldest first; None: the newcomer."""
    for index, message in enumerate(queued):
        if not message.retain:
            return index
    told = Counter(message.subject for message in queued)
    if newcomer.retain:
        told[newcomer.subject] += 1
    for index, message in enumerate(queued):
        if told[message.subject] > 1:
            return index
    return 0 if newcomer.retain else None
