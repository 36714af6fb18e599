"""Mail between gateways over one broker: ``main@kitchen-pi`` from the gateway next door.

Made of what goes out (`mail_out`), what comes in (`mail_in`), what both remember
(`mail_memory`) and who is there (`mail_nodes`). What comes from the broker is judged on
the session's thread; only envelopes of a possible sender reach the route's.

Refused, with a count: what is no envelope, what the broker retained, more than
``queue_bytes`` at a time. The other side repeats its letters, so none is lost by the last.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from gateway.clock import Clock
from gateway.errors import ProtocolError, SpoolError
from gateway.mail.message import Message
from gateway.routing.carrier import Carrier
from routes.mqtt.connection_state import ConnectionState
from routes.mqtt.in_tray import InTray
from routes.mqtt.incoming import Incoming
from routes.mqtt.inlet import Inlet, Outlet
from routes.mqtt.mail_envelope import EnvelopeError, Letter, MailTopics, Taken, read
from routes.mqtt.mail_in import MailIn
from routes.mqtt.mail_memory import MailMemory
from routes.mqtt.mail_nodes import Nodes
from routes.mqtt.mail_out import MailOut
from routes.mqtt.mail_settings import MailSettings

log = logging.getLogger(__name__)

LYING = 20_000
"""Envelopes at the most that lie between the two threads, whatever their size."""


class Mail:
    """An `Inlet` for envelopes; `hear` is the session's thread's, everything else the route's."""

    def __init__(
        self,
        settings: MailSettings,
        bus: Carrier,
        *,
        file: Path,
        clock: Clock,
        say: Outlet,
        max_payload: int,
    ) -> None:
        """Remember in ``file``; raises `SpoolError` where that cannot be used."""
        self._clock = clock
        self._state: ConnectionState | None = None
        self._since: float | None = None
        self._bus = bus
        self._tray = InTray(LYING)
        self._lying = 0
        self._room = settings.queue_bytes
        self._max_payload = max_payload
        self._topics = MailTopics(bus.node)
        self.subscription = self._topics.incoming
        self._refused: Counter[str] = Counter()
        self._memory_failed = 0
        self._lock = threading.Lock()
        self._nodes = Nodes(bus.node, self._tray.ring)
        with contextlib.ExitStack() as opened:
            opened.callback(self._tray.close)
            self._memory = MailMemory(file, clock.monotonic(), run=_run())
            opened.callback(self._memory.close)
            self._in = MailIn(
                settings,
                self._topics,
                self._memory,
                clock=clock,
                bus=bus,
                say=say,
                max_payload=max_payload,
            )
            self._out = MailOut(
                settings,
                self._topics,
                self._memory,
                self._nodes,
                clock=clock,
                bus=bus,
                broker=self,
                say=say,
                max_payload=max_payload,
            )
            opened.pop_all()
        self._only = tuple(settings.peers) if settings.only_peers else ()

    def inlets(self) -> list[Inlet]:
        """Return everything that is subscribed to."""
        return [self, *self._nodes.inlets(self._only)]

    def open(self) -> None:
        """Take the bus's mail for other gateways; `RefusedError` where somebody else does."""
        self._bus.carry(self._carry, self._in.answer)

    @property
    def is_busy(self) -> bool:
        """Whether `turn` is to be called now and then."""
        return self._out.is_busy

    def fileno(self) -> int:
        """Return the descriptor that is readable when `turn` is to be called."""
        return self._tray.fileno()

    def turn(self) -> None:
        """Do what has come, and what is due."""
        self._tray.empty()
        self._guard(self._out.turn)

    def _carry(self, letter: Message) -> None:
        self._out.carry(letter)
        # From here on it is looked at now and then.
        self._tray.ring()

    def _guard(self, work: Callable[[], None]) -> None:
        """Do ``work``; where the memory fails, letters are repeated or bounced in doubt later."""
        try:
            work()
        except SpoolError as error:
            self._memory_failed += 1
            log.error("mail between gateways: %s", error)

    def note(self, state: ConnectionState) -> None:
        """Note how things stand with the broker; on the session's thread."""
        self._state = state
        if not state.is_connected:
            self._since = None
        elif self._since is None:
            # Its cause may change while it stands.
            self._since = self._clock.monotonic()
        self._tray.ring()

    def connected_since(self) -> float | None:
        """Return since when there is a connection, in monotonic seconds; None where none is."""
        return self._since

    def cause(self) -> str:
        """Say why there is no connection."""
        return self._state.cause if self._state is not None else "not tried yet"

    def hear(self, incoming: Incoming) -> None:
        """Judge an envelope, and leave it to the route's thread."""
        kind, work, room = self._judge(incoming)
        size = len(incoming.payload)
        with self._lock:
            if work is not None and self._lying + size > room:
                kind, work = "busy", None
            if work is not None:
                self._lying += size
            if kind:
                self._refused[kind] += 1
        if work is not None and not self._tray.put(partial(self._take_out, size, work)):
            with self._lock:
                self._lying -= size
                self._refused["busy"] += 1

    def _take_out(self, size: int, work: Callable[[], None]) -> None:
        with self._lock:
            self._lying -= size
        self._guard(work)

    def _judge(self, incoming: Incoming) -> tuple[str, Callable[[], None] | None, int]:
        """Return what a refusal is counted as, what is to be done, and what room there is for it.

        A letter that finds none is repeated by its node, an answer is not: letters leave
        half of the room to those.
        """
        if incoming.retained:
            return "stale", None, 0
        if len(incoming.payload) > self._max_payload:
            return "too_large", None, 0
        try:
            node = self._topics.sender(incoming.topic)
        except ValueError:
            return "no_node", None, 0
        try:
            envelope = read(incoming.payload)
        except EnvelopeError as error:
            refuse = partial(self._in.refuse, node, error.id, ProtocolError(str(error)))
            return error.kind, refuse if error.id else None, self._room // 2
        if isinstance(envelope, Letter):
            return "", partial(self._in.take, node, envelope), self._room // 2
        if isinstance(envelope, Taken):
            return "", partial(self._out.on_taken, node, envelope), self._room
        return "", partial(self._out.on_answer, node, envelope), self._room

    def close(self) -> None:
        """Give file and bell back; what is in the file waits for the next life."""
        self._tray.close()
        self._memory.close()

    def statistics(self) -> dict[str, Any]:
        """Return the counts of both directions, and what was no mail, by kind."""
        with self._lock:
            refused = dict(self._refused)
        return {
            "out": self._out.statistics(),
            "in": self._in.statistics(),
            "refused": refused,
            "memory_failed": self._memory_failed,
            **self._nodes.statistics(),
        }


def _run() -> str:
    """Return what names the present run of the gateway, whose process all routes are made by."""
    parent = os.getppid()
    try:
        started = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        # It has ended since, and so will this route.
        started = ""
    # In a container, the next run may well have the same number.
    return f"{parent} {started}"
