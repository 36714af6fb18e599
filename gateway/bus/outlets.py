"""Outlets to mailboxes that do not have their writers wait.

What a mailbox does when it is full is its own policy, and every writer keeps
to it: `Outlet` itself waits for room until the deadline (``block``), and so
does `RingOutlet`, which has more of it; `RejectingOutlet` is refused at once
(``reject``), and `DroppingOutlet` leaves the letter with the pump of its OS
process, where the oldest gives way (``drop_oldest``). Replies, bounces and
control go the way they always go.

Refused in any case: letters to a mailbox that is gone, bodies too large.
"""

from __future__ import annotations

from gateway.bus.lanes import Policy
from gateway.bus.patience import Patience
from gateway.bus.pump import Pump
from gateway.bus.ring_outlet import RingOutlet
from gateway.bus.rings import Rings
from gateway.bus.wire import Folder, Outlet, pack
from gateway.errors import MailboxFullError
from gateway.mail.message import Message


class RejectingOutlet(Outlet):
    """Refuses a letter for which there is no room now."""

    __slots__ = ()

    def deliver(self, message: Message, timeout: float = 5.0) -> None:
        """Hand ``message`` over; a full mailbox raises `MailboxFullError` at once."""
        if message.kind != "letter":
            super().deliver(message, timeout)
        elif not self.try_send(message, "mail", pack(message)):
            raise MailboxFullError(
                f"{self.name!r} is full, and rejects what it has no room for: send it later"
            )


class DroppingOutlet(Outlet):
    """Queues letters for which there is no room now, and drops the oldest of too many."""

    __slots__ = ("_pump",)

    def __init__(
        self,
        folder: Folder,
        name: str,
        incarnation: int,
        pump: Pump,
        patience: Patience | None = None,
    ) -> None:
        super().__init__(folder, name, incarnation, patience)
        self._pump = pump

    def deliver(self, message: Message, timeout: float = 5.0) -> None:
        """Hand ``message`` over, or over to the pump, which counts what it drops."""
        if message.kind != "letter":
            super().deliver(message, timeout)
            return
        packed = pack(message)
        # What waits already goes first.
        if self._pump.holds(self) or not self.try_send(message, "mail", packed):
            self._pump.queue(self, message, packed)


def outlet_to(
    folder: Folder,
    name: str,
    incarnation: int,
    policy: Policy | None,
    pump: Pump,
    patience: Patience | None = None,
    rings: Rings | None = None,
) -> Outlet:
    """Return what writes to one life of the mailbox ``name`` as its policy wants it."""
    if policy == "reject":
        return RejectingOutlet(folder, name, incarnation, patience)
    if policy == "drop_oldest":
        return DroppingOutlet(folder, name, incarnation, pump, patience)
    if rings is not None:
        return RingOutlet(folder, name, incarnation, rings, patience)
    return Outlet(folder, name, incarnation, patience)
