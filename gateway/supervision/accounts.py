"""The ledgers of the crew: what their mailboxes counted, lives that are over included.

A forked life counts in rows of shared memory, and the boss keeps the bound
sockets of each of its mailboxes open as well (`gateway.supervision.hands`). So
when it was killed, the boss knows what it had taken in, reads what still lay
there, bounces that where a receipt was asked for, and closes its books: nothing
is lost without being counted. A process that hangs is seen as well as one that
answers.

The boss's thread is the only user.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from gateway.bus.known import Known
from gateway.bus.ledger import (
    ACCEPTED,
    LOST,
    Balance,
    Counts,
    balance_from_afar,
    balance_of_the_dead,
    empty_row,
)
from gateway.bus.office import Office
from gateway.supervision.hands import Hands, Pair
from gateway.supervision.member import Member


class Accounts:
    """Opens a row for each mailbox of the crew, reads it, and closes it."""

    def __init__(
        self, office: Office, members: Mapping[str, Member], hands: Hands | None = None
    ) -> None:
        """``hands`` are where forked processes hand their further sockets over, if there are any.

        They are this object's from here on.
        """
        self._office = office
        self._members = members
        self._hands = hands
        self.dropped_by_the_ended: Counter[str] = Counter()
        """Letters and publications lost in OS processes that are over, by who was to get them."""
        self.of_the_forgotten = Balance()
        """What those have counted who are no members any more."""
        self._sent_back_by_the_forgotten = Known()

    def open(self, member: Member) -> None:
        """Give the next life of a forked member a row."""
        member.row = self._claim()

    def open_further(self, member: Member, mailbox: str) -> int | None:
        """Note a further mailbox of a member and return its row."""
        row = self._claim()
        member.mailboxes[mailbox] = row
        if self._hands is not None and member.spec.mode == "fork":
            pair = self._hands.fetch(mailbox)
            if pair is not None:
                member.hands[mailbox] = pair
        return row

    def close_further(
        self,
        member: Member,
        mailbox: str,
        *,
        is_dead: bool = False,
        known: Collection[str] = (),
    ) -> None:
        """Close the row of a further mailbox, which has been closed, or whose reader ``is_dead``.

        Who closed it removed its files, and may have bound the next of its name since. Of the
        letters ``known`` their senders were told.
        """
        row = member.mailboxes.pop(mailbox)
        counts = self._row(row)
        hand = member.hands.pop(mailbox, None)
        self._inherit(mailbox, member, hand, counts, known, is_dead=is_dead)
        member.past = member.past.plus(balance_of_the_dead(counts))
        self._release(row)

    def close(self, member: Member) -> None:
        """Close the books of a life that is over, and bounce what it left unread."""
        row, counts = member.row, self._row(member.row)
        known: Collection[str] = ()
        if member.spec.mode == "fork":
            known = self._office.read_receipts(member.spec.name, member.incarnation)
        self._inherit(member.spec.name, member, member.sockets, counts, known)
        member.sockets = None
        member.past = member.past.plus(balance_of_the_dead(counts))
        member.row = None
        self._release(row)
        if member.box is not None:
            # That of a life that never began is open still.
            self._office.close(member.box)
            member.past = member.past.plus(member.box.statistics())
            member.box = None
        for mailbox in list(member.mailboxes):
            self.close_further(member, mailbox, is_dead=True, known=known)

    def _inherit(
        self,
        mailbox: str,
        member: Member,
        sockets: Pair | None,
        counts: Counts,
        known: Collection[str],
        *,
        is_dead: bool = True,
    ) -> None:
        """Count what lies unread in sockets and rings of a mailbox whose reader is gone."""
        if sockets is not None or member.spec.mode == "fork":
            found = self._office.inherit(
                mailbox, member.incarnation, sockets or (), unlinks=is_dead, known=known
            )
            counts[ACCEPTED] += found
            counts[LOST] += found

    def end(self) -> None:
        """Give back what nobody came for."""
        if self._hands is not None:
            self._hands.close()

    def note_dropped(self, writer: Member, dropped: Mapping[str, int]) -> None:
        """Note what the OS process of ``writer``, which is over, had taken for others and dropped.

        It is in their ledgers from now on: accepted for them, and dropped. In its writer's
        it is unsent no more.
        """
        self.dropped_by_the_ended.update(dropped)
        for name, count in dropped.items():
            member = self._members.get(name.rpartition("@")[2])
            if member is not None:
                member.past = member.past.plus(Balance(accepted=count, dropped=count))
                writer.past = writer.past.plus(Balance(unsent=-count))

    def sent_back(self, name: str, life: int, letter: str) -> None:
        """Count as bounced, once, what a ``life`` of ``name`` has handed on: it is no delivery."""
        correction = Balance(delivered=-1, bounced=1)
        member = self._members.get(name.rpartition("@")[2])
        if member is not None and life > member.lives_before:
            if member.sent_back.note(letter):
                member.past = member.past.plus(correction)
        elif self._sent_back_by_the_forgotten.note(letter):
            self.of_the_forgotten = self.of_the_forgotten.plus(correction)

    def forget(self, member: Member) -> None:
        """Take over what a member has counted that is forgotten; its lives are over."""
        self.of_the_forgotten = self.of_the_forgotten.plus(member.past)
        for letter in member.sent_back:
            self._sent_back_by_the_forgotten.note(letter)

    def balance(self, member: Member) -> Balance:
        """Return what all mailboxes of all lives of a member have counted so far."""
        found = member.past.plus(balance_from_afar(self._row(member.row)))
        if member.box is not None:
            found = found.plus(member.box.statistics())
        for row in member.mailboxes.values():
            found = found.plus(balance_from_afar(self._row(row)))
        return found

    def _claim(self) -> int | None:
        ledgers = self._office.ledgers
        return None if ledgers is None else ledgers.claim()

    def _release(self, row: int | None) -> None:
        if row is not None and self._office.ledgers is not None:
            self._office.ledgers.release(row)

    def _row(self, row: int | None) -> Counts:
        if row is None or self._office.ledgers is None:
            return empty_row()
        return self._office.ledgers.row(row)
