"""What speaks for a driver, and in which order drivers are told.

A board that identified itself outweighs everything; then a driver that says it is for
such a thing; then frames that were heard, the fewer of them damaged the better.

Pure. Noise that happens to look like a few frames is no proof and is not called one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.device.identity import Identity


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was found for one driver; ``baud`` is where the best of it was found.

    ``looks_like`` is the match by which the driver expects such a thing, ``frames``
    and ``garbage`` what its framing made of what the port said, ``problem`` how its
    handshake ended, where it did not end well.
    """

    driver: str
    identity: Identity | None = None
    baud: int = 0
    looks_like: str = ""
    frames: int = 0
    garbage: int = 0
    problem: str = ""
    asked: bool = False

    @property
    def weight(self) -> tuple[bool, bool, float]:
        """More is likelier."""
        whole = self.frames / (self.frames + self.garbage) if self.frames else 0.0
        return self.identity is not None, bool(self.looks_like), whole

    @property
    def speaks(self) -> bool:
        """Whether anything speaks for the driver."""
        return any(self.weight)

    def said(self) -> str:
        """Return the evidence as a sentence."""
        parts = []
        if self.identity is not None:
            known = msgspec.to_builtins(self.identity)
            who = ", ".join(
                f"{key.replace('_', ' ')} {value}" for key, value in known.items() if value
            )
            parts.append(f"the board identified itself at {self.baud} baud: {who}")
        if self.looks_like:
            parts.append(f"it is for {self.looks_like}")
        if self.frames:
            damaged = f", and {self.garbage} damaged" if self.garbage else ""
            where = "" if self.identity is not None else f" at {self.baud} baud"
            parts.append(f"{self.frames} whole frames were heard{damaged}{where}")
        if self.identity is None and self.problem:
            parts.append(self.problem)
        if self.untried and not parts:
            parts.append("it was not asked: the time was up, or another had answered")
        return "; ".join(parts)

    @property
    def untried(self) -> bool:
        """Whether its turn never came."""
        return not self.asked and not self.problem


def better(one: Evidence, other: Evidence) -> Evidence:
    """Return the stronger of two findings for the same driver; the first where neither is."""
    return other if other.weight > one.weight else one


def ranked(found: Iterable[Evidence]) -> list[Evidence]:
    """Return the evidence, the likeliest driver first, then by name."""
    return sorted(found, key=lambda each: (*(-part for part in each.weight), each.driver))


def as_json(evidence: Evidence) -> dict[str, Any]:
    """Return it as data."""
    return {**msgspec.to_builtins(evidence), "said": evidence.said()}
