"""The counts that close the story, from what the processes say of themselves.

Letters are those of the bus's ledger: what mailboxes took in, what became of
it. Pure but for the telling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.cli.demonstration.stage import DEVICE
from gateway.cli.demonstration.storyteller import Storyteller


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the start. ``reconnections`` are those after the first connection."""

    letters: int
    """Accepted by the mailboxes of the bus."""
    delivered: int
    dropped: int
    queued: int
    other: int
    """Expired, bounced, or lost with their reader."""
    readings: int
    publications: int
    """Taken on for the broker."""
    acknowledged: int
    """Handed to the broker, and acknowledged where that is asked for."""
    calls: int
    """Answered, over MQTT."""
    heard: int
    """By the witness, at the broker."""
    frames: int
    """From the board."""
    connections: int
    reconnections: int

    @classmethod
    def of(
        cls,
        routers: Mapping[str, Mapping[str, Any]],
        main: Mapping[str, Any],
        *,
        readings: int,
        heard: int,
    ) -> Counts:
        """Add up the answers to ``$statistics``; one that is missing counts nothing.

        >>> Counts.of({}, {"mail": {"accepted": 3, "delivered": 3}}, readings=2, heard=0).letters
        3
        """
        mail = [each.get("mail", {}) for each in (main, *routers.values())]
        session = routers.get("mqtt", {}).get("session") or {}
        outbox = session.get("outbox", {})
        device = routers.get("serial", {}).get("devices", {}).get(DEVICE, {})
        connections = device.get("connections", 0)

        def total(*names: str) -> int:
            return sum(box.get(name, 0) for box in mail for name in names)

        return cls(
            letters=total("accepted"),
            delivered=total("delivered"),
            dropped=total("dropped"),
            queued=total("queued"),
            other=total("expired", "bounced", "lost_with_reader"),
            readings=readings,
            publications=outbox.get("accepted", 0),
            acknowledged=outbox.get("acknowledged", 0),
            calls=routers.get("mqtt", {}).get("calls_answered", 0),
            heard=heard,
            frames=device.get("frames", 0),
            connections=connections,
            reconnections=max(0, connections - 1),
        )

    def tell(self, storyteller: Storyteller, *, finished: bool, chapter: str) -> None:
        """Tell them: a line for each kind."""
        storyteller.note(
            "summary",
            finished=finished,
            chapter=None if finished else chapter,
            **msgspec.to_builtins(self),
        )
        storyteller.say()
        for label, text in (
            ("letters", self._of_letters()),
            ("publications", f"{self.publications} to the broker, {self.heard} heard there"),
            ("calls", f"{self.calls} answered over MQTT"),
            ("readings", f"{self.readings}, in {self.frames} frames from the board"),
            ("reconnections", str(self.reconnections)),
        ):
            storyteller.total(label, text)

    def _of_letters(self) -> str:
        rest = {"dropped": self.dropped, "queued": self.queued, "other": self.other}
        said = [f"{self.letters} accepted = {self.delivered} delivered"]
        return " + ".join([*said, *(f"{count} {name}" for name, count in rest.items() if count)])
