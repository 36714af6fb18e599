"""Where one device is plugged in: what opens its link, and what it claims by that.

A `Berth` is an `Opener` that is told when the link has been closed, and knows
since when there has been something to open. The plain one claims nothing: a
port server, a test's fake. `PortBerth` is a path in /dev that the
configuration names; it has a claim while its link is open. `MatchedBerth` is
whatever matches; it keeps its claim until that is pulled, so that two boards
that fail do not swap their ports for ever.

A berth is opened and left by its device's own thread; `Berth.changed` is
called on the thread of the watch.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from math import inf
from typing import Any, Final, NamedTuple

from gateway.device.link import Link, Opener
from gateway.errors import LinkAbsentError, LinkLostError
from gateway.hosting.claims import Claim, Claims
from gateway.hosting.hotplug import Hotplug
from gateway.hosting.matching import Match
from gateway.hosting.plugged import PluggedDevice
from gateway.hosting.presence import Change

FIRST_LOOK: Final = 5.0
"""Seconds that the first device to ask gives the watch to look around."""


class News(NamedTuple):
    """What a `Change` means to one device; both, where it was pulled and is there again."""

    pulled: PluggedDevice | None = None
    """What it has open, or was about to open, and is gone; exactly what `Berth.occupant` was."""
    come: bool = False
    """There is something to open."""


class Berth:
    """An opener without a claim."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    occupant: PluggedDevice | None = None
    """What is plugged in here, where that is known."""

    @property
    def born(self) -> float:
        """When the occupant was plugged in, in monotonic seconds; long ago if that is unknown."""
        occupant = self.occupant
        return -inf if occupant is None else occupant.seen

    @property
    def is_vacated(self) -> bool:
        """Whether what was opened here is known to be gone."""
        return False

    def __call__(self) -> Link:
        """Open the link; raises as an `Opener` does, or `RefusedError` where others have it."""
        return self._opener()

    def leave(self) -> None:
        """Take note that the link is closed."""

    def changed(self, change: Change) -> News:
        """Say what ``change`` means to this berth."""
        return News()

    def told(self) -> dict[str, Any] | None:
        """Return what is claimed, as ``devices/<name>/claim`` tells it."""
        return None


class PortBerth(Berth):
    """A path in /dev, such as one below /dev/serial/by-id/."""

    def __init__(
        self, name: str, path: str, opener: Opener, claims: Claims, hotplug: Hotplug
    ) -> None:
        """Berth for the device ``name`` of ours, whose ``opener`` opens ``path``."""
        super().__init__(opener)
        self._name = name
        self._path = path
        self._claims = claims
        self._hotplug = hotplug

    def __call__(self) -> Link:
        node = os.path.realpath(self._path)
        found = (each for each in self._hotplug.present() if self._is_it(each, node))
        occupant = self.occupant = next(found, None)
        if not os.path.exists(node):
            # Its opener says so best; there is nothing to claim.
            return super().__call__()
        self._claims.take(self._name, Claim(node, occupant.sys_path if occupant else ""))
        try:
            return super().__call__()
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Give the claim back."""
        self.occupant = None
        self._claims.give_back(self._name)

    def changed(self, change: Change) -> News:
        """Say what ``change`` means here."""
        occupant, node = self.occupant, os.path.realpath(self._path)
        return News(
            pulled=_gone(occupant, change),
            come=any(self._is_it(each, node) for each in change.come),
        )

    def told(self) -> dict[str, Any] | None:
        """Return what is claimed; without udev that is the node alone."""
        claim, occupant = self._claims.of(self._name), self.occupant
        if claim is None:
            return None
        if occupant is not None:
            return occupant.told()
        return {"node": claim.node, "path": "", "properties": {}}

    def _is_it(self, device: PluggedDevice, node: str) -> bool:
        return node in device.names or self._path in device.names


class MatchedBerth(Berth):
    """Whatever is plugged in that matches, and is nobody else's."""

    def __init__(
        self,
        name: str,
        match: Match,
        opener: Callable[[PluggedDevice], Link],
        claims: Claims,
        hotplug: Hotplug,
    ) -> None:
        """Berth for the device ``name`` of ours; ``opener`` is handed what is to be opened."""
        super().__init__(self._open_match)
        self._name = name
        self._match = match
        self._open = opener
        self._claims = claims
        self._hotplug = hotplug
        self._lock = threading.Lock()

    @property
    def is_vacated(self) -> bool:
        """Whether what was opened here has been pulled since."""
        return self.occupant is None

    def changed(self, change: Change) -> News:
        """Say what ``change`` means here; what has gone is no more claimed."""
        with self._lock:
            pulled = _gone(self.occupant, change)
            candidates = change.come
            if pulled is not None:
                self._vacate()
                # Its successor may have come, and been told of, before it was known to be gone.
                candidates = self._hotplug.present()
            come = self.occupant is None and any(self._match(each) for each in candidates)
        return News(pulled, come)

    def told(self) -> dict[str, Any] | None:
        """Return what is claimed."""
        occupant = self.occupant
        return None if occupant is None else occupant.told()

    def _open_match(self) -> Link:
        self._hotplug.present(FIRST_LOOK)
        if self._hotplug.trouble:
            raise LinkLostError(self._hotplug.trouble)
        with self._lock:
            # Looked up under the lock: what goes after this, `changed` is told of.
            device = self.occupant = self._choose(self._hotplug.present())
        return self._open(device)

    def _choose(self, present: tuple[PluggedDevice, ...]) -> PluggedDevice:
        """Return what is to be opened, claimed; what it has already before anything else."""
        matching = [each for each in present if each.node and self._match(each)]
        occupant = self.occupant
        if occupant is not None:
            for each in matching:
                if each.is_same(occupant):
                    return each
        self._vacate()
        if not matching:
            raise LinkAbsentError(self._absence(present))
        free = [each for each in matching if self._claims.is_free(self._name, _claim_of(each))]
        chosen = (free or matching)[0]
        self._claims.take(self._name, _claim_of(chosen))
        return chosen

    def _vacate(self) -> None:
        self.occupant = None
        self._claims.give_back(self._name)

    def _absence(self, present: tuple[PluggedDevice, ...]) -> str:
        """Say that nothing matches, and what comes near: a digit may be mistyped.

        What is another's is well where it is, and not meant for this one.
        """
        text = f"nothing plugged in matches {self._match}"
        near = self._match.nearest(
            each
            for each in present
            if each.node and self._claims.is_free(self._name, _claim_of(each))
        )
        if near is None:
            return text
        device, misses = near
        return f"{text}; {device.node} comes near, but {', '.join(misses)}"


def _gone(occupant: PluggedDevice | None, change: Change) -> PluggedDevice | None:
    """Return ``occupant`` where it is among what has gone, and not one that came after that."""
    if occupant is None:
        return None
    gone = (each for each in change.gone if each.is_same(occupant) and each.seen == occupant.seen)
    return None if next(gone, None) is None else occupant


def _claim_of(device: PluggedDevice) -> Claim:
    return Claim(device.node, device.sys_path)
