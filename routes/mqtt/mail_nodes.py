"""Which other gateways there are at the broker, as their retained status says.

Each gateway's ``gateway/<node>/status`` is retained; the broker itself says there that
one fell silent. `hear` runs on the session's thread, everything else may run on any.
Bounded: more than `MOST` nodes are not noted, but counted. Refused, with a count: what
is no status.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from routes.mqtt.incoming import Incoming
from routes.mqtt.mail_envelope import is_node
from routes.mqtt.topics import ROOT, to_level

MOST = 20_000
"""Nodes that are noted at the most."""

COMPARED = 1000
"""Nodes at the most that a name is compared with, which takes some 40 µs each."""

LONGEST = 4096
"""Bytes that a status has at the most."""


class Status(msgspec.Struct, frozen=True):
    """What a gateway, or the broker in its place, says of its life."""

    online: bool
    cause: str = ""
    since: float = 0.0
    version: str = ""


class StatusInlet(NamedTuple):
    """An `Inlet` for the status of all gateways, or of one."""

    subscription: str
    nodes: Nodes

    def hear(self, incoming: Incoming) -> None:
        """Note a status."""
        self.nodes.hear(incoming)


class Nodes:
    """The other gateways, seen from ``own``; ``ring`` has somebody look for `news`."""

    def __init__(self, own: str, ring: Callable[[], None]) -> None:
        self._own = own
        self._ring = ring
        self._lock = threading.Lock()
        self._known: dict[str, Status] = {}
        self._news: dict[str, None] = {}
        self.refused = 0
        """What was no status, or one gateway too many."""

    def inlets(self, only: Iterable[str] = ()) -> list[StatusInlet]:
        """Return what to subscribe to: ``only`` these, or everybody where there is none."""
        levels = [to_level(node) for node in only] or ["+"]
        return [StatusInlet(f"{ROOT}/{level}/status", self) for level in levels]

    def hear(self, incoming: Incoming) -> None:
        """Note what came on a status topic; nothing at all ends a gateway's being known."""
        node = incoming.topic.split("/")[1]
        if node == self._own:
            return
        try:
            status = _status(incoming.payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.refused += 1
            return
        with self._lock:
            if status is None:
                if self._known.pop(node, None) is None:
                    return
            elif not is_node(node) or (node not in self._known and len(self._known) >= MOST):
                self.refused += 1
                return
            elif status == self._known.get(node):
                return  # said again, as to everybody who subscribes: no news
            else:
                self._known[node] = status
            self._news[node] = None
        self._ring()

    def status(self, node: str) -> Status | None:
        """Return what is known of ``node``."""
        return self._known.get(node)

    def news(self) -> list[str]:
        """Return the nodes of which something was heard since the last call."""
        if not self._news:
            return []
        with self._lock:
            news, self._news = list(self._news), {}
        return news

    def hint(self, node: str) -> str:
        """Return which gateways there are, those first whose name is near, among not too many."""
        with self._lock:
            known = sorted(self._known)
        near = difflib.get_close_matches(node, known, 3) if len(known) <= COMPARED else ()
        if near:
            return f"did you mean {' or '.join(map(repr, near))}?"
        shown = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
        return f"the broker knows {shown}" if known else "the broker knows no other gateway"

    def statistics(self) -> dict[str, int]:
        """Return how many gateways are known, and are there."""
        with self._lock:
            known = list(self._known.values())
        return {
            "nodes": len(known),
            "nodes_online": sum(status.online for status in known),
            "statuses_refused": self.refused,
        }


def _status(payload: bytes) -> Status | None:
    if not payload:
        return None
    if len(payload) > LONGEST:
        raise msgspec.DecodeError("too long")
    return msgspec.json.decode(payload, type=Status)
