"""Letters to other gateways: published, repeated until confirmed, answered or bounced.

A letter is written down before it is published (`routes.mqtt.mail_memory`), so that a
route that is killed goes on where it was. It is published again, ever more rarely, until
the other side confirms that its recipient has it; the other side knows it again, and
delivers it once. Afterwards its answer is awaited.

A letter ends in one of four ways: answered; bounced by the other side; bounced here,
since the node is unknown, or away and not to be waited for, or the letter expired;
bounced here as timed out, where it was published and nobody confirmed it within the
patience: then it may have been delivered, and the bounce says so. A letter that was
delivered and never answered is forgotten after `ANSWERED`.

Belongs to the route's thread. Refused, with a bounce: what JSON cannot hold, what is
over ``max_payload``, letters to ourselves, one too many.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec.structs import replace

from gateway.clock import Clock
from gateway.errors import (
    AddressError,
    CallTimeoutError,
    ExpiredError,
    GatewayError,
    LinkLostError,
    MailboxFullError,
    RefusedError,
    SpoolError,
)
from gateway.mail.address import Address
from gateway.mail.message import CANCEL, Message, is_solicited
from gateway.routing.carrier import Patience
from routes.mqtt.inlet import Outlet
from routes.mqtt.mail_envelope import Bounce, Letter, MailTopics, Reply, Taken, bounce, write
from routes.mqtt.mail_memory import MailMemory
from routes.mqtt.mail_nodes import Nodes
from routes.mqtt.mail_settings import MailSettings
from routes.mqtt.properties import Properties

IN_FLIGHT = 64
"""Letters to one node that may be published and unconfirmed; the others wait their turn."""

REPEAT_FIRST, REPEAT_CEILING = 1.0, 15.0
"""Seconds between two publications of one letter; each time twice as many."""

LOOK_EVERY = 0.05
"""Seconds between two looks at everything that waits, where nothing is new."""

LOOK_AGAIN = 1.0
"""Seconds until the next such look where the memory fails."""

SETTLED = 3.0
"""Seconds after which a broker has told of every gateway that it knows."""

ANSWERED = 3600.0
"""Seconds for which the answer to a letter that was delivered finds its way back."""

AWAITED = 10_000
"""Letters at the most whose answer is awaited; beyond that the oldest are forgotten."""


class Broker(Protocol):
    """What is to be known of the connection: since when it stands, and why there is none."""

    def connected_since(self) -> float | None:
        """Return monotonic seconds, None without a connection."""
        ...

    def cause(self) -> str:
        """Say why there is no connection."""
        ...


class Bus(Protocol):
    """What brings answers in: `gateway.routing.carrier.Carrier`."""

    def bring_answer(
        self, asked: Message, message_id: str, subject: str, body: Any, *, timeout: float
    ) -> Message:
        """Deliver a reply."""
        ...

    def bring_bounce(self, asked: Message, bounce: dict[str, str], *, timeout: float) -> Message:
        """Deliver a bounce."""
        ...

    def hint(self, name: str) -> str:
        """Return which mailbox here may have been meant."""
        ...


@dataclass(eq=False, slots=True)
class _Entry:
    letter: Message
    node: str
    size: int
    deadline: float
    published: float | None = None
    repeat_at: float = 0.0
    repeats: int = 0
    answerable: bool = True


class MailOut:
    """Carries what the bus hands it; see the module's head."""

    def __init__(
        self,
        settings: MailSettings,
        topics: MailTopics,
        memory: MailMemory,
        nodes: Nodes,
        *,
        clock: Clock,
        bus: Bus,
        broker: Broker,
        say: Outlet,
        max_payload: int,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._memory = memory
        self._nodes = nodes
        self._clock = clock
        self._bus = bus
        self._broker = broker
        self._say = say
        self._max_payload = max_payload
        self._open: dict[str, _Entry] = {}
        self._bytes = 0
        self._in_flight: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._freed = False
        self._look_at = 0.0
        self._awaited: dict[str, _Entry] = {}
        self._patience = Patience()
        self.counts: Counter[str] = Counter()
        now = clock.monotonic()
        for known in memory.outgoing():
            letter = known.letter
            entry = _Entry(
                letter, _node_of(letter), len(write(self._envelope(letter))), known.deadline
            )
            entry.published, entry.answerable, entry.repeat_at = (
                known.published,
                known.answerable,
                now,
            )
            if known.taken:
                self._awaited[letter.message_id] = entry
            else:
                self._hold(entry)

    @property
    def is_busy(self) -> bool:
        """Whether something is to be done before somebody rings."""
        return bool(self._open)

    def carry(self, letter: Message) -> None:
        """Take a letter for another gateway, or raise why it cannot be carried."""
        now = self._clock.monotonic()
        node = _node_of(letter)
        if letter.subject == CANCEL and self._is_taken_back(letter):
            return
        if node == self._topics.node:
            local = Address.parse(letter.recipient).local
            raise AddressError(f"{node!r} is this gateway itself: write to {local!r}")
        size = len(write(self._envelope(letter)))
        if size > self._max_payload:
            raise RefusedError(
                f"the letter has {size} bytes, more than max_payload = {self._max_payload}"
            )
        self._check_way_to(node, now)
        limits = self._settings
        if len(self._open) >= limits.queue_size or self._bytes + size > limits.queue_bytes:
            raise MailboxFullError(
                f"{len(self._open)} letters for other gateways wait already: send it later,"
                " or raise queue_size and queue_bytes under mail"
            )
        deadline = now + limits.spool_seconds
        if letter.expiry is not None:
            deadline = min(deadline, letter.expiry)
        # Kept as one of no particular life of the route.
        self._memory.add(letter, deadline)
        in_turn = not self._waiting[node]
        entry = _Entry(letter, node, size, deadline)
        self._hold(entry)
        self.counts["carried"] += 1
        if in_turn:
            # It is held: whatever fails from here on is for `turn` to try again, and to say.
            with contextlib.suppress(SpoolError):
                self._go_on(entry, now)

    def _is_taken_back(self, cancel: Message) -> bool:
        """Forget the letter that ``cancel`` takes back; tell whether it never left this machine."""
        id = cancel.body if isinstance(cancel.body, str) else ""
        entry = self._open.get(id) or self._awaited.get(id)
        if entry is None or entry.letter.sender != cancel.sender:
            return False
        if entry.published is None:
            self._let_go(entry)
            self._memory.forget(id)
            self.counts["taken_back"] += 1
            return True
        if self._awaited.pop(id, None) is not None:
            self._memory.forget(id)
        return False

    def turn(self) -> None:
        """Do what is due: publish, repeat, give up."""
        now = self._clock.monotonic()
        news = self._nodes.news()
        if not news and not self._freed and now < self._look_at:
            return
        self._freed, self._look_at = False, now + LOOK_EVERY
        for node in news:
            status = self._nodes.status(node)
            if status is not None and status.online:
                # It has begun anew, and may have missed what was published meanwhile.
                for entry in self._open.values():
                    if entry.node == node:
                        entry.repeat_at, entry.repeats = now, 0
        failed: SpoolError | None = None
        for entry in list(self._open.values()):
            try:
                self._go_on(entry, now)
            except SpoolError as error:
                # The others may have something to do that needs no memory.
                failed = error
        while self._awaited:
            id, entry = next(iter(self._awaited.items()))
            if entry.deadline > now and len(self._awaited) <= AWAITED:
                break  # the oldest come first
            del self._awaited[id]
            self._memory.forget(id)
        if failed is not None:
            self._look_at = now + LOOK_AGAIN
            try:
                raise failed
            finally:
                # Held by the frame that it came through it would be a cycle.
                del failed

    # What the other side says

    def on_taken(self, node: str, said: Taken) -> None:
        """Note that a letter has been delivered."""
        entry = self._open.get(said.to)
        if entry is None or entry.node != node:
            # It was repeated, and confirmed twice.
            self.counts["unasked"] += said.to not in self._awaited
            return
        self._let_go(entry)
        self.counts["confirmed"] += 1
        if not is_solicited(entry.letter):
            self._memory.forget(said.to)
            return
        # Only who wrote it is to be known from here on.
        entry.letter = replace(entry.letter, body=None, body_type="")
        entry.deadline = self._clock.monotonic() + ANSWERED
        self._awaited[said.to] = entry
        self._memory.taken(entry.letter, entry.deadline)

    def on_answer(self, node: str, said: Reply | Bounce) -> None:
        """Deliver the answer to a letter of ours; whatever answers none is dropped."""
        entry = self._open.get(said.to) or self._awaited.get(said.to)
        if entry is None or entry.node != node:
            self.counts["unasked"] += 1
            return
        self._awaited.pop(said.to, None)
        self._let_go(entry)
        if isinstance(said, Reply):
            self.counts["answered"] += 1
        else:
            self.counts["bounced_there"] += 1
        self._bring(entry, said)

    # How a letter goes on

    def _go_on(self, entry: _Entry, now: float) -> None:
        if entry.published is not None:
            late = now - entry.published
            if late >= self._settings.patience or now >= entry.deadline:
                reason = (
                    f"{entry.node!r} has not confirmed it within {late:.3g} s:"
                    " whether it was delivered is not known"
                )
                self._give_up(entry, CallTimeoutError(reason))
            elif now >= entry.repeat_at and self._is_online(entry.node):
                self._publish(entry, now)
            return
        if now >= entry.deadline:
            self._give_up(entry, ExpiredError(f"it expired on its way to {entry.node!r}"))
            return
        try:
            self._check_way_to(entry.node, now)
        except GatewayError as why_not:
            # Where it cannot be forgotten afterwards, the next life must not publish it.
            self._memory.give_up(entry.letter, now)
            self._give_up(entry, why_not)
            return
        if self._in_flight[entry.node] < IN_FLIGHT and self._is_online(entry.node):
            self._memory.published(entry.letter, now)
            self._count(entry, -1)
            entry.published = now
            self._count(entry, 1)
            self._publish(entry, now)

    def _publish(self, entry: _Entry, now: float) -> None:
        if entry.repeat_at:
            self.counts["repeated"] += 1
        entry.repeat_at = now + min(REPEAT_CEILING, REPEAT_FIRST * 2.0**entry.repeats)
        entry.repeats = min(entry.repeats + 1, 10)
        payload = write(self._envelope(entry.letter))
        # Where it lies on its way, it is not delivered once its sender was told that it failed,
        # nor when the other side knows it no more and would deliver it again.
        first = now if entry.published is None else entry.published
        lasts = min(entry.deadline, first + self._settings.patience) - now
        properties = Properties(expires_in=lasts)
        self._say(self._topics.to(entry.node), payload, qos=1, urgent=True, properties=properties)

    def _envelope(self, letter: Message) -> Letter:
        ttl = None
        if letter.expiry is not None:
            ttl = max(0.0, letter.expiry - self._clock.monotonic())
        return Letter(
            id=letter.message_id,
            sender=letter.sender,
            recipient=Address.parse(letter.recipient).local,
            subject=letter.subject,
            body=letter.body,
            thread=letter.thread_id,
            index=letter.thread_index,
            time=letter.time,
            ttl=ttl,
            priority=min(2, max(0, letter.priority)),
            receipt=letter.receipt,
            headers=letter.headers or {},
        )

    def _check_way_to(self, node: str, now: float) -> None:
        """Raise why a letter for ``node`` cannot even wait, where it can neither wait nor go."""
        settings = self._settings
        is_peer = node in settings.peers
        if settings.only_peers and not is_peer:
            peers = ", ".join(sorted(settings.peers))
            raise AddressError(f"{node!r} is neither a route nor a peer; there are {peers}")
        since = self._broker.connected_since()
        status = self._nodes.status(node)
        if since is not None and status is None and not is_peer:
            if now - since < SETTLED:
                return
            meant = self._bus.hint(node) or f"; {self._nodes.hint(node)}"
            raise AddressError(f"{node!r} is neither a route nor a gateway{meant}")
        if settings.when_offline(node) == "spool":
            return
        if since is None:
            meant = self._bus.hint(node) if status is None and not is_peer else ""
            raise LinkLostError(f"no way to {node!r}: no broker: {self._broker.cause()}{meant}")
        if status is None:
            raise LinkLostError(f"{node!r} has never been at the broker")
        if not status.online:
            raise LinkLostError(f"{node!r} is offline: {status.cause or 'nobody says why'}")

    def _is_online(self, node: str) -> bool:
        status = self._nodes.status(node)
        online = status is not None and status.online
        return online and self._broker.connected_since() is not None

    def _give_up(self, entry: _Entry, error: GatewayError) -> None:
        self._let_go(entry)
        self.counts["bounced_here"] += 1
        self._bring(entry, bounce(entry.letter.message_id, error))

    def _bring(self, entry: _Entry, said: Reply | Bounce) -> None:
        """Deliver an answer to whoever wrote the letter of ``entry``, which is done with."""
        asked, now = entry.letter, self._clock.monotonic()
        timeout = self._patience.left(asked.sender, now)
        try:
            if not is_solicited(asked):
                self.counts["unheard"] += 1
            elif not entry.answerable:
                # Who bears the sender's name by now never wrote it.
                self.counts["answers_lost"] += 1
            elif isinstance(said, Reply):
                id = f"{entry.node}/{said.id}"
                self._bus.bring_answer(asked, id, said.subject, said.body, timeout=timeout)
            else:
                told = {"code": said.code, "reason": said.reason}
                if said.type:
                    told["type"] = said.type
                self._bus.bring_bounce(asked, told, timeout=timeout)
        except GatewayError as error:
            if isinstance(error, MailboxFullError):
                self._patience.found_full(asked.sender, now)
            self.counts["answers_lost"] += 1
        self._memory.forget(asked.message_id)

    def _hold(self, entry: _Entry) -> None:
        self._open[entry.letter.message_id] = entry
        self._bytes += entry.size
        self._count(entry, 1)

    def _let_go(self, entry: _Entry) -> None:
        if self._open.pop(entry.letter.message_id, None) is not None:
            self._bytes -= entry.size
            self._count(entry, -1)
            self._freed = self._freed or self._waiting[entry.node] > 0

    def _count(self, entry: _Entry, change: int) -> None:
        counts = self._waiting if entry.published is None else self._in_flight
        counts[entry.node] += change
        if not counts[entry.node]:
            del counts[entry.node]

    def statistics(self) -> dict[str, Any]:
        """Return what waits, what awaits an answer, and what became of the others."""
        return {
            "waiting": self._waiting.total(),
            "in_flight": self._in_flight.total(),
            "awaiting_answers": len(self._awaited),
            **self.counts,
        }


def _node_of(letter: Message) -> str:
    return Address.parse(letter.recipient).route
