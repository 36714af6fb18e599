"""Who has which plugged-in device: each is one device's of ours, or nobody's.

A claim covers the device's folder in /sys and everything below and above it on
its line: who has a USB device whole has its ttys too, and the other way round.
Two interfaces of one USB device are beside each other and may be two boards.
What is known by its node alone (no udev, or a link that leads elsewhere) is
told apart by that.

Refused: a claim on what is another's (`RefusedError`, which names both).
"""

from __future__ import annotations

import threading

import msgspec

from gateway.errors import RefusedError


class Claim(msgspec.Struct, frozen=True):
    """What a device of ours has."""

    node: str
    """Its file in /dev, no link to it."""
    sys_path: str = ""
    """Its folder in /sys; empty where that is not known."""


class Claims:
    """The claims of one router's devices, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[str, Claim] = {}

    def take(self, holder: str, claim: Claim) -> None:
        """Give ``holder`` what ``claim`` says, in place of what it had."""
        with self._lock:
            other = self._other(holder, claim)
            if other is not None:
                thing = claim.node or claim.sys_path
                raise RefusedError(
                    f"{thing} is claimed by {other!r}, and meant for {holder!r} as well: "
                    "tell the two apart by ID_SERIAL_SHORT, or by ID_PATH, which is the port"
                )
            self._claims[holder] = claim

    def is_free(self, holder: str, claim: Claim) -> bool:
        """Whether ``holder`` could take it."""
        with self._lock:
            return self._other(holder, claim) is None

    def give_back(self, holder: str) -> None:
        """Let go of what ``holder`` has; nothing is fine."""
        with self._lock:
            self._claims.pop(holder, None)

    def of(self, holder: str) -> Claim | None:
        """Return what ``holder`` has."""
        with self._lock:
            return self._claims.get(holder)

    def holders(self) -> dict[str, Claim]:
        """Return all claims by the name of the device that has them."""
        with self._lock:
            return dict(self._claims)

    def _other(self, holder: str, claim: Claim) -> str | None:
        for name, taken in self._claims.items():
            if name != holder and _clash(taken, claim):
                return name
        return None


def _clash(one: Claim, other: Claim) -> bool:
    if one.node and one.node == other.node:
        return True
    if not one.sys_path or not other.sys_path:
        return False
    short, long = sorted((one.sys_path + "/", other.sys_path + "/"), key=len)
    return long.startswith(short)
