"""A mailbox whose waits hand on the baton: the real one, with another way to sleep.

Everything that a `Mailbox` promises it keeps, since it is one; only its `Lead`
sleeps in virtual time, and has no descriptor. What is read is noted, in order.

Refused: descriptors under `watch`, and threads that are not in the baton
(`SimulationError`).
"""

from __future__ import annotations

from _thread import LockType, get_ident
from collections.abc import Callable
from math import inf
from typing import Any, NoReturn, cast

from gateway.bus.baton import Baton, Strand
from gateway.bus.lanes import Call, Waiting
from gateway.bus.leading import Lead, Place, Standing, WatchCallback, release
from gateway.bus.mailbox import Mailbox
from gateway.bus.turn import Turn, VirtualLock
from gateway.errors import SimulationError
from gateway.mail.message import Message

Note = Callable[[Message], None]
"""Is told of each letter that was handed out."""


class SimulatedLead(Lead):
    """Who sleeps on one mailbox, in virtual time."""

    def __init__(self, baton: Baton) -> None:
        # Not the real one's beginning: that opens descriptors.
        self.leader = None
        self.asleep = False
        self.readers = 0
        self.followers = []
        self.event = -1
        self._baton = baton
        self._sleeper: Strand | None = None
        self._struck = False
        # What a leader sleeps in is itself, whatever it waits for.
        self.everything = self.replies = cast(Any, self)

    def poll(self, timeout: float | None = None, most: int = -1) -> list[tuple[int, int]]:
        """Sleep as the leader until struck, or for ``timeout`` seconds."""
        baton = self._baton
        if not self._struck and timeout != 0:
            self._sleeper = baton.me("wait for mail")
            try:
                baton.wait(inf if timeout is None else baton.after(timeout))
            finally:
                self._sleeper = None
        self._struck = False
        return []

    def sleep_alone(self, place: Place, baton: Baton, deadline: float) -> None:
        """Sleep as the leader in ``place`` until ``deadline``, or until struck; nobody leads.

        What `enter`, `poll` and `leave` do together, in one go, for who has ``baton``.
        """
        if self._struck:
            self._struck = False
            return
        me = baton.holder
        if type(me) is not Strand:
            me = baton.me("wait for mail")
        self._sleeper = me
        self.leader = place
        self.asleep = True
        self.readers += 1
        try:
            baton.sleep(me, deadline)
        finally:
            self._sleeper = None
            self.leader = None
            self.asleep = False
            self.readers -= 1
            if self.followers:
                release(self.followers[0].lock)

    def strike(self) -> None:
        """Wake the leader."""
        self.asleep = False
        sleeper = self._sleeper
        if sleeper is None:
            self._struck = True
        elif sleeper.asleep:
            sleeper.asleep = False
            self._baton.ready.append(sleeper)

    def follow(self, place: Place) -> None:
        """Line up behind the leader, who sees all mail in any case."""
        place.lock = cast(LockType, Turn(self._baton))
        self.followers.append(place)
        if place.reads:
            self.readers += 1

    def watch(self, fd: int, callback: WatchCallback, events: int) -> NoReturn:
        """Refuse: a real descriptor knows nothing of virtual time."""
        raise SimulationError(f"{self._baton.holder.name!r} watches a real descriptor")

    def unwatch(self, fd: int) -> None:
        """Watch ``fd`` no longer: none is watched."""

    def rearm_all(self, besides: set[int]) -> None:
        """Watch nothing, as before."""

    def close(self) -> None:
        """Give back nothing."""


class SimulatedMailbox(Mailbox):
    """A mailbox of a simulation; ``note`` is told of each letter that it hands out."""

    def __init__(self, *arguments: Any, baton: Baton, note: Note, **options: Any) -> None:
        super().__init__(*arguments, **options, sockets=None, lead=SimulatedLead(baton))
        self._lead: SimulatedLead
        self._baton = baton
        self._note = note

    def deliver(self, message: Message, timeout: float = 5.0) -> None:
        """Take ``message`` in, within ``timeout`` virtual seconds."""
        baton = self._baton
        if get_ident() != baton.number:
            baton.refuse(f"write to {self.name!r}")
        baton.events += 1
        if baton.events > baton.limit:
            baton.count()
        lanes = self._lanes
        if (
            message.kind != "letter"
            or len(lanes.letters) >= lanes.size
            or self.closed
            or message.incarnation != self.incarnation
        ):
            super().deliver(message, timeout)
            return
        # What is usual goes in without the lock: nobody else runs.
        lanes.push_letter(message)
        lead = self._lead
        if lead.asleep:
            lead.strike()

    def _wait_for_room(self, waiting: Waiting, timeout: float) -> None:
        waiting.lock = cast(LockType, Turn(self._baton))
        super()._wait_for_room(waiting, timeout)

    def get(self, timeout: float | None = 0.0) -> Message | None:
        """Return the next letter; None where none came within ``timeout`` virtual seconds."""
        baton, lanes, lead = self._baton, self._lanes, self._lead
        number = get_ident()
        if number != baton.number:
            baton.refuse(f"read the mail of {self.name!r}")
        self._owner = number
        if (lanes.letters or lanes.beside) and (message := self._take()) is not None:
            return message
        if timeout == 0.0:
            # Who looks again and again without ever waiting is found out.
            baton.events += 1
            if baton.events > baton.limit:
                baton.count()
            return super().get(0.0) if self._poked or self.closed else None
        now = baton.clock.now
        deadline = inf if timeout is None else now + timeout
        if deadline <= now and timeout is not None:
            deadline = baton.after(timeout)
        while not (self._poked or self.closed):
            if lead.leader is not None:
                place = Standing(reads=True)
                lead.follow(place)
                try:
                    self._sleep(place, baton.left_until(deadline))
                finally:
                    lead.leave(place)
            else:
                lead.sleep_alone(self._place, baton, deadline)
            if (lanes.letters or lanes.beside) and (message := self._take()) is not None:
                return message
            if deadline <= baton.clock.now:
                return None
        return super().get(0.0)

    def _take(self) -> Message | None:
        """Return the next letter that is not too old; None where every one is."""
        message = self._lanes.pop()
        if message is not None and message.expiry is not None:
            poked = self._poked
            message = self._get(message, self._baton.clock.now)
            if message is None:
                # What it took for its own may have been meant for `get`.
                self._poked = poked
        if message is not None:
            self._note(message)
        return message

    def collect(self) -> list[Message]:
        """Return every letter that was written before this moment."""
        self._baton.check(f"read the mail of {self.name!r}")
        letters = super().collect()
        for message in letters:
            self._note(message)
        return letters

    def wait_for(self, message: Message, timeout: float, *, known: Call | None = None) -> Message:
        """Return the reply to ``message`` within ``timeout`` virtual seconds, or raise."""
        self._baton.me(f"wait for {message.recipient!r}")
        reply = super().wait_for(message, timeout, known=known)
        self._note(reply)
        return reply

    def make_lock(self) -> LockType:
        """Return a lock for threads that wait beside the mail, in virtual time."""
        return cast(LockType, VirtualLock(self._baton))

    def wake(self) -> None:
        """Make `get` return."""
        self._baton.check(f"wake {self.name!r}")
        super().wake()
