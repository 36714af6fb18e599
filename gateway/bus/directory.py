"""Who has a mailbox, in which incarnation, and who subscribed to what.

The boss makes each `Book` and every OS process holds a copy of the newest.
A book is whole, never a difference: whoever missed one loses nothing by it,
and whose incarnation is missing from it is dead. Looking up is a pure
function of the book.
"""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple

import msgspec

from gateway.bus.lanes import Policy
from gateway.bus.spool_terms import SpoolTerms
from gateway.errors import AddressError, RecipientGoneError
from gateway.mail.address import Address
from gateway.mail.topic import matches

BOSS = "boss"
"""The supervisor's mailbox; its incarnation is always 1."""


class Subscription(msgspec.Struct, frozen=True, array_like=True):
    """One pattern of one mailbox, and the first version that knew of it.

    With a ``spool`` what is not retained waits in files, one for each writer, also
    while the mailbox is away.
    """

    mailbox: str
    pattern: str
    since: int
    spool: SpoolTerms | None = None


class Book(msgspec.Struct, frozen=True, array_like=True):
    """The address book at one version."""

    version: int = 0
    incarnations: dict[str, int] = {}
    subscriptions: tuple[Subscription, ...] = ()
    policies: dict[str, Policy] = {}
    """What a full mailbox does with one more letter, where that is not to have it wait."""
    notices: dict[str, Any] = {}
    """What else everybody is to know, plain data by its name; whoever it is for reads it."""
    carrier: str = ""
    """The router that takes mail for nodes, which are whatever follows ``@`` and is no mailbox."""
    away: dict[str, str] = {}
    """Why who is known takes no mail now: it has failed, is to be started again, was stopped."""

    def look_up(self, recipient: str) -> tuple[str, int]:
        """Return the mailbox that takes mail for ``recipient``, and its incarnation.

        What is behind a router may have a mailbox of its own; where it has
        none, the router's takes its mail. What is behind nobody here is for
        another gateway: the carrier takes it, where there is one, and knows
        whether there is such a gateway. Raises `RecipientGoneError` that says
        why who is known is away, and `AddressError` that says who is there.

        >>> Book(1, {"serial": 2}).look_up("wheels@serial")
        ('serial', 2)
        >>> Book(1, {"serial": 2, "wheels@serial": 2}).look_up("wheels@serial")
        ('wheels@serial', 2)
        >>> Book(1, {"mqtt": 3}, carrier="mqtt").look_up("main@kitchen-pi")
        ('mqtt', 3)
        >>> Book(1, {"boss": 1}, away={"arm": "it was stopped"}).look_up("arm")
        Traceback (most recent call last):
        gateway.errors.RecipientGoneError: 'arm' is away: it was stopped
        """
        incarnation = self.incarnations.get(recipient)
        if incarnation is not None:
            return recipient, incarnation
        address = Address.parse(recipient)
        name = address.mailbox
        incarnation = self.incarnations.get(name)
        if incarnation is None and address.route and self.carrier and name not in self.away:
            name = self.carrier
            incarnation = self.incarnations.get(name)
        if incarnation is None:
            if name in self.away:
                raise RecipientGoneError(f"{name!r} is away: {self.away[name]}")
            raise AddressError(f"nobody here is called {name!r}{self.hint(name)}")
        return name, incarnation

    def hint(self, name: str) -> str:
        """Return what to add where nobody is called ``name``: who is meant, or who is there."""
        close = difflib.get_close_matches(name, [*self.incarnations, *self.away], 1)
        if close:
            return f": did you mean {close[0]!r}?"
        return f"; there are {', '.join(sorted(self.incarnations)) or 'none'}"

    def subscribers(self, topic: str, *, after: int = -1) -> list[str]:
        """Return the mailboxes whose pattern takes ``topic``, each once.

        ``after`` leaves out what the book of that version already knew.
        """
        found = {
            known.mailbox: None
            for known in self.subscriptions
            if known.since > after and matches(known.pattern, topic)
        }
        return list(found)

    def spools(self, topic: str) -> dict[str, SpoolTerms]:
        """Return the mailboxes for which ``topic`` waits in files, and on which terms."""
        return {
            known.mailbox: known.spool
            for known in self.subscriptions
            if known.spool and matches(known.pattern, topic)
        }

    def gone_since(self, older: Book) -> list[Death]:
        """Return the lives that ``older`` knew and this book does not."""
        return [
            Death(name, incarnation)
            for name, incarnation in older.incarnations.items()
            if self.incarnations.get(name) != incarnation
        ]


class Death(NamedTuple):
    """One life of a mailbox that is over."""

    name: str
    incarnation: int
